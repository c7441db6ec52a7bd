"""safetensors files with a checksum over their header: plain bytes and JSON, nothing in them is executed.

The header is written and read here, and not by the library, so that tensors go to and from the disk one at a time and
every size is checked before it is believed. Any reader of safetensors opens these files.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from .. import paths
from ..errors import ReplicationError
from . import files

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
ITEMSIZE = {name: dtype.itemsize for name, dtype in DTYPES.items()}
LARGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors library


class StorageError(ReplicationError):
    """A file of sparse weights that is missing, damaged or no such file, or a tensor that cannot be put into one."""


@dataclass(frozen=True)
class Part:
    """One tensor of a file: safetensors dtype, shape, and its bytes (uint8, 1-d)."""

    dtype: str
    shape: list[int]
    data: np.ndarray


def write(path: Path, parts: Mapping[str, Part], metadata: Mapping[str, str]) -> None:
    """Write `parts` by name and `metadata`, with a checksum over the header; an older file is replaced as a whole.

    Raises ReplicationError where the disk is full or read-only; an older file stays.
    """
    names = sorted(parts, key=lambda name: -ITEMSIZE[parts[name].dtype])  # keeps every tensor aligned
    header, end = {"__metadata__": dict(metadata)}, 0
    for name in names:
        begin, end = end, end + parts[name].data.size
        header[name] = {"dtype": parts[name].dtype, "shape": parts[name].shape, "data_offsets": [begin, end]}
    header["__metadata__"]["checksum"] = _checksum(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    files.replace(path, [len(text).to_bytes(8, "little"), text, *(parts[name].data for name in names)])


def _checksum(header: dict) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


class Reader:
    """A file whose header has been checked: `metadata`, `entries` (dtype, shape and place by name), `header_bytes`.

    Raises ValueError where a size disagrees with another or with the file's.
    """

    def __init__(self, file: BinaryIO):
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise ValueError("its header is cut off, or it is no safetensors file")
        header = json.loads(file.read(length))
        self.metadata = header.pop("__metadata__", {})
        checksum = self.metadata.pop("checksum", None)
        if checksum != _checksum({"__metadata__": self.metadata} | header):
            raise ValueError("its header is not what was written, or it was not made by `pack`")
        self.file, self.header_bytes, self.entries = file, 8 + length, header
        end = 0
        for name, entry in header.items():
            begin, stop = entry["data_offsets"]
            if begin != end or stop - begin != numel(entry["shape"]) * ITEMSIZE[entry["dtype"]]:
                raise ValueError(f"the place of {name!r} disagrees with its shape")
            end = stop
        if end != size - self.header_bytes:
            raise ValueError(f"it has {size} bytes and should have {end + self.header_bytes}")

    def read(self, name: str) -> np.ndarray:
        """The bytes of one tensor, uint8, 1-d."""
        begin, end = self.entries[name]["data_offsets"]
        data = np.empty(end - begin, np.uint8)  # no more than the file holds: checked above
        self.file.seek(self.header_bytes + begin)
        if self.file.readinto(data) != data.size:
            raise ValueError(f"{name!r} is cut off")
        return data


def numel(shape: object) -> int:
    """How many elements a shape has; raises ValueError where it is no list of sizes that an array may have."""
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 64:
        raise ValueError("a shape is no list of sizes")
    if math.prod(n or 1 for n in shape) >= 2**48:
        raise ValueError("a shape is larger than any memory")
    return math.prod(shape)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """The checked file `path`; whatever is wrong with it becomes a StorageError of one line."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "not a file")
        with open(path, "rb") as file:
            yield Reader(file)
    except OSError as error:
        raise StorageError(
            f"cannot read {paths.shown(path)} ({error.strerror}): name a file that `python -m replication pack` made"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise StorageError(
            f"{paths.shown(path)} is damaged ({_reason(error)}): make it again with `python -m replication pack`"
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "its tensors do not fit into memory"
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return " ".join(text.split())[:300]
