"""Files that are there whole or not at all: written aside, synced, renamed."""

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import paths
from ..errors import ReplicationError


def write(path: Path, *parts: bytes) -> None:
    """Write `parts` one after the other to `path` and wait until the disk has them."""
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Make renames in `directory` durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def replace(path: Path, parts: Iterable[bytes]) -> None:
    """Put `parts` in the place of the file `path`, as `replacing` does."""
    with replacing(path) as aside, open(aside, "wb") as file:
        file.writelines(parts)


@contextmanager
def replacing(
    path: Path,
    instead: str = "name another file",
    kept: str = "a file already there is kept",
    aside: Path | None = None,
) -> Iterator[Path]:
    """A file to write to, which is synced and put in the place of `path`, in a folder made for it, as the block ends.

    instead, kept: as in `cannot_write`. aside: that file; None: one of this process alone beside `path`. A link is
    followed, and the file keeps the mode of the older one.
    Raises ReplicationError where `path` is not a regular file, or the disk is full or read-only; the old file stays.
    """
    target = Path(os.path.realpath(path))
    try:
        old = target.stat().st_mode if target.exists() else None
        if old and not stat.S_ISREG(old):
            raise ReplicationError(f"cannot write {paths.shown(path)} (it is not a regular file): {instead}")
        aside = aside or target.with_name(f".{target.name}.{os.getpid()}")
        try:
            if not target.parent.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
            aside.touch()
            mode = old or aside.stat().st_mode
            aside.chmod(mode | stat.S_IWUSR)  # from its first byte for nobody else than the older file
            yield aside
            with open(aside, "r+b") as file:
                aside.chmod(mode)  # safetensors gives its files to their owner alone
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        sync(target.parent)
    except OSError as error:
        raise cannot_write(path, error, instead, kept) from None
    except SafetensorError as error:  # holds the system's reason as a text
        number = re.search(r"os error (\d+)", str(error))
        reason = OSError(int(number[1]) if number else errno.EIO, str(error))
        raise cannot_write(path, reason, instead, kept) from None


def load_tensors(path: Path, way_out: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file; raises ReplicationError with `way_out` where it is missing or damaged."""
    try:
        if path.is_dir():
            raise OSError(None, "Is a directory")
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ReplicationError(f"cannot read {paths.shown(path)} ({reason}): {way_out}") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, equal bytes for equal tensors: the library orders the metadata anew in each process.

    Raises OSError or SafetensorError, which `replacing` turns into a ReplicationError.
    """
    save_file(dict(tensors), path, dict(metadata) if metadata else None)
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:  # as it is where json writes as the library does; the tensors stay where they are
            file.seek(8)
            file.write(text.ljust(size))


def cannot_write(path: Path, error: OSError, instead: str, kept: str) -> ReplicationError:
    """The error for a file or folder that cannot be written.

    instead: what else to do than to make room; kept: what the failure has left as it was.
    """
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    way_out = "free some space" if full else "make it writable"
    return ReplicationError(
        f"cannot write {paths.shown(path)} ({error.strerror}): {way_out} or {instead}, then repeat the command; {kept}"
    )
