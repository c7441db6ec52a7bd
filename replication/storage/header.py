"""The header of a file of sparse weights: how each tensor is stored, and the checksum that makes it believed."""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from .. import paths
from ..errors import ReplicationError
from .gap_coding import CODINGS, packed_bytes

FORMAT = "gaps 1"
# types by safetensors' names
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SPARSE = tuple(DTYPES)  # of tensors that may be stored sparse
DTYPES |= {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "BOOL": torch.bool, "C64": torch.complex64}
DTYPES |= {f"I{bits}": getattr(torch, f"int{bits}") for bits in (8, 16, 32, 64)}
DTYPES |= {f"U{bits}": getattr(torch, f"uint{bits}") for bits in (8, 16, 32, 64)}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
ITEMSIZE = {name: dtype.itemsize for name, dtype in DTYPES.items()}


class StorageError(ReplicationError):
    """A file of sparse weights that is missing, damaged or no such file, or a tensor that cannot be put into one."""


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
        return _numel(self.shape)

    @property
    def word(self) -> np.dtype:
        """The integers that the values' bit patterns are handled as."""
        return np.dtype(f"<i{ITEMSIZE[self.dtype]}")

    def sizes(self, name: str) -> dict[str, tuple[str, list[int] | None]]:
        """dtype and shape of the parts that the file must hold for this tensor (None: any)."""
        if self.coding == "dense":
            return {f"{name}/dense": (self.dtype, self.shape)}
        count = self.kept + self.fillers
        exact = [packed_bytes(count, self.bits)]
        index = exact if self.coding == "relative" else None  # the length of unary codes is checked in decoding
        return {f"{name}/values": (self.dtype, [count]), f"{name}/index": ("U8", index)}


def _numel(shape: object) -> int:
    """How many elements a shape has; raises ValueError where it is no list of sizes that an array may have."""
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 64:
        raise ValueError("a shape is no list of sizes")
    if math.prod(n or 1 for n in shape) >= 2**48:
        raise ValueError("a shape is larger than any memory")
    return math.prod(shape)


@contextmanager
def reading(path: Path | str) -> Iterator[tuple[safe_open, dict[str, Stored]]]:
    """A file whose header is checked, and how its tensors are stored; what is wrong with it becomes a StorageError."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "not a file")
        path.open("rb").close()  # gives the system's reason, which the library does not
        with safe_open(path, "pt") as file:
            yield file, _described(file)
    except OSError as error:
        raise StorageError(
            f"cannot read {paths.shown(path)} ({error.strerror or error}): name a file that "
            "`python -m replication pack` made"
        ) from None
    except (
        SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError
    ) as error:  # fmt: skip
        raise StorageError(
            f"{paths.shown(path)} is damaged ({_reason(error)}): make it again with `python -m replication pack`"
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "its tensors do not fit into memory"
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return " ".join(text.split())[:300]


def _described(file: safe_open) -> dict[str, Stored]:
    """How each tensor of a file is stored, checked against the parts that the file holds."""
    metadata = file.metadata() or {}
    if metadata.get("checksum") != own_checksum(file):
        raise ValueError("its header is not what was written, or it was not made by `pack`")
    if metadata["format"] != FORMAT:
        raise ValueError(f"its format is {metadata['format']!r}, not {FORMAT!r}")
    found = {name: Stored(**each) for name, each in json.loads(metadata["tensors"]).items()}
    needed = {part: size for name, each in found.items() for part, size in each.sizes(name).items()}
    held = layout(file)
    if needed.keys() != held.keys():
        raise ValueError("its metadata name other tensors than it holds")
    for part, (dtype, shape) in needed.items():
        if held[part][0] != dtype or shape not in (None, held[part][1]):
            raise ValueError(f"{part!r} is {held[part]}, its metadata say {dtype} {shape}")
    return found


def layout(file: safe_open) -> dict[str, tuple[str, list[int]]]:
    """dtype and shape of each part of a file, in the order of their bytes, which the library has checked."""
    slices = {name: file.get_slice(name) for name in file.offset_keys()}
    return {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}


def own_checksum(file: safe_open) -> str:
    """SHA-256 of the header as it is without its checksum, keys sorted."""
    metadata, end = file.metadata() or {}, 0
    header = {"__metadata__": {key: value for key, value in metadata.items() if key != "checksum"}}
    for name, (dtype, shape) in layout(file).items():
        begin, end = end, end + size(dtype, shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def size(dtype: str, shape: list[int]) -> int:
    return ITEMSIZE[dtype] * _numel(shape)


def checksum(*parts: np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
