"""Computes runs: prune, train phase by phase, measure, store. In memory, or (see `imagenet`) from a folder."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from .. import networks, progress
from ..data import datasets
from ..data.datasets import Dataset, Split
from ..errors import ReplicationError
from ..networks.accounting import table
from ..networks.probing import SUMMED, probing
from ..networks.registry import build
from ..pruning import dead_neurons
from ..pruning.masks import density, drawn, prune, threshold
from ..pruning.search import choose_qualities
from ..training import checkpoints
from ..training.checkpoints import Progress
from ..training.evaluation import counted, evaluate
from ..training.loop import train
from ..training.machine import autocast, compute_dtype, describe, device, threads
from ..training.phases import Training, fixed_front
from ..training.processes import ALONE, ProcessGroup
from ..training.sources import precomputed
from . import store
from .spec import Record, Run, RunState, get


def get_or_run(run: Run, fresh: bool = False, weights: bool = False) -> Record:
    """The record of `run`: read, or computed and stored. A chain resumes at its first missing run.

    fresh: compute this run even if it is stored; weights: compute it where the repository holds nothing but the record.
    A second process that asks for the same run waits for the first.
    Raises ReplicationError where a stored run is damaged, the disk is full or the training diverges.
    """
    if not fresh and (found := _stored(run, weights)):
        return found
    parent = get_or_run(run.parent, weights=True) if run.parent else None
    with alone():
        return compute(run, lambda: _started(run, parent), lambda: None if fresh else _stored(run, weights))


def _stored(run: Run, weights: bool = False) -> Record | None:
    """The stored record; weights: only where it comes with them."""
    return get(run) if not weights or store.has_weights(run.key) else None


@contextmanager
def alone() -> Iterator[None]:
    """Within the block torch computes as small runs need it: on one thread, with random numbers of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(before)


def compute(
    run: Run,
    start: Callable[[], RunState],
    stored: Callable[[], Record | None],
    group: ProcessGroup = ALONE,
    patience: float = -1,
) -> Record:
    """The record of `run`: `stored`, or computed by all processes of `group` from `start` on and stored by the first.

    patience: see `store.lock`.
    Raises ReplicationError where the store cannot be read or written or the training diverges.
    """
    with ExitStack() as held:
        group.on_first(lambda: held.enter_context(store.lock(run.key, patience)))
        found = group.on_first(lambda: (stored() or Record({})).values)
        if not found:
            state = start()
            _stages(state)
            group.on_first(lambda: _keep(state))
            found = group.on_first(lambda: store.load_record(run.key))
        return Record(found)


def _started(run: Run, parent: Record | None) -> RunState:
    """A run on images in memory at its start; parent: the record to start from."""
    clock = time.monotonic()
    torch.manual_seed(run.seed)  # for dropout; everything else takes the generator
    generator = torch.Generator().manual_seed(run.seed + 1_000_003 * len(run.ancestors))
    loaded = datasets.load(run.dataset, run.images, _images_dtype(run))
    data = Dataset(*(split.to(device()) for split in loaded))
    net, masks, metrics = build(run.network, generator), {}, {}
    if parent:
        metrics["parent"] = parent.scores
        state, masks = parent.tensors()
        net.load_state_dict(state)
    if run.rank:
        net = networks.factorised(net, run.rank)
    net = net.to(device(), memory_format=torch.channels_last)  # faster for the convolutions, the same values
    masks, group = {name: mask.to(device()) for name, mask in masks.items()}, ProcessGroup(device=device())
    return RunState(run, net, data, generator, group, masks=masks, progress=Progress(metrics=metrics), clock=clock)


def _images_dtype(run: Run) -> torch.dtype:
    """The type of the training images in memory: bfloat16 where autocast would round them anyway."""
    halved = all(phase.precision == "bfloat16" for phase in run.phases)
    return compute_dtype("bfloat16" if halved else "float32", device())


def _stages(state: RunState) -> None:
    """Prune, train phase by phase, measure; a checkpoint after each of them."""
    run, metrics = state.run, state.progress.metrics
    state.options.watch(f"{run} start")
    if run.pruning and not state.progress.pruned:
        state.options.watch(f"{run} prune")
        _prune(state)
        with state.stop.later():
            state.checkpoint(now=True)
    metrics.setdefault("history", [])
    epochs = sum(phase.epochs for phase in run.phases)
    with progress.bar(str(run), epochs, state.in_memory) as bar:
        for phase in run.phases[state.progress.phase :]:
            with state.stop.later():
                _train_phase(state, phase, bar)
                state.progress.phase, state.progress.epoch = state.progress.phase + 1, 0
                state.checkpoint(now=True)
    state.options.watch(f"{run} measure")
    metrics |= measure(state.net, state.data, state.masks, state.group)
    state.group.check_masks(state.masks)
    if run.pruning and dead_neurons.is_removable(state.net):
        metrics["without_dead"] = dead_neurons.removal(state.net, state.masks, state.data.validation)
    if not math.isfinite(metrics["validation"]["loss"]):
        raise ReplicationError(f"training diverged: lower the learning rate {run.training.learning_rate}")


def _prune(state: RunState) -> None:
    """Choose the qualities and prune the network in place, by the run's rule (sections 3 and 4).

    Every process comes to the same masks, which is checked. Notes what was chosen in the metrics.
    """
    run, rule, metrics, old = state.run, state.run.pruning, state.progress.metrics, state.masks or None
    tensors, validation = networks.weights(state.net), state.data.validation
    searched, score = (state.net, validation), partial(evaluate, group=state.group)
    if not state.in_memory:
        searched = validation.searched(state.net, rule)
        score = partial(score, batch_size=state.options.micro_batch_size)
    with autocast(run.training.precision, state.group.device):
        qualities, metrics["sensitivity"] = state.group.broadcast(choose_qualities(*searched, rule, old, score))
    metrics["qualities"] = qualities
    metrics["thresholds"] = {name: threshold(tensors[name], q, old and old[name]) for name, q in qualities.items()}
    masks = prune(tensors, qualities, old)
    if rule.method in ("uniform", "probabilistic"):  # as many, but chance decides which
        masks = drawn(masks, old, state.generator, tensors if rule.method == "probabilistic" else None)
    if rule.reinitialise:
        state.net.load_state_dict(build(run.network, state.generator).state_dict())
    state.masks = state.group.broadcast_tensors({name: mask.contiguous() for name, mask in masks.items()})
    metrics["masks"] = state.group.check_masks(state.masks)
    for name, mask in state.masks.items():
        tensors[name].mul_(mask)
    metrics["density"] = density(state.masks)
    metrics["before_retraining"] = _score(state.net, state.data.test, state.group, run.training.precision)
    if dead_neurons.is_chain(state.net):
        units = dead_neurons.dead_units(state.masks)
        counts = {name: {kind: int(e.sum()) for kind, e in u._asdict().items()} for name, u in units.items()}
        metrics["dead_units"], metrics["dead_before"] = counts, dead_neurons.left_over(state.net, state.masks, units)
    state.progress.pruned = True


def _train_phase(state: RunState, phase: Training, bar: Callable[[float, float], None]) -> None:
    """Train what is left of one phase; a row of the history for each epoch.

    What the frozen layers make of validation images in memory is computed once.
    """
    net, watched, follow = state.net, state.data.validation, None
    front, rest = fixed_front(net, phase.freeze) if state.in_memory else (nn.Sequential(), net)
    with autocast(phase.precision, state.group.device):
        watched = precomputed(front, watched)
    if state.run.pruning and dead_neurons.is_chain(net):
        follow = dead_neurons.dead_units(state.masks)

    def after_epoch(row: dict) -> None:
        score = _score(rest, watched, state.group, phase.precision)
        row |= {f"validation_{name}": score[name] for name in ("errors", "top5_errors") if name in score}
        row |= {"dead": dead_neurons.left_over(net, state.masks, follow)} if follow else {}
        bar(row["loss"], 100 * score["errors"] / score["images"])
        state.progress.metrics["history"].append(row | {"phase": state.progress.phase})

    own = {"group": state.group, "progress": state.progress, "momentum": state.momentum, "after_step": state.after_step}
    state.momentum = {}
    train(net, state.data.train, phase, state.generator, state.masks, after_epoch, **own)


def _score(net: nn.Module, split, group: ProcessGroup, precision: str = "float32") -> dict:
    """Errors, images and loss (mean per image) on a split; on a folder, every image once over all processes, the top-5
    errors too.

    Raises ReplicationError where the processes together did not see each image once.
    """
    with autocast(precision, group.device):
        if isinstance(split, Split):
            return evaluate(net, split)._asdict()
        score = counted(net, split, group, top5=True)
    if score["images"] != len(split):
        raise ReplicationError(f"{score['images']} of {len(split)} images were evaluated: repeat the command")
    return score


def measure(net: nn.Module, data: Dataset, masks: dict[str, Tensor], group: ProcessGroup = ALONE) -> dict:
    """What a record says of a network: errors on the validation and test images, and the accounting by layer."""
    with probing(net) as probes:
        test = _score(net, data.test, group)
    for _, probe in sorted(probes.items()):  # in one order in all processes
        for name, value in zip(SUMMED, group.all_reduce(*(getattr(probe, name) for name in SUMMED))):
            setattr(probe, name, int(value))
    rows = table(net, probes, masks).to_dict("records")
    return {"validation": _score(net, data.validation, group), "test": test, "layers": rows}


def _keep(state: RunState) -> None:
    """Store the run and remove its checkpoint; in the first process alone."""
    run = state.run
    record = {"key": run.key, "run": run.spec(), "stage": run.stage, "metrics": state.progress.metrics}
    provenance = describe(state.seconds(), [phase.precision for phase in run.phases]) | state.notes
    tensors, masks = ({name: t.cpu() for name, t in part.items()} for part in (state.net.state_dict(), state.masks))
    store.save_run(run.key, record | {"provenance": provenance}, tensors, masks)
    checkpoints.discard(run.key)


def ship(run: Run) -> Record:
    """Put a run among those that come with the repository: weights rounded to float16, all errors measured again.

    The run is computed where it is not stored yet. Its provenance stays that of the training.
    """
    source = get_or_run(run)
    state, masks = source.tensors()
    halves = {name: tensor.half() for name, tensor in state.items()}
    net = build(run.network)
    net.load_state_dict({name: tensor.float() for name, tensor in halves.items()})
    metrics = source.metrics | measure(net, datasets.load(run.dataset, run.images), masks)
    record = {k: source.values[k] for k in ("key", "run", "stage", "provenance")}
    record |= {"metrics": metrics, "weights": "float16"}
    with store.lock(run.key):
        store.save_run(run.key, record, halves, masks, "shipped")
    return Record(record)
