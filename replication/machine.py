"""The machine that computes: where runs go, and what a record says of it."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy
import torch

from .precision import described


def device() -> torch.device:
    """Where runs are computed: REPLICATION_DEVICE, else CUDA where there is one, else the processor."""
    return torch.device(os.environ.get("REPLICATION_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


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
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
