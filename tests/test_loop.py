"""The loop's options: in micro-batches, in parts, on several processes, a training ends in the same weights."""

import copy
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from test_imagenet_resume import free_port
from torch import Tensor, nn

from replication import networks, pruning
from replication.data import Split
from replication.errors import ReplicationError
from replication.imagenet.driver import FolderSplit
from replication.imagenet.photographs import Photographs
from replication.runs.spec import ComputeOptions
from replication.training import Training
from replication.training.checkpoints import Progress
from replication.training.loop import Trainer, train
from replication.training.processes import ALONE, ProcessGroup, keyed, mixed, processes
from replication.training.sources import MicroBatch

SETTINGS = Training(3, 0.1, "cosine", batch_size=33, weight_decay=1e-2, l1=1e-3)  # 100 images: steps of 33, 33, 33, 1


@dataclass
class Pieces:
    """A split as a process of `group` goes through it, `size` images at a time, with dropout by image."""

    split: Split
    size: int
    group: ProcessGroup = ALONE

    def __len__(self) -> int:
        return len(self.split.y)

    def batches(self, progress: Progress, settings: Training) -> Iterator[MicroBatch]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(progress.epoch))
        folder = FolderSplit(Photographs(Path(), (), self.split.y), None, self.group, ComputeOptions(self.size))
        for batch in order.split(settings.batch_size)[-(-progress.images // settings.batch_size) :]:
            for places, counts, size, last in folder._parts(batch):
                keys = mixed(places + 1_000 * progress.epoch)
                yield MicroBatch(self.split.x[places], self.split.y[places], counts, size, last, keys)


def pruned(dropout: bool = True) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """A network with dropout by image and masks that leave about half of it."""
    parts = nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3 if dropout else 0.0), nn.Linear(8, 2)
    net = networks.initialise(nn.Sequential(*parts), torch.Generator().manual_seed(0))
    keyed(net)
    return net, pruning.prune(networks.weights(net), {"0": 0.8, "3": 0.8})


def trained(source: Pieces, group: ProcessGroup = ALONE, **options) -> tuple[nn.Sequential, list[float]]:
    """The network and the losses of a training; with masks, an L1 penalty and dropout."""
    net, masks = pruned()
    rows = train(net, source, SETTINGS, torch.Generator(), masks, group=group, **options)
    assert all(not weight[~masks[name]].any() for name, weight in networks.weights(net).items())
    return net, [row["loss"] for row in rows]


def assert_close(ours: nn.Module, theirs: nn.Module) -> None:
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 32])
def test_micro_batches_add_up_to_the_batch(blobs: Split, size: int):
    (whole, losses), (parts, sums) = trained(Pieces(blobs, 100)), trained(Pieces(blobs, size))
    assert_close(parts, whole)
    assert sums == pytest.approx(losses, rel=1e-5)
    assert not torch.equal(whole[0].weight, pruned()[0][0].weight)


class Stopped(Exception):
    """What a signal would do."""


@pytest.mark.parametrize("steps", [1, 3, 6, 11])
def test_training_goes_on_from_any_step_as_if_it_had_not_stopped(blobs: Split, steps: int):
    whole, losses = trained(Pieces(blobs, 100))
    kept: list = []

    def after_step(trainer: Trainer) -> None:
        calls[0] -= 1
        if calls[0] == 0:
            trainer.collect()
            kept.extend(copy.deepcopy([net.state_dict(), trainer.progress, trainer.optimiser.momentum]))
            raise Stopped

    net, masks = pruned()
    calls, first = [steps], []
    with suppress(Stopped):
        train(net, Pieces(blobs, 100), SETTINGS, torch.Generator(), masks, first.append, after_step=after_step)
    weights, progress, momentum = kept
    resumed, masks = pruned()
    resumed.load_state_dict(weights)
    options = {"progress": progress, "momentum": momentum}
    rest = train(resumed, Pieces(blobs, 100), SETTINGS, torch.Generator(), masks, **options)
    assert all(map(torch.equal, resumed.parameters(), whole.parameters()))
    assert [row["loss"] for row in first + rest] == pytest.approx(losses, rel=1e-6)
    assert [row["epoch"] for row in first + rest] == [1, 2, 3]


def test_epochs_in_memory_in_parts_are_those_at_once(blobs: Split):
    nets, generator = [pruned(dropout=False)[0] for _ in range(2)], torch.Generator().manual_seed(1)
    rows = train(nets[0], blobs, SETTINGS, torch.Generator().manual_seed(1))
    progress, momentum, parts = Progress(), {}, []

    def after_step(trainer: Trainer) -> None:
        momentum.update(trainer.optimiser.momentum)
        if trainer.progress.images == 0:
            raise Stopped

    for _ in range(3):
        with suppress(Stopped):
            options = {"progress": progress, "momentum": momentum, "after_step": after_step}
            train(nets[1], blobs, SETTINGS, generator, {}, parts.append, **options)
    assert progress.epoch == 3
    assert all(map(torch.equal, nets[0].parameters(), nets[1].parameters()))
    assert [row["loss"] for row in parts] == [row["loss"] for row in rows]


def two_processes(port: int, size: int, split: Split, path: Path) -> None:
    """Fork, train on both processes and store what the first one ends with."""
    torch.set_num_threads(1)
    other = os.fork()
    names = {"RANK": not other, "LOCAL_RANK": not other, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(int(value)) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}
    os.environ["REPLICATION_DEVICE"] = "cpu"
    with processes() as group:
        net, losses = trained(Pieces(split, size, group), group)
        if group.first:
            torch.save((net.state_dict(), losses), path)
    if not other:
        os._exit(0)
    assert os.waitpid(other, 0)[1] == 0


def test_two_processes_train_the_network_of_one(blobs: Split, tmp_path: Path):
    """The last batch of each epoch holds one image: one of the processes has none."""
    path = tmp_path / "net.pt"
    started = get_context("spawn").Process(target=two_processes, args=(free_port(), 5, blobs, path))
    started.start()  # forks best without our threads
    started.join()
    assert started.exitcode == 0
    whole, losses = trained(Pieces(blobs, 100))
    state, sums = torch.load(path)
    ours = pruned()[0]
    ours.load_state_dict(state)
    assert_close(ours, whole)
    assert sums == pytest.approx(losses, rel=1e-5)


def test_losses_that_are_no_longer_finite_are_noticed_when_they_are_collected(blobs: Split):
    def after_step(trainer: Trainer) -> None:
        trainer.losses[-1] += float("nan")
        trainer.collect()

    with pytest.raises(ReplicationError, match=r"training diverged in epoch 1: lower the learning rate 0\.1"):
        trained(Pieces(blobs, 100), after_step=after_step)


@pytest.mark.parametrize(("world", "micro"), [(1, 64), (1, 5), (2, 4), (3, 1), (5, 8)])
@pytest.mark.parametrize("images", [1, 4, 16])
def test_every_image_of_a_batch_counts_once(world: int, micro: int, images: int):
    batch, seen, counted = torch.arange(100, 100 + images), [], 0
    for rank in range(world):
        split = FolderSplit(Photographs(Path(), (), batch), None, ProcessGroup(rank, world), ComputeOptions(micro))
        parts = split._parts(batch)
        assert [last for *_, last in parts] == [False] * (len(parts) - 1) + [True]
        assert all(0 < len(places) <= micro and size == images for places, _, size, _ in parts)
        seen += [place for places, counts, *_ in parts for place in places.tolist()[:counts]]
        counted += sum(counts for _, counts, *_ in parts)
    assert sorted(seen) == batch.tolist() and counted == images
