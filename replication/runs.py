"""What identifies a run, how it is computed once and kept, and how chains and whole plans are computed and resumed."""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor

from . import datasets, networks, paths, progress, store
from .accounting import account
from .errors import ReplicationError
from .machine import describe, device
from .pruning import Pruning, choose_qualities, density, prune, threshold
from .training import Training, evaluate, train

SCHEMA = 1  # part of every key: raise it when the meaning of a spec changes


@dataclass(frozen=True)
class Run:
    """One run, described completely: the same value always gives the same key.

    network, dataset: names; seed: a whole number; training: of this run alone; pruning: applied before the training,
    None for none; parent: the run whose weights and masks this one starts from, None for fresh weights;
    images: use the first so many of each split (None: all).
    """

    network: str
    seed: int
    training: Training
    pruning: Pruning | None = None
    parent: "Run | None" = None
    dataset: str = "mnist"
    images: int | None = None

    def __post_init__(self):
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise ReplicationError(f"the seed is {self.seed!r}: give a whole number of zero or more")
        if self.network not in networks.NETWORKS:
            raise ReplicationError(f"unknown network {self.network!r}: choose from {', '.join(networks.NETWORKS)}")

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits: a hash of the whole spec, of its ancestors' and of SCHEMA."""
        text = json.dumps({"schema": SCHEMA} | self.spec(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def spec(self) -> dict:
        """The run as JSON values, its parent by key."""
        values = {name: getattr(self, name) for name in ("network", "seed", "dataset", "images")}
        values["training"] = asdict(self.training)
        values["pruning"] = asdict(self.pruning) if self.pruning else None
        values["parent"] = self.parent.key if self.parent else None
        return json.loads(json.dumps(values))

    @property
    def ancestors(self) -> list["Run"]:
        """The runs that this one builds on, the oldest first."""
        return [*self.parent.ancestors, self.parent] if self.parent else []

    @property
    def stage(self) -> str:
        """`dense`, or `round k` for the k-th pruning of a chain."""
        rounds = sum(run.pruning is not None for run in [*self.ancestors, self])
        return f"round {rounds}" if rounds else "dense"

    def __str__(self) -> str:
        return f"{networks.TITLES[self.network]} seed {self.seed} {self.stage}"


@dataclass(frozen=True)
class Record:
    """What a run left: its key, spec, stage, metrics and provenance, with the tensors on request."""

    values: dict

    key = property(lambda self: self.values["key"])
    run = property(lambda self: self.values["run"])
    stage = property(lambda self: self.values["stage"])
    metrics = property(lambda self: self.values["metrics"])
    provenance = property(lambda self: self.values["provenance"])

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
        return float(self.layers.weights.sum() / (self.layers.weights * self.layers.weight_density).sum())

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(state_dict, masks by layer name), read from the store and checked."""
        return store.load_tensors(self.values)


def get(run: Run) -> Record | None:
    """The stored record of `run`, None where it has not been computed; raises ReplicationError where it is damaged."""
    return Record(store.load_record(run.key)) if store.folder(run.key).exists() else None


def get_or_run(run: Run, fresh: bool = False) -> Record:
    """The record of `run`: read, or computed and stored. A chain resumes at its first missing run.

    fresh: compute this run even if it is stored. A second process that asks for the same run waits for the first.
    Raises ReplicationError where a stored run is damaged, the disk is full or the training diverges.
    """
    if not fresh and (found := get(run)):
        return found
    parent = get_or_run(run.parent) if run.parent else None
    with store.lock(run.key):
        if not fresh and (found := get(run)):
            return found
        metrics, provenance, state, masks = execute(run, parent)
        record = {"key": run.key, "run": run.spec(), "stage": run.stage, "metrics": metrics, "provenance": provenance}
        store.save_run(run.key, record, state, masks)
        return Record(store.load_record(run.key))


def ship(run: Run) -> Record:
    """Put a run among those that come with the repository: weights rounded to float16, all errors measured again.

    The run is computed where it is not stored yet. Its provenance stays that of the training.
    """
    source = get_or_run(run)
    state, masks = source.tensors()
    halves = {name: tensor.half() for name, tensor in state.items()}
    net = networks.build(run.network)
    net.load_state_dict({name: tensor.float() for name, tensor in halves.items()})
    metrics = source.metrics | measure(net, datasets.load(run.dataset, run.images), masks)
    record = {k: source.values[k] for k in ("key", "run", "stage", "provenance")} | {"metrics": metrics}
    with store.lock(run.key):
        store.save_run(run.key, record | {"weights": "float16"}, halves, masks, paths.MODELS)
    return Record(store.load_record(run.key))


def measure(net: torch.nn.Module, data: datasets.Dataset, masks: dict[str, Tensor]) -> dict:
    """What a record says of a network: errors on the validation and test images, and the accounting by layer."""
    return {
        "validation": evaluate(net, data.validation)._asdict(),
        "test": evaluate(net, data.test)._asdict(),
        "layers": account(net, data.test.x, masks).to_dict("records"),
    }


def execute(run: Run, parent: Record | None) -> tuple[dict, dict, dict[str, Tensor], dict[str, Tensor]]:
    """Compute one run: (metrics, provenance, state_dict, masks). `parent`: the record to start from."""
    start, metrics, threads = time.perf_counter(), {}, torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("REPLICATION_THREADS", 1)))
    try:
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)  # for dropout; everything else takes the generator
            state, masks = _train_and_measure(run, parent, metrics)
        return metrics, describe(time.perf_counter() - start), state, masks
    finally:
        torch.set_num_threads(threads)


def _train_and_measure(run: Run, parent: Record | None, metrics: dict) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(run.seed + 1_000_003 * len(run.ancestors))
    data = datasets.Dataset(
        *(datasets.Split(*(t.to(device()) for t in s)) for s in datasets.load(run.dataset, run.images))
    )
    net, masks = networks.build(run.network, generator), {}
    if parent:
        state, masks = parent.tensors()
        net.load_state_dict(state)
    net = net.to(device(), memory_format=torch.channels_last)  # faster for the convolutions, the same values
    masks = {name: mask.to(device()) for name, mask in masks.items()}
    if run.pruning:
        masks = _prune(net, run.pruning, data.validation, masks or None, metrics)
    with progress.bar(str(run), run.training.epochs) as bar:

        def after_epoch(row: dict) -> None:
            row["validation_errors"] = evaluate(net, data.validation).errors
            bar(row["loss"], 100 * row["validation_errors"] / len(data.validation.y))

        metrics["history"] = train(net, data.train, run.training, generator, masks, after_epoch)
    metrics |= measure(net, data, masks)
    if not math.isfinite(metrics["validation"]["loss"]):
        raise ReplicationError(f"training diverged: lower the learning rate {run.training.learning_rate}")
    return {k: v.cpu() for k, v in net.state_dict().items()}, {k: v.cpu() for k, v in masks.items()}


def _prune(
    net, rule: Pruning, split: datasets.Split, masks: dict[str, Tensor] | None, metrics: dict
) -> dict[str, Tensor]:
    """Choose the qualities and prune `net` in place; notes what was chosen in `metrics`, returns the new masks."""
    tensors = networks.weights(net)
    qualities, metrics["sensitivity"] = choose_qualities(net, split, rule, masks)
    metrics["qualities"] = qualities
    metrics["thresholds"] = {name: threshold(tensors[name], q, masks and masks[name]) for name, q in qualities.items()}
    masks = prune(tensors, qualities, masks)
    for name, mask in masks.items():
        tensors[name].mul_(mask)
    metrics["density"] = density(masks)
    metrics["before_retraining"] = evaluate(net, split)._asdict()
    return masks


def with_ancestors(plan: Iterable[Run]) -> list[Run]:
    """The runs of `plan` and all that they build on, parents first, each once."""
    ordered: dict[str, Run] = {}
    for run in plan:
        for each in [*run.ancestors, run]:
            ordered.setdefault(each.key, each)
    return list(ordered.values())
