"""What identifies a run and what it leaves: its settings and key, its record, and those that it builds on."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd
from torch import Tensor

from ..networks.registry import NETWORKS, TITLES
from ..pruning.masks import Pruning
from ..specs import LATER, check, check_name, settings
from ..training.phases import Training
from . import store

SCHEMA = 1  # part of every key: raise it when the meaning of a spec changes


@dataclass(frozen=True)
class Run:
    """One run, described completely: the same value always gives the same key.

    network, dataset: names; seed: a whole number; training: of this run alone; pruning: applied before the training,
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
        check("the seed", self.seed, whole=True)
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

    @property
    def layers(self) -> pd.DataFrame:
        """The accounting by layer (see `accounting.account`)."""
        return pd.DataFrame(self.metrics["layers"])

    @property
    def rate(self) -> float:
        """Compression rate: all prunable weights over those kept (Table 1 counts the same way)."""
        kept = float((self.layers.weights * self.layers.weight_density).sum())
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
