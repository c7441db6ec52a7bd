"""Computes one run: prune, train phase by phase, measure."""

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import datasets, dead, networks, progress
from .accounting import probing, table
from .errors import ReplicationError
from .machine import describe, device
from .phases import fixed_front, outputs
from .precision import autocast, compute_dtype
from .pruning import by_method, density, prune, threshold
from .sensitivity import choose_qualities
from .training import Training, evaluate, train

if TYPE_CHECKING:
    from .runs import Record, Run


def measure(net: torch.nn.Module, data: datasets.Dataset, masks: dict[str, Tensor]) -> dict:
    """What a record says of a network: errors on the validation and test images, and the accounting by layer."""
    with probing(net) as probes:
        test = evaluate(net, data.test)
    return {
        "validation": evaluate(net, data.validation)._asdict(),
        "test": test._asdict(),
        "layers": table(net, probes, masks).to_dict("records"),
    }


def execute(run: "Run", parent: "Record | None") -> tuple[dict, dict, dict[str, Tensor], dict[str, Tensor]]:
    """Compute one run: (metrics, provenance, state_dict, masks). `parent`: the record to start from."""
    start, metrics, threads = time.perf_counter(), {}, torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("REPLICATION_THREADS", 1)))
    try:
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)  # for dropout; everything else takes the generator
            state, masks = _train_and_measure(run, parent, metrics)
        return metrics, describe(time.perf_counter() - start, [phase.precision for phase in run.phases]), state, masks
    finally:
        torch.set_num_threads(threads)


def _train_and_measure(
    run: "Run", parent: "Record | None", metrics: dict
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(run.seed + 1_000_003 * len(run.ancestors))
    loaded = datasets.load(run.dataset, run.images, _images_dtype(run))
    data = datasets.Dataset(*(datasets.Split(*(t.to(device()) for t in split)) for split in loaded))
    net, masks = networks.build(run.network, generator), {}
    if parent:
        metrics["parent"] = {split: parent.metrics[split] for split in ("validation", "test")}  # changes are paired
        state, masks = parent.tensors()
        net.load_state_dict(state)
    if run.rank:
        net = networks.factorised(net, run.rank)
    net = net.to(device(), memory_format=torch.channels_last)  # faster for the convolutions, the same values
    masks = {name: mask.to(device()) for name, mask in masks.items()}
    if run.pruning:
        masks = _prune(net, run, data, masks or None, generator, metrics)
    follow = _dead_units(net, masks, metrics) if run.pruning and dead.is_chain(net) else dict
    with progress.bar(str(run), sum(phase.epochs for phase in run.phases)) as bar:
        metrics["history"] = [
            row | {"phase": number}
            for number, phase in enumerate(run.phases)
            for row in _train_phase(net, phase, data, generator, masks, bar, follow)
        ]
    metrics |= measure(net, data, masks)
    if run.pruning and dead.is_removable(net):
        metrics["without_dead"] = dead.removal(net, masks, data.validation)
    if not math.isfinite(metrics["validation"]["loss"]):
        raise ReplicationError(f"training diverged: lower the learning rate {run.training.learning_rate}")
    return {k: v.cpu() for k, v in net.state_dict().items()}, {k: v.cpu() for k, v in masks.items()}


def _images_dtype(run: "Run") -> torch.dtype:
    """The type of the training images in memory: bfloat16 where autocast would round them anyway."""
    halved = all(phase.precision == "bfloat16" for phase in run.phases)
    return compute_dtype("bfloat16" if halved else "float32", device())


def _dead_units(net, masks: dict[str, Tensor], metrics: dict) -> Callable[[], dict]:
    """Notes the units that pruning killed; returns a function that says what retraining has left of their weights."""
    units = dead.dead_units(masks)
    metrics["dead_units"] = {n: {kind: int(each.sum()) for kind, each in u._asdict().items()} for n, u in units.items()}
    metrics["dead_before"] = dead.left_over(net, masks, units)
    return lambda: {"dead": dead.left_over(net, masks, units)}


def _train_phase(
    net, phase: Training, data: datasets.Dataset, generator, masks, bar, follow: Callable[[], dict]
) -> list[dict]:
    """Train one phase; returns its history. What the frozen layers make of the validation images is computed once.

    follow: gives what each row notes besides.
    """
    front, rest = fixed_front(net, phase.freeze)
    with autocast(phase.precision, device()):
        watched = outputs(front, data.validation)

    def after_epoch(row: dict) -> None:
        with autocast(phase.precision, device()):
            row["validation_errors"] = evaluate(rest, watched).errors
        row |= follow()
        bar(row["loss"], 100 * row["validation_errors"] / len(watched.y))

    return train(net, data.train, phase, generator, masks, after_epoch)


def _prune(
    net, run: "Run", data: datasets.Dataset, masks: dict[str, Tensor] | None, generator, metrics: dict
) -> dict[str, Tensor]:
    """Choose the qualities and prune `net` in place; notes what was chosen in `metrics`, returns the new masks."""
    tensors, rule = networks.weights(net), run.pruning
    with autocast(run.training.precision, device()):
        qualities, metrics["sensitivity"] = choose_qualities(net, data.validation, rule, masks)
    metrics["qualities"] = qualities
    metrics["thresholds"] = {name: threshold(tensors[name], q, masks and masks[name]) for name, q in qualities.items()}
    masks = by_method(rule, prune(tensors, qualities, masks), masks, tensors, generator)
    if rule.reinitialise:
        net.load_state_dict(networks.build(run.network, generator).state_dict())
    for name, mask in masks.items():
        tensors[name].mul_(mask)
    metrics["density"] = density(masks)
    with autocast(run.training.precision, device()):
        metrics["before_retraining"] = evaluate(net, data.test)._asdict()
    return masks
