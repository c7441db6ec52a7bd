"""The machine that computes: where runs go, in which number type, and what a record says of it.

bfloat16 is used only where the device has instructions for it; elsewhere it is emulated, at a tenth of float32's speed.
The type is noted in a run's record; it is no part of the run's key.
"""

import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy
import torch

from ..errors import ReplicationError

# float32: everything; medium: float32 with matrix products in bfloat16 (on CUDA: TF32); bfloat16: autocast; the last
# two where the device has the instructions, else float32
PRECISIONS = ("float32", "medium", "bfloat16")
VARIABLE = "REPLICATION_PRECISION"
FORCED = {"": None, "float32": False, "bfloat16": True}  # by the variable's value: is bfloat16 used?
INSTRUCTIONS = {  # by torch's name of the architecture: what multiplies bfloat16, by torch's names
    "x86_64": ("avx512_bf16", "amx_bf16"),
    "arm64": ("bf16",),
}
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # they keep torch from instructions


def device() -> torch.device:
    """Where runs are computed: REPLICATION_DEVICE, else CUDA where there is one, else the processor.

    Raises ReplicationError where that variable names neither the processor nor a graphics card that there is.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ["cpu", *["cuda"][:cards], *(f"cuda:{number}" for number in range(cards))]
    name = os.environ.get("REPLICATION_DEVICE") or ("cuda" if cards else "cpu")
    if name not in known:
        raise ReplicationError(f"REPLICATION_DEVICE is {name!r}: set it to {' or '.join(known)}, or unset it")
    return torch.device(name)


def jobs() -> int:
    """Processes that compute at a time: REPLICATION_JOBS, else (or 0) the processors that this process may use."""
    return _whole("REPLICATION_JOBS", 0, 0) or len(getattr(os, "sched_getaffinity", lambda _: [0])(0))


def threads() -> int:
    """Threads of each run: REPLICATION_THREADS, else 1."""
    return _whole("REPLICATION_THREADS", 1, 1)


def check() -> None:
    """Raise ReplicationError where a variable that says how runs are computed has a value that cannot be."""
    for variable in (threads, device, _forced):
        variable()


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
        "processor": processor(device().type),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def processor(kind: str = "cpu") -> str:
    """The name of the processor, or of the graphics card (kind `cuda`), as well as the system tells it."""
    if kind == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def compute_dtype(precision: str, device: torch.device | str) -> torch.dtype:
    """In which type a run of this precision (a name in PRECISIONS) is computed on `device`: float32 or bfloat16.

    REPLICATION_PRECISION=float32 or bfloat16 decides in place of the device for all that is not float32 anyway.
    Raises ReplicationError for another value of that variable.
    """
    if precision == "float32":
        return torch.float32
    forced = _forced()
    used = has_bfloat16(torch.device(device).type) if forced is None else forced
    return torch.bfloat16 if used else torch.float32


def _forced() -> bool | None:
    """What REPLICATION_PRECISION says of bfloat16 (see FORCED)."""
    value = os.environ.get(VARIABLE, "")
    if value not in FORCED:
        raise ReplicationError(f"{VARIABLE} is {value!r}: set it to float32 or bfloat16, or leave it out")
    return FORCED[value]


def described(precision: str, device: torch.device | str) -> str:
    """`compute_dtype` in words, as records give it."""
    if compute_dtype(precision, device) == torch.float32:
        return "float32"
    if precision == "bfloat16":
        return "bfloat16"
    return "TF32 products" if torch.device(device).type == "cuda" else "bfloat16 products"


@cache
def has_bfloat16(kind: str) -> bool:
    """Has a device of this kind (`cpu`, `cuda`) instructions for bfloat16? Asked of torch, else measured once."""
    if kind == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    if kind != "cpu":
        return False
    known = _answer() if not any(os.environ.get(name) for name in LIMITS) else None
    return _is_fast() if known is None else known


def _answer() -> bool | None:
    """What torch says of the processor; None where it does not know it or is too old to say."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    names = INSTRUCTIONS.get({"aarch64": "arm64"}.get(kind := capabilities.get("architecture", ""), kind))
    return names and any(capabilities.get(name, False) for name in names)


def _is_fast(size: int = 256) -> bool:
    """Is a matrix product in bfloat16 no slower than in float32? Emulated, it is many times slower."""

    def seconds(dtype: torch.dtype) -> float:
        matrix, times = torch.ones(size, size, dtype=dtype), []
        for _ in range(4):  # the first is there to warm up
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        return min(times)

    return seconds(torch.bfloat16) <= seconds(torch.float32)


def autocast(precision: str, device: torch.device | str):
    """The context in which a network of this precision (see `Training`) is run."""
    if precision != "bfloat16" or compute_dtype(precision, device) == torch.float32:
        return nullcontext()
    # without its cache of casted weights, which would not see that a weight was pruned within the block
    return torch.autocast(torch.device(device).type, torch.bfloat16, cache_enabled=False)


@contextmanager
def matmul_precision(precision: str, device: torch.device | str) -> Iterator[None]:
    """Within the block, `medium` computes float32 matrix products in bfloat16 (on CUDA: TF32) where the device can."""
    before = torch.get_float32_matmul_precision()
    medium = precision == "medium" and compute_dtype(precision, device) == torch.bfloat16
    torch.set_float32_matmul_precision("medium" if medium else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
