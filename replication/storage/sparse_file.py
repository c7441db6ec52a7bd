"""Pruned networks on disk: kept weights and the gaps between them (section 5), one safetensors file for a network.

The file holds, for each tensor NAME, either NAME/dense or NAME/values and NAME/index. Its metadata say how each was
stored (`Stored`), with a checksum over the header; `load_sparse` believes a shape only where that checksum holds, the
checksum of the tensor's bytes holds, and the gaps end within the shape. Zeros are given by the system when touched.
Tensors go to and from the disk one at a time, and any reader of safetensors opens these files.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor, nn

from . import files, header
from .gap_coding import CODINGS, cheapest, gaps, scatter, spill, stored_bytes
from .header import DTYPES, FORMAT, ITEMSIZE, NAMES, SPARSE, StorageError, Stored

PAPER_BITS = {4: 8, 2: 5}  # paper: section 5, 8 bits in convolutions (4-d) and 5 in fully connected layers (2-d)
VALUE_TYPES = (torch.float32, torch.float16, torch.bfloat16)
SECOND_PART = 160  # ours: bytes that a second part takes in the header; a tensor that saves less is stored dense


def save_sparse(
    model_or_state: nn.Module | Mapping[str, Tensor],
    path: Path | str,
    bits: int | Mapping[str | int, int] | None = None,
    dtype: torch.dtype | None = None,
    coding: str = "relative",
    keep_signed_zeros: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Store a network's tensors, sparse where that is smaller, each to be had back bit by bit but for -0 (section 5).

    bits: index width of the relative coding, 1 to 16, or the parameter of the Rice codes, 0 to 24: None for the
    cheapest by tensor, one number for all, or numbers by tensor name or by number of dimensions (PAPER_BITS).
    dtype: float32, float16 or bfloat16, to which floating point tensors of two or more dimensions are rounded first,
    unless theirs has fewer bytes (None: not at all). coding: relative or rice. keep_signed_zeros: keep each bit; else
    weights that are -0 become 0 (see `unsigned`). metadata: texts to keep in the file, for `own_metadata`. An older
    file at `path` is replaced as a whole, or stays where that fails.
    Raises StorageError for a tensor, width, dtype, coding or metadata that it cannot store, else ReplicationError.
    """
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    if not isinstance(state, Mapping):
        its = "its `net`" if hasattr(state, "net") else "a network or its state_dict"
        raise StorageError(f"{type(state).__name__} is no network and no tensors by name: give {its}")
    _check(state, bits, dtype, coding)
    for key, text in (metadata or {}).items():
        if not _is_text(key) or not _is_text(text):
            raise StorageError(f"metadata {key!r} ({type(text).__name__}): give names and values that are UTF-8 texts")
    parts, stored = {}, {}
    for name, tensor in state.items():
        tensor = _rounded(name, tensor.detach().resolve_conj().resolve_neg(), dtype)
        tensor = tensor if keep_signed_zeros else unsigned(tensor)
        width = bits.get(name, bits.get(tensor.dim())) if isinstance(bits, Mapping) else bits
        stored[name], own = _encode(tensor, None if width is None else int(width), coding)
        parts |= {f"{name}/{kind}": part for kind, part in own.items()}
    described = {"format": FORMAT, "tensors": json.dumps({name: asdict(each) for name, each in stored.items()})}
    own = {"metadata": json.dumps(dict(metadata), sort_keys=True)} if metadata else {}
    _write(Path(path), _apart(parts), described | own)


def _check(state: Mapping[str, Tensor], bits, dtype: torch.dtype | None, coding: str) -> None:
    if coding not in CODINGS:
        raise StorageError(f"unknown coding {coding!r}: choose from {', '.join(CODINGS)}")
    if dtype not in (None, *VALUE_TYPES):
        raise StorageError(f"values cannot be {dtype}: choose from {', '.join(map(str, VALUE_TYPES))}")
    widths = CODINGS[coding].WIDTHS
    given = [] if bits is None else bits.values() if isinstance(bits, Mapping) else [bits]
    for width in given:
        if not isinstance(width, Integral) or isinstance(width, bool) or width not in widths:
            raise StorageError(f"index width {width!r}: choose from {widths[0]} to {widths[-1]} bits for {coding}")
    unknown = [key for key in bits if isinstance(key, str) and key not in state] if isinstance(bits, Mapping) else []
    if unknown:
        raise StorageError(
            f"index width for {unknown[0]!r}, which is no tensor: choose from {', '.join(map(str, state))}"
        )
    for name, tensor in state.items():
        if not _is_text(name):
            raise StorageError(f"{name!r} ({type(name).__name__}): tensors have names that are UTF-8 texts")
        if not isinstance(tensor, Tensor) or tensor.dtype not in NAMES or tensor.layout != torch.strided:
            what = f"{tensor.dtype} {tensor.layout}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise StorageError(
                f"{name!r} is {what}: leave it out, or convert it to a dense tensor of {', '.join(NAMES.values())}"
            )
        if tensor.is_meta:
            raise StorageError(f"{name} is on the meta device and has no values: load the network's weights first")


def _is_text(value: object) -> bool:
    """Whether it is a text that a file can hold: UTF-8 has no lone surrogates."""
    return isinstance(value, str) and value.encode(errors="ignore").decode() == value


def _rounded(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Weights in the type asked for, other tensors as they are; raises StorageError where one gets infinite or 0."""
    if dtype is None or not tensor.is_floating_point() or tensor.dim() < 2 or tensor.itemsize < dtype.itemsize:
        return tensor
    wider = [other for other in VALUE_TYPES if torch.finfo(other).max > torch.finfo(dtype).max]
    choose = f"choose {' or '.join(map(str, wider)) or 'no dtype'}"
    rounded = tensor.to(dtype)
    if rounded.isinf().sum() != tensor.isinf().sum():
        raise StorageError(f"{name!r} has weights beyond {dtype}'s range: {choose}")
    lost = int(tensor.count_nonzero() - rounded.count_nonzero())
    if lost:
        raise StorageError(
            f"{name!r} has {lost:,} kept weights that {dtype} rounds to 0: {choose}, or set them to 0 beforehand"
        )
    return rounded


def unsigned(tensor: Tensor) -> Tensor:
    """The tensor with 0 in the place of -0, if it has two or more dimensions and a type that can be stored sparse.

    A negative weight times its mask's 0 is -0: half of what was pruned. It equals 0, and no network computes other
    values, but its bits are not zeros, so that it would be stored like a kept weight.
    """
    if tensor.dim() < 2 or NAMES[tensor.dtype] not in SPARSE or not tensor.numel():
        return tensor
    words = tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.itemsize])
    least = torch.iinfo(words.dtype).min  # has the bits of -0
    return tensor.masked_fill(words == least, 0) if words.min() == least else tensor


def _encode(tensor: Tensor, width: int | None, coding: str) -> tuple[Stored, dict[str, Tensor]]:
    """One tensor as it goes into the file; width None: the cheapest."""
    dtype, shape = NAMES[tensor.dtype], list(tensor.shape)
    tensor = tensor.cpu().contiguous()
    data = _bytes(tensor)
    if dtype in SPARSE and data.size > SECOND_PART:
        found = _gaps(data.view(f"<i{ITEMSIZE[dtype]}"), width, CODINGS[coding])
        if found:
            index, values, width, kept = found
            stored = Stored(shape, dtype, coding, width, kept, values.size - kept, header.checksum(values, index))
            return stored, {"values": torch.from_numpy(values).view(tensor.dtype), "index": torch.from_numpy(index)}
    return Stored(shape, dtype, "dense", None, tensor.numel(), 0, header.checksum(data)), {"dense": tensor}


def _bytes(tensor: Tensor) -> np.ndarray:
    """The bytes of a tensor in its own memory, uint8, 1-d."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _gaps(words: np.ndarray, width: int | None, coding: type) -> tuple[np.ndarray, np.ndarray, int, int] | None:
    """Index, values, width and kept of the bit patterns `words`; None where they are not smaller than `words`."""
    if np.count_nonzero(words) * (words.itemsize + 1 / 8) >= words.nbytes:  # no index is shorter than 1 bit per weight
        return None
    distances, kept = gaps(words)
    spilled = spill(distances)
    width = cheapest(coding, kept.size, spilled, words.itemsize) if width is None else width
    if stored_bytes(coding, kept.size, spilled[width], width, words.itemsize) + SECOND_PART >= words.nbytes:
        return None
    return *coding.encode(distances, kept, width, spilled[width]), width, kept.size


def _apart(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts, those that share another's memory (tied weights) copied, since the library refuses them."""
    places, apart = set(), {}
    for name, part in parts.items():
        place = part.untyped_storage().data_ptr()
        apart[name] = part.clone() if place in places else part
        places.add(place)
    return apart


def _write(path: Path, parts: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    with files.replacing(path) as aside:
        files.save_tensors(aside, parts, metadata)  # the library decides where the parts lie, which the checksum covers
        with safe_open(aside, "pt") as file:
            own = header.own_checksum(file)
        files.save_tensors(aside, parts, metadata | {"checksum": own})


def load_sparse(path: Path | str) -> dict[str, Tensor]:
    """The state_dict that `save_sparse` stored, every bit of it, in the order it had.

    Raises StorageError, one line with the file and the way out, where the file is missing, damaged or forged.
    """
    with header.reading(path) as (file, tensors):
        return {name: _decode(file, name, stored) for name, stored in tensors.items()}


def own_metadata(path: Path | str) -> dict[str, str]:
    """The metadata that `save_sparse` was given for the file. Raises StorageError as `load_sparse` does."""
    with header.reading(path) as (file, _):
        found = json.loads(file.metadata().get("metadata", "{}"))
        if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
            raise ValueError("its own metadata are no texts")
        return found


def _decode(file: safe_open, name: str, stored: Stored) -> Tensor:
    parts = [file.get_tensor(part) for part in stored.sizes(name)]
    if header.checksum(*map(_bytes, parts)) != stored.checksum:
        raise ValueError(f"{name!r} is not what was written")
    if stored.coding == "dense":
        return parts[0].clone()  # out of the file's pages, which change with the file
    values, index = map(_bytes, parts)
    words = np.zeros(stored.numel, stored.word)
    scatter(CODINGS[stored.coding], index, values.view(stored.word), stored.bits, words)
    return torch.from_numpy(words).view(DTYPES[stored.dtype]).reshape(stored.shape)


def inspect(path: Path | str) -> pd.DataFrame:
    """Where a file's bytes go, one row per tensor, from its metadata alone.

    Columns: shape, dtype, coding, bits (index width), kept (weights), and in bytes values, index, fillers (index and
    value of each), total, dense (the same tensor dense, in the dtype of the file); bits_per_kept. The bytes of the
    header are in `attrs["header"]`. Raises StorageError as `load_sparse` does.
    """
    with header.reading(path) as (file, tensors):
        sizes = {part: header.size(*place) for part, place in header.layout(file).items()}
        rows = {name: _row(stored, sum(sizes[part] for part in stored.sizes(name))) for name, stored in tensors.items()}
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).astype({"bits": "Int64"})
        frame.attrs["header"] = Path(path).stat().st_size - sum(sizes.values())
    return frame


COLUMNS = ["shape", "dtype", "coding", "bits", "kept", "values", "index", "fillers", "total", "dense", "bits_per_kept"]


def _row(stored: Stored, total: int) -> list:
    """total: bytes of its parts."""
    item = ITEMSIZE[stored.dtype]
    values = stored.kept * item
    fillers = stored.fillers * item + stored.fillers * (stored.bits or 0) // 8
    shape = " x ".join(map(str, stored.shape)) or "scalar"
    counts = [stored.kept, values, total - values - fillers, fillers, total, stored.numel * item]
    return [shape, stored.dtype, stored.coding, stored.bits, *counts, 8 * total / stored.kept if stored.kept else None]
