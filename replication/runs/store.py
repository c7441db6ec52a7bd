"""Where runs are kept: one folder each, with record.json and weights.safetensors, there whole or not at all."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .. import paths, storage
from ..errors import ReplicationError
from ..storage import files
from ..storage.packing import MASK
from ..training.processes import hashed

RECORD, WEIGHTS, SPARSE = "record.json", "weights.safetensors", "weights.sparse.safetensors"


def _homes() -> dict[str, Path]:
    """Where runs lie, by place: `local` in the store, `shipped` and `recorded` with the repository."""
    return {"local": paths.RUNS, "shipped": paths.MODELS, "recorded": paths.RECORDED}


def place(key: str) -> str:
    """Where the run with this key is read: `local` (or nowhere yet), `shipped` with weights, `recorded` without."""
    return next((name for name, home in _homes().items() if (home / key).exists()), "local")


def folder(key: str) -> Path:
    """The folder of the run with this key: the store's own, else the one that comes with the repository."""
    return _homes()[place(key)] / key


def has_weights(key: str) -> bool:
    """False where a run comes with the repository and only its record does."""
    return place(key) != "recorded" or (folder(key) / SPARSE).exists()


def stored(place: str = "local") -> list[str]:
    """Keys of the runs that lie in this place, sorted; a folder of another name is no run."""
    return sorted(path.name for path in _homes()[place].glob("[0-9a-f]" * 16) if path.is_dir())


@contextmanager
def token() -> Iterator[Path]:
    """A file in the store for the time of the block; raises ReplicationError where the store cannot be written."""
    path = paths.RUNS / f".seen-{uuid.uuid4().hex}"
    with files.replacing(path, "set REPLICATION_RUNS to another folder", "nothing ran"):
        pass
    yield path
    path.unlink()


@contextmanager
def lock(key: str, patience: float = -1) -> Iterator[None]:
    """Hold the run `key` against every other process; a process that dies lets go of it.

    patience: seconds to wait for another process (-1: as long as it takes), then ReplicationError.
    """
    held = FileLock(paths.RUNS / ".locks" / f"{key}.lock")  # which makes the folder
    try:
        held.acquire(patience)
    except Timeout:
        raise ReplicationError(f"another command computes the run {key}: wait for it or end it") from None
    except OSError as error:
        raise _cannot_write(paths.RUNS / ".locks", error) from None
    try:
        _recover(key)
        yield
    finally:
        held.release()


def _recover(key: str) -> None:
    """Clear what a killed process left of this run: half-written folders go, a run set aside comes back."""
    for home in (paths.RUNS, paths.MODELS):
        aside, own = home / f".old-{key}", home / key
        if aside.exists() and not own.exists():
            aside.rename(own)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(home / f".new-{key}", ignore_errors=True)


def save_run(
    key: str, record: dict, state: Mapping[str, Tensor], masks: Mapping[str, Tensor], place: str = "local"
) -> None:
    """Write one run: aside, synced, then renamed. Call under `lock(key)`; an older run at that place is replaced.

    place: `local` or `shipped`.
    record: JSON values; state: the network's state_dict; masks: bool by layer name.
    Raises ReplicationError where the disk is full or read-only; what was stored stays.
    """
    tensors = {k: v.contiguous() for k, v in state.items()} | {MASK + k: v.contiguous() for k, v in masks.items()}
    payload = save(tensors)
    record = record | {"weights_sha256": hashlib.sha256(payload).hexdigest()}
    record["record_sha256"] = _digest(record)
    home = _homes()[place]  # set aside in it too: another may be on another file system, or be read first
    new, old, final = home / f".new-{key}", home / f".old-{key}", home / key
    try:
        new.mkdir(parents=True)
        files.write(new / WEIGHTS, payload)
        files.write(new / RECORD, _text(record).encode())
        files.sync(new)
        if final.exists():
            final.rename(old)
        new.rename(final)
        files.sync(final.parent)
    except OSError as error:
        raise _cannot_write(final, error) from None
    finally:
        _recover(key)


def ship_record(key: str, weights: bool = False, halved: bool = False) -> None:
    """Put the record of a stored run among those that come with the repository; weights: its sparse weights too.

    halved: the weights rounded to float16; none becomes 0, so that the masks are as they were.
    Raises ReplicationError where the stored run is damaged or the disk is full.
    """
    record = load_record(key)
    content, final = (folder(key) / RECORD).read_bytes(), paths.RECORDED / key / RECORD
    state = load_tensors(record)[0] if weights else None
    if state:
        state = {name: half(t) if t.dim() > 1 else t for name, t in state.items()} if halved else state
        storage.save_sparse(state, final.with_name(SPARSE))
    files.replace(final, [content])


def half(weight: Tensor) -> Tensor:
    """The weight in float16; where that would be 0, the smallest number that is not."""
    least = torch.full_like(weight, 2.0**-24).copysign(weight).half()
    return torch.where((weight.half() == 0) & (weight != 0), least, weight.half())


def _digest(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _text(record: dict) -> str:
    return json.dumps(record, indent=1)


def _cannot_write(path: Path, error: OSError) -> ReplicationError:
    return files.cannot_write(path, error, "set REPLICATION_RUNS to another folder", "the runs stored so far are kept")


def load_record(key: str) -> dict:
    """The record of a stored run; raises ReplicationError where it is missing or damaged."""
    path = folder(key) / RECORD
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
        # The text too: another last digit may be read as the same float.
        as_stored = text == _text(record)
        if record.pop("record_sha256") != _digest(record) or not as_stored or record["key"] != key:
            raise ValueError("its content is not what was stored")
        return record
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def load_tensors(record: dict) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state_dict and the masks (bool by layer name) of a run, checked against its record.

    Raises ReplicationError where the file is missing, truncated or altered.
    """
    path = folder(record["key"]) / WEIGHTS
    if not has_weights(record["key"]):
        raise ReplicationError(
            f"the weights of run {record['key']} do not come with the repository, only its record: compute it with "
            "`python -m replication run --fresh` and the name of its notebook as --only"
        )
    if place(record["key"]) == "recorded":  # what is not zero is kept
        state = _wide(storage.load_sparse(path.with_name(SPARSE)))
        if hashed(masks := nonzero(state)) != record["metrics"].get("masks"):
            raise _damaged(path.with_name(SPARSE), ValueError("it keeps other weights than its record says"))
        return state, masks
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != record["weights_sha256"]:
            raise ValueError("its SHA-256 is not the recorded one")
        tensors = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from None
    masks = {name.removeprefix(MASK): tensors.pop(name) for name in list(tensors) if name.startswith(MASK)}
    return _wide(tensors), masks


def nonzero(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks, by layer, of a network whose pruned weights are its zeros."""
    return {name.removesuffix(".weight"): tensor != 0 for name, tensor in state.items() if tensor.dim() > 1}


def _wide(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights may be float16 in a file that comes with the repository, and are float32 in use."""
    return {name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()}


def _damaged(path: Path, error: Exception) -> ReplicationError:
    reason = getattr(error, "strerror", None) or (f"{error} is missing" if isinstance(error, KeyError) else error)
    if not path.is_relative_to(paths.RUNS):
        way_out = f"restore it with `git checkout -- {paths.shown(path.parent)}`"
    else:
        way_out = f"delete the folder {paths.shown(path.parent)} and repeat the command, or recompute everything with "
        way_out += "--fresh; the other runs are not touched"
    return ReplicationError(f"{paths.shown(path)} is damaged ({reason}): {way_out}")


def problems() -> list[str]:
    """What is wrong with the runs that are stored or come with the repository, in a line each."""
    found = []
    for key in sorted({key for place in _homes() for key in stored(place)}):
        try:
            record = load_record(key)
            _, masks = load_tensors(record) if has_weights(key) else ({}, {})
            if any(mask.dtype != torch.bool for mask in masks.values()):
                raise _damaged(folder(key) / WEIGHTS, ValueError("a mask is not bool"))
        except ReplicationError as error:
            found.append(str(error))
    return found
