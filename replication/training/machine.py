"""The machine that computes: where runs go, and what a record says of it."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy
import torch

from ..errors import ReplicationError
from .precision import described


def device() -> torch.device:
    """Where runs are computed: REPLICATION_DEVICE, else CUDA where there is one, else the processor."""
    return torch.device(os.environ.get("REPLICATION_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


def jobs() -> int:
    """Processes that compute at a time: REPLICATION_JOBS, else (or 0) the processors that this process may use."""
    return _whole("REPLICATION_JOBS", 0, 0) or len(getattr(os, "sched_getaffinity", lambda _: [0])(0))


def threads() -> int:
    """Threads of each run: REPLICATION_THREADS, else 1."""
    return _whole("REPLICATION_THREADS", 1, 1)


def _whole(name: str, default: int, least: int) -> int:
    """A whole number from the environment; raises ReplicationError where it is none or less than `least`."""
    text = os.environ.get(name) or str(default)
    if not text.strip().isdecimal() or int(text) < least:
        raise ReplicationError(f"{name} is {text!r}: set it to a whole number of {least} or more, or unset it")
    return int(text)


def now() -> str:
    """The time as records give it: ISO 8601, UTC, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(seconds: float, precisions: Iterable[str]) -> dict:
    """Where and with what a run was computed, and how long it took; precisions: of its phases."""
    return {
        "finished": now(),
        "seconds": round(seconds, 2),
        "device": str(device()),
        "threads": torch.get_num_threads(),
        "precision": ", ".join(sorted({described(precision, device()) for precision in precisions})),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def processor() -> str:
    """The processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
