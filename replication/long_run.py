"""A run that takes days: what its processes share, its checkpoints, and its exact evaluation."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from . import checkpoints
from .accounting import probing, table
from .checkpoints import Position
from .distributed import Group, share
from .errors import ReplicationError
from .photographs import Part, Parts, Photographs, batches, side
from .precision import autocast
from .runs import Run
from .stopping import EXIT, Stop


@dataclass(frozen=True)
class Means:
    """With what a run is computed: none of it is part of its key.

    micro: images that one process takes at a time; workers: processes that read images, for each process that
    computes; minutes: between two checkpoints; watch: told of every stage and step, in every process.
    """

    micro: int = 64
    workers: int = 4
    minutes: float = 15.0
    watch: Callable[[str], None] = lambda event: None

    def __post_init__(self):
        for name, least in (("micro", 1), ("workers", 0), ("minutes", 0)):
            if getattr(self, name) < least:
                raise ReplicationError(f"{name} is {getattr(self, name)!r}: give {least} or more")


@dataclass
class Work:
    """One run while it is computed, the same in every process.

    net: the network with its weights; masks: bool, by layer (empty: none); momentum: by parameter, of the checkpoint
    that it goes on from; position: how far it is; parts: the images.
    """

    run: Run
    net: nn.Sequential
    parts: Parts
    group: Group
    means: Means
    stop: Stop
    masks: dict[str, Tensor] = field(default_factory=dict)
    momentum: dict[str, Tensor] = field(default_factory=dict)
    position: Position = field(default_factory=Position)
    clock: float = field(default_factory=time.monotonic)

    def save(self, momentum: dict[str, Tensor] | None = None) -> None:
        """Write a checkpoint; every process waits until it is on the disk.

        Raises ReplicationError where it cannot be written.
        """
        self.position.seconds, self.clock = self.seconds(), time.monotonic()
        state = checkpoints.Tensors(self.net.state_dict(), self.masks, momentum or {})
        self.group.once(lambda: checkpoints.save(self.run.key, self.position, state))
        self.means.watch(f"{self.run} checkpoint")

    def seconds(self) -> float:
        """Seconds that this run was computed, those before its last checkpoint included."""
        return self.position.seconds + time.monotonic() - self.clock

    def due(self) -> tuple[bool, bool]:
        """(stop, save): what every process does next, by any one's signal or by the clock."""
        late = time.monotonic() - self.clock > 60 * self.means.minutes
        stop, late = self.group.any(self.stop.asked, late)
        return stop, stop or late

    def leave(self) -> None:
        """End the process after a checkpoint, with the exit code that says so."""
        self.means.watch(f"{self.run} stopped")
        raise SystemExit(EXIT)


@torch.no_grad()
def evaluate(work: Work, part: Part, precision: str = "float32") -> dict:
    """Count errors, every image once, over all processes: errors, top5_errors, images and loss (mean per image).

    Raises ReplicationError where the processes together did not see each image once.
    """
    work.net.eval()
    mine, counts, loss = list(share(len(part.y), work.group)), torch.zeros(3, dtype=torch.int64), 0.0
    data = Photographs(part, side(work.run.network))
    groups = [mine[i : i + work.means.micro] for i in range(0, len(mine), work.means.micro)]
    for x, y, _ in batches(data, groups, work.means.workers, work.group.device):
        with autocast(precision, x.device):
            logits = work.net(x)
        best = logits.float().topk(5).indices == y[:, None]  # (B, 5)
        counts += torch.tensor([int((~best[:, 0]).sum()), int((~best.any(1)).sum()), len(y)])
        loss += nn.functional.cross_entropy(logits.float(), y, reduction="sum").item()
        work.means.watch(f"{work.run} evaluate")
    errors, top5, images, loss = work.group.sums(*counts.tolist(), loss)
    if images != len(part.y):
        raise ReplicationError(f"{images:.0f} of {len(part.y)} images were evaluated: repeat the command")
    return {"errors": int(errors), "images": int(images), "loss": loss / images, "top5_errors": int(top5)}


def measure(work: Work) -> dict:
    """What a record says of the network (as `execution.measure`), with top-5 errors, over all processes."""
    with probing(work.net) as probes:
        test = evaluate(work, work.parts.test)
    for probe in probes.values():
        names = ("inputs", "nonzero", "outputs", "output_nonzero")
        for name, value in zip(names, work.group.sums(*(getattr(probe, name) for name in names))):
            setattr(probe, name, int(value))
    rows = work.group.once(lambda: table(work.net, probes, work.masks).to_dict("records"))
    return {"validation": evaluate(work, work.parts.validation), "test": test, "layers": rows}
