"""Pruned networks on disk: kept weights and the gaps between them (section 5), one safetensors file for a network.

The file holds, for each tensor NAME, either NAME/dense or NAME/values and NAME/index. Its metadata say how each was
stored (`Stored`), with a checksum over all of it; `load_sparse` believes a shape only where that checksum holds, the
checksum of the tensor's bytes holds, and the gaps end within the shape. Zeros are given by the system when touched.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from . import container
from .container import DTYPES, ITEMSIZE, Part, StorageError
from .gap_coding import CODINGS, cheapest, gaps, scatter, spill

FORMAT = "gaps 1"
PAPER_BITS = {4: 8, 2: 5}  # paper: section 5, 8 bits in convolutions (4-d) and 5 in fully connected layers (2-d)
VALUE_TYPES = (torch.float32, torch.float16, torch.bfloat16)
SPARSE = ("F64", "F32", "F16", "BF16")
SECOND_PART = 160  # ours: bytes that a second part takes in the header; a tensor that saves less is stored dense
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Stored:
    """How one tensor is stored; all of it is in the file's metadata.

    coding: dense, relative or rice; bits: the index width or Rice parameter; kept, fillers: counts of stored values;
    checksum: SHA-256 of the tensor's bytes in the file.
    """

    shape: list[int]
    dtype: str
    coding: str
    bits: int | None
    kept: int
    fillers: int
    checksum: str

    def __post_init__(self):
        if not all(type(n) is int and n >= 0 for n in (self.kept, self.fillers)) or self.kept > self.numel:
            raise ValueError("its counts are no counts")
        if self.coding == "dense" and self.dtype in ITEMSIZE:
            if (self.bits, self.kept, self.fillers) != (None, self.numel, 0):
                raise ValueError("a dense tensor has an index")
        elif self.coding not in CODINGS or self.dtype not in SPARSE:
            raise ValueError(f"coding {self.coding!r} of dtype {self.dtype!r} is not known")
        elif type(self.bits) is not int or self.bits not in CODINGS[self.coding].WIDTHS:
            raise ValueError(f"index width {self.bits!r} is not known for coding {self.coding!r}")

    @property
    def numel(self) -> int:
        return container.numel(self.shape)

    @property
    def word(self) -> np.dtype:
        """The integers that the values' bit patterns are handled as."""
        return np.dtype(f"<i{ITEMSIZE[self.dtype]}")

    def sizes(self, name: str) -> dict[str, tuple[str, list[int] | None]]:
        """dtype and shape of the parts that the file must hold for this tensor (None: any)."""
        if self.coding == "dense":
            return {f"{name}/dense": (self.dtype, self.shape)}
        count = self.kept + self.fillers
        exact = [CODINGS[self.coding].index_bytes(self.kept, self.fillers, self.bits)]
        index = exact if self.coding == "relative" else None  # the length of unary codes is checked in decoding
        return {f"{name}/values": (self.dtype, [count]), f"{name}/index": ("U8", index)}


def save_sparse(
    model_or_state: nn.Module | Mapping[str, Tensor],
    path: Path | str,
    bits: int | Mapping[str | int, int] | None = None,
    dtype: torch.dtype | None = None,
    coding: str = "relative",
) -> None:
    """Store a network's tensors, sparse where that is smaller, each to be had back bit by bit (section 5).

    bits: index width of the relative coding, 1 to 16, or the parameter of the Rice codes, 0 to 24: None for the
    cheapest by tensor, one number for all, or numbers by tensor name or by number of dimensions (PAPER_BITS).
    dtype: float32, float16 or bfloat16, to which float32 tensors of two or more dimensions are rounded first (None:
    not at all). coding: relative or rice. An older file at `path` is replaced as a whole, or stays where that fails.
    Raises StorageError for a tensor, width, dtype or coding that cannot be stored, ReplicationError for the disk.
    """
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    _check(state, bits, dtype, coding)
    parts, stored = {}, {}
    for name, tensor in state.items():
        tensor = _rounded(name, tensor.detach(), dtype)
        stored[name], own = _encode(tensor, _width(bits, name, tensor.dim()), coding)
        parts |= {f"{name}/{kind}": part for kind, part in own.items()}
    tensors = json.dumps({name: asdict(each) for name, each in stored.items()})
    container.write(Path(path), parts, {"format": FORMAT, "tensors": tensors})


def _check(state: Mapping[str, Tensor], bits, dtype: torch.dtype | None, coding: str) -> None:
    if coding not in CODINGS:
        raise StorageError(f"unknown coding {coding!r}: choose from {', '.join(CODINGS)}")
    if dtype not in (None, *VALUE_TYPES):
        raise StorageError(f"values cannot be {dtype}: choose from {', '.join(map(str, VALUE_TYPES))}")
    widths = CODINGS[coding].WIDTHS
    numbers = [] if bits is None else bits.values() if isinstance(bits, Mapping) else [bits]
    for width in numbers:
        if type(width) is not int or width not in widths:
            raise StorageError(f"index width {width!r}: choose from {widths[0]} to {widths[-1]} bits for {coding}")
    unknown = [key for key in bits if isinstance(key, str) and key not in state] if isinstance(bits, Mapping) else []
    if unknown:
        raise StorageError(f"index width for {unknown[0]!r}, which is no tensor: choose from {', '.join(state)}")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.dtype not in NAMES or tensor.layout != torch.strided:
            what = f"{tensor.dtype} {tensor.layout}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise StorageError(
                f"{name!r} is {what}: leave it out, or convert it to a dense tensor of {', '.join(NAMES.values())}"
            )


def _width(bits, name: str, dimensions: int) -> int | None:
    return bits.get(name, bits.get(dimensions)) if isinstance(bits, Mapping) else bits


def _rounded(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Weights in the type asked for, other tensors as they are; raises StorageError where one gets infinite."""
    if dtype is None or tensor.dtype != torch.float32 or tensor.dim() < 2:
        return tensor
    rounded = tensor.to(dtype)
    if rounded.isinf().sum() != tensor.isinf().sum():
        raise StorageError(f"{name!r} has weights beyond {dtype}'s range: choose torch.bfloat16 or torch.float32")
    return rounded


def _encode(tensor: Tensor, width: int | None, coding: str) -> tuple[Stored, dict[str, Part]]:
    """One tensor as it goes into the file; width None: the cheapest."""
    dtype, shape = NAMES[tensor.dtype], list(tensor.shape)
    data = tensor.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy()
    if dtype in SPARSE and data.size > SECOND_PART:
        found = _gaps(data.view(f"<i{ITEMSIZE[dtype]}"), width, CODINGS[coding])
        if found:
            index, values, width, fillers = found
            parts = {
                "values": Part(dtype, [values.size], values.view(np.uint8)),
                "index": Part("U8", [index.size], index),
            }
            stored = Stored(shape, dtype, coding, width, values.size - fillers, fillers, _checksum(values, index))
            return stored, parts
    part = Part(dtype, shape, data)
    return Stored(shape, dtype, "dense", None, tensor.numel(), 0, _checksum(data)), {"dense": part}


def _gaps(words: np.ndarray, width: int | None, coding: type) -> tuple[np.ndarray, np.ndarray, int, int] | None:
    """Index, values, width and fillers of the bit patterns `words`; None where they are not smaller than `words`."""
    if np.count_nonzero(words) * (words.itemsize + 1 / 8) >= words.nbytes:  # no index is shorter than 1 bit per weight
        return None
    distances, kept = gaps(words)
    spilled = spill(distances)
    width = cheapest(coding, kept.size, spilled, words.itemsize) if width is None else width
    entries = coding.entries(kept.size, spilled[width])
    if entries * words.itemsize + coding.index_bytes(kept.size, spilled[width], width) + SECOND_PART >= words.nbytes:
        return None
    index, values = coding.encode(distances, kept, width, spilled[width])
    return index, values, width, entries - kept.size


def _checksum(*parts: np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def load_sparse(path: Path | str) -> dict[str, Tensor]:
    """The state_dict that `save_sparse` stored, every bit of it, in the order it had.

    Raises StorageError, one line with the file and the way out, where the file is missing, damaged or forged.
    """
    with container.reading(path) as reader:
        return {name: _decode(reader, name, stored) for name, stored in _stored(reader).items()}


def _stored(reader: container.Reader) -> dict[str, Stored]:
    """How each tensor of a file is stored, checked against the parts that the file holds."""
    if reader.metadata["format"] != FORMAT:
        raise ValueError(f"its format is {reader.metadata['format']!r}, not {FORMAT!r}")
    stored = {name: Stored(**each) for name, each in json.loads(reader.metadata["tensors"]).items()}
    needed = {part: size for name, each in stored.items() for part, size in each.sizes(name).items()}
    if needed.keys() != reader.entries.keys():
        raise ValueError("its metadata name other tensors than it holds")
    for part, (dtype, shape) in needed.items():
        entry = reader.entries[part]
        if entry["dtype"] != dtype or shape not in (None, entry["shape"]):
            raise ValueError(f"{part!r} is {entry['dtype']} {entry['shape']}, its metadata say {dtype} {shape}")
    return stored


def _decode(reader: container.Reader, name: str, stored: Stored) -> Tensor:
    parts = [reader.read(part) for part in stored.sizes(name)]
    if _checksum(*parts) != stored.checksum:
        raise ValueError(f"{name!r} is not what was written")
    data = parts[0]
    if stored.coding != "dense":
        values, index = parts
        words = np.zeros(stored.numel, stored.word)
        scatter(CODINGS[stored.coding], index, values.view(stored.word), stored.bits, words)
        data = words.view(np.uint8)
    if not stored.numel:
        return torch.empty(stored.shape, dtype=DTYPES[stored.dtype])
    return torch.from_numpy(data).view(DTYPES[stored.dtype]).reshape(stored.shape)


def inspect(path: Path | str) -> pd.DataFrame:
    """Where a file's bytes go, one row per tensor, from its metadata alone.

    Columns: shape, dtype, coding, bits (index width), kept (weights), and in bytes values, index, fillers (index and
    value of each), total, dense (the same tensor dense, in the dtype of the file); bits_per_kept. The bytes of the
    header are in `attrs["header"]`. Raises StorageError as `load_sparse` does.
    """
    with container.reading(path) as reader:
        rows = {name: _row(reader, name, stored) for name, stored in _stored(reader).items()}
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).astype({"bits": "Int64"})
        frame.attrs["header"] = reader.header_bytes
    return frame


COLUMNS = ["shape", "dtype", "coding", "bits", "kept", "values", "index", "fillers", "total", "dense", "bits_per_kept"]


def _row(reader: container.Reader, name: str, stored: Stored) -> list:
    total = sum(int(np.subtract(*reader.entries[part]["data_offsets"][::-1])) for part in stored.sizes(name))
    item = ITEMSIZE[stored.dtype]
    values = stored.kept * item
    fillers = stored.fillers * item + stored.fillers * (stored.bits or 0) // 8
    shape = " x ".join(map(str, stored.shape)) or "scalar"
    counts = [stored.kept, values, total - values - fillers, fillers, total, stored.numel * item]
    return [shape, stored.dtype, stored.coding, stored.bits, *counts, 8 * total / stored.kept if stored.kept else None]
