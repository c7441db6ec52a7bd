"""Files that are there whole or not at all: written aside, synced, renamed."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from .. import paths
from ..errors import ReplicationError


def write(path: Path, *parts: bytes) -> None:
    """Write `parts` one after the other to `path` and wait until the disk has them."""
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)
        flush(file)


def flush(file: IO[bytes]) -> None:
    """Wait until the disk has an open file."""
    file.flush()
    os.fsync(file.fileno())


def sync(directory: Path) -> None:
    """Make renames in `directory` durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def replace(path: Path, parts: Iterable[bytes]) -> None:
    """Put `parts` in the place of the file `path`; raises ReplicationError where it cannot, and the old file stays."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            write(aside, *parts)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error, "name another file", "a file already there is kept") from None


def cannot_write(path: Path, error: OSError, instead: str, kept: str) -> ReplicationError:
    """The error for a file or folder that cannot be written.

    instead: what else to do than to make room; kept: what the failure has left as it was.
    """
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    way_out = "free some space" if full else "make it writable"
    return ReplicationError(
        f"cannot write {paths.shown(path)} ({error.strerror}): {way_out} or {instead}, then repeat the command; {kept}"
    )
