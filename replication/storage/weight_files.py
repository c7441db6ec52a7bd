"""The weights in a file that people have: safetensors, or what torch.save wrote (.pth, .pt, .tar), by its content.

Of a checkpoint the state_dict is taken, without plain values (an epoch, a note) beside its tensors; what else is beside
them is refused. Names lose what DistributedDataParallel and torch.compile put before them; torch.nn.utils.prune's pairs
of original and mask become the pruned tensors that they mean.
"""

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from .. import paths
from ..errors import ReplicationError
from . import files

CHECKPOINT_NAMES = ("state_dict", "model_state_dict", "model", "net", "network", "module")  # the first that is there
PLAIN = (int, float, str, type(None))  # what is left out beside tensors by name
WRAPPERS = ("module.", "_orig_mod.")
STARTS = {  # of files that hold no weights as we read them
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"version https://git-lfs": "a Git LFS pointer to a file that was not fetched",
}
TAR = (257, b"ustar")


def read(path: Path, way_out: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its own metadata (of safetensors; else none).

    Raises ReplicationError, which says what the file is and then `way_out`, where it holds no such tensors.
    """
    try:
        kind = _kind(path)
    except OSError as error:
        raise ReplicationError(f"cannot read {paths.shown(path)} ({error.strerror}): {way_out}") from None
    if kind == "torch":
        state, metadata = _loaded(path, way_out), {}
    elif kind == "safetensors":
        state = files.load_tensors(path, way_out)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    else:
        raise ReplicationError(f"cannot read {paths.shown(path)} (it is {kind}): {way_out}")
    return pruned(_unwrapped(state)), metadata


def _kind(path: Path) -> str:
    """torch or safetensors, else what the file is, in words."""
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        return "an empty file"
    if zipfile.is_zipfile(path):
        return _kind_of_zip(path)
    if start[:1] == b"\x80" or start[8:9] == b"{":  # a pickle, of torch before 1.6; a header's first byte
        return "torch" if start[:1] == b"\x80" and start[8:9] != b"{" else "safetensors"
    if start[TAR[0] :].startswith(TAR[1]):
        return "a tar archive: unpack it first"
    known = next((kind for first, kind in STARTS.items() if start.startswith(first)), None)
    return known or ("a text" if _is_text(start) else "of no known kind")


def _kind_of_zip(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return "a TorchScript archive: load it with torch.jit.load and save its state_dict()"
    if "data.pkl" in last:
        return "torch"
    return "an archive of NumPy arrays" if names and all(n.endswith(".npy") for n in names) else "a zip archive"


def _is_text(start: bytes) -> bool:
    try:
        text = start[:-4].decode() if len(start) == 512 else start.decode()  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return text.isprintable() or all(letter.isprintable() or letter.isspace() for letter in text)


def _loaded(path: Path, way_out: str) -> dict[str, Tensor]:
    """The one state_dict in a file of torch.save, of which nothing but tensors and plain values is read."""
    try:
        content = torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)|[Cc]lass (\S+)", str(error))
        what = (
            f"it holds an object of {(found[1] or found[2]).strip('`.,')}" if found else "it is no file of torch.save"
        )
        remedy = "save net.state_dict() where that class is known" if found else way_out
        raise ReplicationError(f"cannot read {paths.shown(path)} ({what}, no plain tensors): {remedy}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ReplicationError(f"cannot read {paths.shown(path)} (damaged: {reason}): {way_out}") from None
    found = {name: each for name, *each in _states(content)}
    name = next((name for name in ("", *CHECKPOINT_NAMES) if name in found), next(iter(found), None))
    nothing = f"it holds {type(content).__name__} without a state_dict (tensors by name): {way_out}"
    state, problem = found.get(name, ({}, nothing))
    if len(found) > 1 and name not in CHECKPOINT_NAMES:
        problem = f"it holds several networks, {', '.join(found)}: save the one that you mean by itself"
    if problem:
        raise ReplicationError(f"cannot read {paths.shown(path)}: {problem}")
    return state


def _states(content: object, keys: tuple[str, ...] = (), alone: bool = False) -> Iterator[tuple[str, dict, str]]:
    """Every mapping of names to tensors in what was saved: the names that lead there, the tensors, and what would be
    lost if they were taken for a state_dict ("": nothing). keys: those names; alone: nothing stands beside the last.
    """
    if not isinstance(content, Mapping):
        return
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    checkpoint = any(key in CHECKPOINT_NAMES[:2] and isinstance(value, Mapping) for key, value in content.items())
    if state and (len(state) == len(content) or (not checkpoint and any(map(_is_weight, state.values())))):
        odd = {key: value for key, value in content.items() if key not in state and not isinstance(value, PLAIN)}
        name, problem = ".".join(keys), ""
        if odd:
            beside = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in odd.items())
            problem = f"beside tensors by name it holds {beside}: save a state_dict of tensors alone"
        elif keys and keys[-1] not in CHECKPOINT_NAMES and (alone or not any("." in each for each in state)):
            problem = (
                f"{name!r} may be a part of its tensors' names: save a state_dict alone, its names with it or without"
            )
        yield name, state, problem
    elif all(isinstance(key, str) for key in content):
        for key, value in content.items():
            yield from _states(value, (*keys, key), len(content) == 1)


def _is_weight(tensor: Tensor) -> bool:
    """False for what a checkpoint keeps beside the network: a number, or the state of a random generator."""
    return tensor.dim() > 1 or (tensor.dim() == 1 and tensor.dtype != torch.uint8)


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the names that the network has by itself."""
    for wrapper in WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            return _unwrapped({name.removeprefix(wrapper): tensor for name, tensor in state.items()})
    return state


def pruned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with NAME, original times mask, in the place of torch.nn.utils.prune's NAME_orig and NAME_mask."""
    plain = {}
    for name, tensor in state.items():
        stem, _, end = name.rpartition("_")
        original, mask = state.get(f"{stem}_orig"), state.get(f"{stem}_mask")
        paired = original is not None and mask is not None and original.shape == mask.shape and stem not in state
        if not paired or end not in ("orig", "mask"):
            plain[name] = tensor
        elif end == "orig":
            plain[stem] = (original * mask.to(original.dtype)).masked_fill(mask == 0, 0)
    return plain
