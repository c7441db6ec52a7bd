"""A run: its settings and key, what it is while it is computed, the record that it leaves, and what it builds on."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor, nn

from ..data.datasets import Dataset, Split
from ..networks.registry import NETWORKS, TITLES
from ..pruning.masks import Pruning
from ..specs import LATER, check, check_name, settings
from ..training import checkpoints
from ..training.checkpoints import EXIT, Checkpoint, Progress, Stop
from ..training.loop import Trainer
from ..training.phases import Training
from ..training.processes import ProcessGroup
from . import store

SCHEMA = 1  # part of every key: raise it when the meaning of a spec changes
MOST_SEED = 2**63 - 1  # torch's generators take twice as much; a round's seed is a little larger than its run's


@dataclass(frozen=True)
class Run:
    """One run, described completely: the same value always gives the same key.

    network, dataset: names; seed: 0 to MOST_SEED; training: of this run alone; pruning: applied before the training,
    None for none; parent: the run whose weights and masks this one starts from, None for fresh weights;
    images: use the first so many of each split (None: all); then: further phases of training, one after the other;
    weights: what a dense run starts from instead of its seed: `torchvision` or the SHA-256 of a file;
    rank: of the SVD that splits the large fully connected layers first (0: none; see `networks.factorised`).
    """

    network: str
    seed: int
    training: Training
    pruning: Pruning | None = None
    parent: "Run | None" = None
    dataset: str = "mnist"
    images: int | None = None
    then: tuple[Training, ...] = field(default=(), metadata=LATER)
    rank: int = field(default=0, metadata=LATER)
    weights: str = field(default="", metadata=LATER)

    def __post_init__(self):
        check("the seed", self.seed, most=MOST_SEED, whole=True)
        check_name("network", self.network, NETWORKS)

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits: a hash of the whole spec, of its ancestors' and of SCHEMA."""
        text = json.dumps({"schema": SCHEMA} | self.spec(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def spec(self) -> dict:
        """The run as JSON values, its parent by key."""
        return settings(replace(self, parent=None)) | {"parent": self.parent.key if self.parent else None}

    @property
    def ancestors(self) -> list["Run"]:
        """The runs that this one builds on, the oldest first."""
        return [*self.parent.ancestors, self.parent] if self.parent else []

    @property
    def stage(self) -> str:
        """`dense`, `dense, longer` where a dense network was trained on, or `round k`: the k-th pruning of a chain;
        `trained on` where nothing was pruned after it."""
        rounds = sum(run.pruning is not None for run in [*self.ancestors, self])
        if rounds and not self.pruning:
            return f"round {rounds}, trained on"
        return f"round {rounds}" if rounds else "dense, longer" if self.parent else "dense"

    @property
    def phases(self) -> tuple[Training, ...]:
        """The phases of this run's training, in order."""
        return self.training, *self.then

    def __str__(self) -> str:
        return f"{TITLES[self.network]} seed {self.seed} {self.stage}"


@dataclass(frozen=True)
class Record:
    """What a run left: its key, spec, stage, metrics and provenance, with the tensors on request."""

    values: dict

    key = property(lambda self: self.values["key"])
    run = property(lambda self: self.values["run"])
    stage = property(lambda self: self.values["stage"])
    metrics = property(lambda self: self.values["metrics"])
    provenance = property(lambda self: self.values["provenance"])
    scores = property(lambda self: {split: self.metrics[split] for split in ("validation", "test")})  # for pairs

    def error(self, split: str = "test") -> float:
        """Error on `test` or `validation`, in percent."""
        score = self.metrics[split]
        return 100 * score["errors"] / score["images"]

    def standard_error(self, split: str = "test") -> float:
        """Of the error on `test` or `validation`, in points: that of a share of so many images."""
        share = self.error(split) / 100
        return 100 * (share * (1 - share) / self.metrics[split]["images"]) ** 0.5

    @property
    def layers(self) -> pd.DataFrame:
        """The accounting by layer (see `accounting.account`)."""
        return pd.DataFrame(self.metrics["layers"])

    @property
    def kept(self) -> float:
        """How many weights (without biases) are kept."""
        return float((self.layers.weights * self.layers.weight_density).sum())

    @property
    def rate(self) -> float:
        """Compression rate: all prunable weights over those kept (Table 1 counts the same way)."""
        kept = self.kept
        return float(self.layers.weights.sum()) / kept if kept else math.inf

    def change(self, start: "Record") -> float:
        """Change of the test error, in points, against `start`, the run that this one started from (see `paired`)."""
        return self.error() - paired([start, self])[0].error()

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(state_dict, masks by layer name), read from the store and checked."""
        return store.load_tensors(self.values)


def get(run: Run) -> Record | None:
    """The stored record of `run`, None where it has not been computed; raises ReplicationError where it is damaged."""
    return Record(store.load_record(run.key)) if store.folder(run.key).exists() else None


def paired(records: Iterable[Record]) -> list[Record]:
    """Records that are compared with one another, each that others started from with the scores that they found.

    A record that comes with the repository may have its parent computed anew here, by other instructions: that is
    another network than the one that was pruned, and no pair. The pruned run has noted what its own parent scored.
    """
    records = list(records)
    noted = {r.run["parent"]: r.metrics["parent"] for r in records if "parent" in r.metrics}
    return [Record(r.values | {"metrics": r.metrics | noted[r.key]}) if r.key in noted else r for r in records]


def with_ancestors(plan: Iterable[Run]) -> list[Run]:
    """The runs of `plan` and all that they build on, parents first, each once."""
    ordered: dict[str, Run] = {}
    for run in plan:
        for each in [*run.ancestors, run]:
            ordered.setdefault(each.key, each)
    return list(ordered.values())


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
