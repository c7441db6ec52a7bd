"""One run while it is computed: what its processes share, and its checkpoints."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..data.datasets import Dataset, Split
from ..specs import check
from ..training import checkpoints
from ..training.checkpoints import EXIT, Checkpoint, Progress, Stop
from ..training.loop import Trainer
from ..training.processes import ProcessGroup
from .spec import Run


@dataclass(frozen=True)
class ComputeOptions:
    """With what a run is computed: none of it is part of its key.

    micro_batch_size: images that one process takes at a time; workers: processes that read images, for each process
    that computes; minutes: between two checkpoints; watch: told of every stage and step, in every process.
    """

    micro_batch_size: int = 64
    workers: int = 4
    minutes: float = 15.0
    watch: Callable[[str], None] = lambda event: None

    def __post_init__(self):
        for name, least in (("micro_batch_size", 1), ("workers", 0), ("minutes", 0)):
            check(name, getattr(self, name), least, wanted=f"{least} or more")


@dataclass
class RunState:
    """One run while it is computed, the same in every process.

    net: the network with its weights; data: the images, in memory (`datasets.Split`) or in a folder
    (`imagenet.FolderSplit`); generator: of all random choices but those of training from a folder; masks: bool, by
    layer (empty: none); momentum: by parameter, of the checkpoint that it goes on from; progress: how far it is;
    notes: what the provenance says besides; clock: when its time began that `progress` does not count yet.
    """

    run: Run
    net: nn.Sequential
    data: Dataset
    generator: torch.Generator
    group: ProcessGroup
    options: ComputeOptions = ComputeOptions()
    stop: Stop = field(default_factory=Stop)
    masks: dict[str, Tensor] = field(default_factory=dict)
    momentum: dict[str, Tensor] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    notes: dict = field(default_factory=dict)
    clock: float = field(default_factory=time.monotonic)

    @property
    def in_memory(self) -> bool:
        """True for a run of minutes on images in memory: it has no checkpoints."""
        return isinstance(self.data.train, Split)

    def after_step(self, trainer: Trainer) -> None:
        """A checkpoint where it is time; to be called after every step and every epoch of training."""
        progress = self.progress
        if progress.images and not self.in_memory:
            where = f"phase {progress.phase} epoch {progress.epoch} images {progress.images}"
            self.options.watch(f"{self.run} {where}")
        self.checkpoint(trainer)

    def checkpoint(self, trainer: Trainer | None = None, now: bool = False) -> None:
        """Write a checkpoint where one is due, by the clock, any process's signal or `now`; after a signal end.

        Every process waits until it is on the disk. Raises ReplicationError where it cannot be written, and SystemExit
        with the exit code that says that the run is to be repeated.
        """
        if self.in_memory:
            return
        now = now or time.monotonic() - self.clock > 60 * self.options.minutes
        if not any(self.group.any(self.stop.asked, now)):
            return
        if trainer:
            trainer.collect()
        self.progress.seconds, self.clock = self.seconds(), time.monotonic()
        state = Checkpoint(self.net.state_dict(), self.masks, trainer.optimiser.momentum if trainer else {})
        self.group.on_first(lambda: checkpoints.save(self.run.key, self.progress, state))
        self.options.watch(f"{self.run} checkpoint")
        if self.group.any(self.stop.asked)[0]:
            self.options.watch(f"{self.run} stopped")
            raise SystemExit(EXIT)

    def seconds(self) -> float:
        """Seconds that this run was computed, those before its last checkpoint included."""
        return self.progress.seconds + time.monotonic() - self.clock
