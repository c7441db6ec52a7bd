"""Computes runs on an image folder, over one process or many, from checkpoint to checkpoint (Tables 1, 4 and 5)."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from . import checkpoints, networks, store
from .checkpoints import Position, Tensors
from .distributed import Group
from .errors import ReplicationError
from .imagefolder import Folder
from .keyed_dropout import keyed
from .long_pruning import prune_round
from .long_run import Means, Work, measure
from .long_training import train
from .machine import describe
from .photographs import split
from .pruning import check_masks
from .runs import Record, Run, get
from .stopping import Stop


def dataset(folder: Folder) -> str:
    """The data set's name in a run's spec: other images give other runs."""
    return f"imagenet-{folder.digest}"


def compute(
    run: Run, folder: Folder, group: Group, means: Means, stop: Stop, given: dict[str, Tensor] | None = None
) -> Record:
    """The record of `run`: read, or computed by all processes of `group` and stored by the first.

    folder: the images, checked; given: state_dict of a dense run that takes its weights from elsewhere (in the first
    process). It goes on from the run's checkpoint where there is one. Every process returns the record.
    Raises ReplicationError where the store cannot be read or written or the training diverges.
    """
    with _held(run, group):
        found = group.once(lambda: (get(run) or Record({})).values)
        if not found:
            work = started(run, folder, group, means, stop, given)
            _stages(work)
            group.once(lambda: _keep(work, folder))
            found = group.once(lambda: store.load_record(run.key))
    return Record(found)


@contextmanager
def _held(run: Run, group: Group) -> Iterator[None]:
    """The run locked by the first process against other commands."""
    with ExitStack() as stack:
        group.once(lambda: stack.enter_context(store.lock(run.key, patience=10)))
        yield


def started(run: Run, folder: Folder, group: Group, means: Means, stop: Stop, given: dict | None) -> Work:
    """The run as its checkpoint, its parent, the given weights or the seed leaves it, the same in every process."""
    loaded: list[Tensors] = []

    def load() -> Position:
        position, tensors = checkpoints.load(run.key) or _start(run, given)
        _check(run, tensors)
        loaded.append(tensors)
        return position

    position = group.once(load)
    tensors = checkpoints.tensors(group.spread(loaded[0].flat() if group.first else None))
    with torch.device("meta"):
        net = networks.build(run.network)
    net.load_state_dict(tensors.weights, assign=True)
    keyed(net)
    net = net.to(group.device, memory_format=torch.channels_last)
    group.check_masks(tensors.masks)
    parts = split(folder, run.images)
    return Work(run, net, parts, group, means, stop, dict(tensors.masks), dict(tensors.momentum), position)


def _start(run: Run, given: dict[str, Tensor] | None) -> tuple[Position, Tensors]:
    """Where a run starts that has no checkpoint."""
    if run.parent:
        parent = get(run.parent)
        if parent is None:
            raise ReplicationError(f"the run {run.parent} that {run} starts from is not stored: repeat the command")
        known = {split: parent.metrics[split] for split in ("validation", "test")}  # changes are paired
        return Position(metrics={"parent": known}), Tensors(*parent.tensors(), {})
    if given is not None:
        return Position(), Tensors(given, {}, {})
    # ours: He's initialisation, with which VGG-16 trains without batch norm; the paper starts from Caffe's models
    with torch.device("meta"):
        net = networks.build(run.network)
    generator = torch.Generator().manual_seed(run.seed)
    net = networks.initialise(net.to_empty(device="cpu"), generator, math.sqrt(6))
    return Position(), Tensors(net.state_dict(), {}, {})


def _check(run: Run, tensors: Tensors) -> None:
    """Raise ReplicationError unless the tensors are those of the run's network."""
    with torch.device("meta"):
        net = networks.build(run.network)
    own = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    if own != {name: tuple(t.shape) for name, t in tensors.weights.items()}:
        raise ReplicationError(f"the weights that {run} starts from are of another network than {run.network}")
    if tensors.masks:
        check_masks(networks.weights(net), tensors.masks)


def _stages(work: Work) -> None:
    """Prune, train phase by phase, measure; a checkpoint after each of them."""
    work.means.watch(f"{work.run} start")
    if work.run.pruning and not work.position.pruned:
        work.means.watch(f"{work.run} prune")
        prune_round(work)
        with work.stop.later():
            work.save()
        if work.due()[0]:
            work.leave()
    train(work)
    work.position.metrics.setdefault("history", [])
    work.means.watch(f"{work.run} measure")
    work.position.metrics |= measure(work)
    work.group.check_masks(work.masks)
    if not math.isfinite(work.position.metrics["validation"]["loss"]):
        raise ReplicationError(f"training diverged: lower the learning rate {work.run.training.learning_rate}")


def _keep(work: Work, folder: Folder) -> None:
    """Store the run and remove its checkpoint; in the first process alone."""
    run, position = work.run, work.position
    provenance = describe(work.seconds(), [phase.precision for phase in run.phases]) | {
        "processes": work.group.world,
        "photographs": folder.summary(),
    }
    record = {"key": run.key, "run": run.spec(), "stage": run.stage, "provenance": provenance}
    state, masks = ({name: t.cpu() for name, t in part.items()} for part in (work.net.state_dict(), work.masks))
    store.save_run(run.key, record | {"metrics": position.metrics}, state, masks)
    checkpoints.discard(run.key)
