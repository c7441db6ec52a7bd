"""Checkpoints of a long run, and the signals at which it writes one and ends.

A checkpoint is one safetensors file, there whole or not at all, read on any number of processes.
"""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .. import paths
from ..errors import ReplicationError
from ..storage import files

PREFIXES = ("weight.", "mask.", "momentum.")
EXIT = 75  # "temporary failure; try again" (sysexits.h): repeat the command, or let the scheduler requeue it
SIGNALS = ("SIGTERM", "SIGUSR1")  # the second is what Slurm can send some minutes before the time is over


@dataclass
class Progress:
    """How far a run has come.

    phase: how many phases of training are over; epoch: how many epochs of this one; images: how many of the epoch's
    order, all processes together; loss: their summed cross-entropy; seconds: computed so far; metrics: as recorded;
    pruned: whether this run's pruning is done.
    """

    phase: int = 0
    epoch: int = 0
    images: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    pruned: bool = False
    metrics: dict = field(default_factory=dict)


class Checkpoint(NamedTuple):
    """weights: a state_dict; masks: bool, by layer (empty: none); momentum: by parameter (empty: at rest)."""

    weights: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    momentum: Mapping[str, Tensor]

    def flat(self) -> dict[str, Tensor]:
        """All in one dictionary, under names that tell them apart."""
        return {prefix + name: tensor for prefix, part in zip(PREFIXES, self) for name, tensor in part.items()}


def tensors(flat: Mapping[str, Tensor]) -> Checkpoint:
    """The reverse of `Checkpoint.flat`."""
    return Checkpoint(*({n.removeprefix(p): t for n, t in flat.items() if n.startswith(p)} for p in PREFIXES))


def path(key: str) -> Path:
    """Where the checkpoint of the run `key` lies."""
    return paths.RUNS / ".checkpoints" / f"{key}.safetensors"


def save(key: str, position: Progress, state: Checkpoint) -> None:
    """Replace the run's checkpoint; the previous one stays until this one is whole and on the disk.

    Raises ReplicationError where the disk is full or read-only.
    """
    final, kept = path(key), "the previous checkpoint is kept"
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in state.flat().items()}
    notes = {"position": json.dumps(asdict(position)), "key": key}
    with files.replacing(final, "set REPLICATION_RUNS to another folder", kept, final.with_suffix(".new")) as aside:
        save_file(flat, aside, notes)


def load(key: str) -> tuple[Progress, Checkpoint] | None:
    """The run's last checkpoint, None where there is none; raises ReplicationError where it is damaged."""
    place = path(key)
    if not place.exists():
        return None
    try:
        with safe_open(place, "pt") as file:
            notes = file.metadata()
            if notes["key"] != key:
                raise ValueError(f"it belongs to the run {notes['key']}")
            position = Progress(**json.loads(notes["position"]))
            return position, tensors({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        way_out = "delete it to compute this run from its start; finished runs are not touched"
        raise ReplicationError(f"the checkpoint {paths.shown(place)} is damaged ({error}): {way_out}") from None


def discard(key: str) -> None:
    """Remove the checkpoint of a run that is stored."""
    path(key).unlink(missing_ok=True)
    path(key).with_suffix(".new").unlink(missing_ok=True)


class Stop:
    """Whether one of SIGNALS has come.

    Outside of `later` nothing would be lost: the process ends at once.
    """

    def __init__(self):
        self.asked, self._waits = False, False

    def __call__(self, number: int, frame: object) -> None:
        """The signal's handler."""
        self.asked = True
        if not self._waits:
            raise SystemExit(EXIT)

    @contextmanager
    def later(self) -> Iterator[None]:
        """Within the block a signal is noted only: whoever runs it asks `asked`, saves and leaves."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False


@contextmanager
def listening() -> Iterator[Stop]:
    """Within the block the SIGNALS that this system has are caught."""
    stop = Stop()
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
