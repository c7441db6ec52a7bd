"""Runs on an image folder, over one process or many, from checkpoint to checkpoint (Tables 1, 4 and 5)."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..data.datasets import Dataset, Split
from ..errors import ReplicationError
from ..networks.connections import shapes, weights
from ..networks.models import initialise
from ..networks.registry import NETWORKS, outline
from ..pruning.masks import Pruning, check_masks
from ..runs import execution
from ..runs.spec import ComputeOptions, Record, Run, RunState, get
from ..training import checkpoints
from ..training.checkpoints import Checkpoint, Progress, Stop
from ..training.phases import Training
from ..training.processes import LOW, ProcessGroup, keyed, mixed, shard
from ..training.sources import MicroBatch
from .folder import Folder
from .photographs import Batch, Photographs, batches, key, split


def dataset(folder: Folder) -> str:
    """The data set's name in a run's spec: other images give other runs."""
    return f"imagenet-{folder.used}"


def compute(
    run: Run,
    folder: Folder,
    group: ProcessGroup,
    options: ComputeOptions,
    stop: Stop,
    given: dict[str, Tensor] | None = None,
) -> Record:
    """The record of `run`: read, or computed by all processes of `group` and stored by the first.

    folder: the images, checked; given: state_dict of a dense run that takes its weights from elsewhere (in the first
    process). It goes on from the run's checkpoint where there is one. Every process returns the record.
    Raises ReplicationError where the store cannot be read or written or the training diverges.
    """
    return execution.compute(
        run, lambda: started(run, folder, group, options, stop, given), lambda: get(run), group, patience=10
    )


def started(
    run: Run,
    folder: Folder,
    group: ProcessGroup,
    options: ComputeOptions,
    stop: Stop,
    given: dict[str, Tensor] | None = None,
) -> RunState:
    """The run as its checkpoint, its parent, the given weights or the seed leaves it, the same in every process."""
    loaded: list[Checkpoint] = []
    net = outline(run.network)

    def load() -> Progress:
        progress, tensors = checkpoints.load(run.key) or _start(run, net, given)
        _check(run, net, tensors)
        loaded.append(tensors)
        return progress

    progress = group.on_first(load)
    tensors = checkpoints.tensors(group.broadcast_tensors(loaded[0].flat() if group.first else None))
    net.load_state_dict(tensors.weights, assign=True)
    keyed(net)
    net = net.to(group.device, memory_format=torch.channels_last)
    group.check_masks(tensors.masks)
    data = Dataset(*(FolderSplit(part, run, group, options) for part in split(folder, run.images)))
    generator = torch.Generator().manual_seed(run.seed + 1_000_003 * len(run.ancestors))
    notes = {"processes": group.world, "photographs": folder.summary()}
    masks, momentum = dict(tensors.masks), dict(tensors.momentum)
    return RunState(run, net, data, generator, group, options, stop, masks, momentum, progress, notes)


def _start(run: Run, net: nn.Sequential, given: dict[str, Tensor] | None) -> tuple[Progress, Checkpoint]:
    """Where a run starts that has no checkpoint. net: its network, without values."""
    if run.parent:
        parent = get(run.parent)
        if parent is None:
            raise ReplicationError(f"the run {run.parent} that {run} starts from is not stored: repeat the command")
        return Progress(metrics={"parent": parent.scores}), Checkpoint(*parent.tensors(), {})
    if given is not None:
        return Progress(), Checkpoint(given, {}, {})
    # ours: He's initialisation, with which VGG-16 trains without batch norm; the paper starts from Caffe's models
    generator = torch.Generator().manual_seed(run.seed)
    net = initialise(net.to_empty(device="cpu"), generator, math.sqrt(6))
    return Progress(), Checkpoint(net.state_dict(), {}, {})


def _check(run: Run, net: nn.Sequential, tensors: Checkpoint) -> None:
    """Raise ReplicationError unless the tensors are those of the run's network."""
    if shapes(net.state_dict()) != shapes(tensors.weights):
        raise ReplicationError(f"the weights that {run} starts from are of another network than {run.network}")
    if tensors.masks:
        check_masks(weights(net), tensors.masks)


@dataclass(frozen=True)
class FolderSplit:
    """A split of an image folder as one process of a run goes through it, micro-batch by micro-batch.

    As an iterable: its share of the images, as evaluation sees them.
    """

    part: Photographs
    run: Run
    group: ProcessGroup
    options: ComputeOptions

    def __len__(self) -> int:
        return len(self.part)

    def first(self, images: int | None) -> "FolderSplit":
        """The first so many images (None: all)."""
        return replace(self, part=self.part.first(images))

    def __iter__(self) -> Iterator[Batch]:
        mine, size = list(shard(len(self), self.group)), self.options.micro_batch_size
        for batch in self.read([mine[i : i + size] for i in range(0, len(mine), size)]):
            yield batch
            self.options.watch(f"{self.run} evaluate")

    def read(self, places: list[list[int]], seed: int | None = None) -> Iterator[Batch]:
        """The images at these places, list by list; seed: of their random crops, None for the central ones."""
        data = replace(self.part, crop=NETWORKS[self.run.network].input_size[-1], seed=seed)
        return batches(data, places, self.options.workers, self.group.device)

    def batches(self, progress: Progress, settings: Training) -> Iterator[MicroBatch]:
        """What is left of an epoch of training, in the order that seed, round, phase and epoch give."""
        about = self.run.seed, len(self.run.ancestors), progress.phase, progress.epoch
        order = torch.Generator().manual_seed(key("order", *about))
        steps = torch.randperm(len(self), generator=order).split(settings.batch_size)
        left = steps[math.ceil(progress.images / settings.batch_size) :]
        parts = [part for batch in left for part in self._parts(batch)]
        crops = key("crop", *about) if settings.augment else None
        arriving = self.read([places.tolist() for places, *_ in parts], crops)
        for (x, y, places), (_, counts, size, last) in zip(arriving, parts):
            yield MicroBatch(x, y, counts, size, last, image_keys(places, *about))

    def _parts(self, batch: Tensor) -> list[tuple[Tensor, int, int, bool]]:
        """This process's micro-batches of a batch (places of images), each with the last fields of a MicroBatch."""
        mine = batch.tensor_split(self.group.world)[self.group.rank]
        if not len(mine):  # fewer images than processes: every process takes part in the sum of the gradients
            return [(batch[:1], 0, len(batch), True)]
        parts = mine.split(self.options.micro_batch_size)
        return [(part, len(part), len(batch), part is parts[-1]) for part in parts]

    def searched(self, net: nn.Sequential, rule: Pruning) -> tuple[nn.Module, Split | None]:
        """The network and this process's share of the images, in memory (None: not needed), for the search.

        Raises ReplicationError where there are fewer images than processes.
        """
        if rule.qualities:
            return net, None
        few = self.first(rule.images or None)
        if len(few) < self.group.world:
            raise ReplicationError(f"{len(few)} held-out images for {self.group.world} processes: start fewer")
        x, y, _ = map(torch.cat, zip(*few))
        return Chain(OrderedDict(net.named_children())), Split(x, y)


class Chain(nn.Sequential):
    """A sequence with a `forward` of its own, which the search takes as a whole (see `connections.sequence`).

    It would keep what each part makes of all images, which for VGG-16 is too much.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> logits (B, classes)."""
        return super().forward(x)


def image_keys(places: Tensor, *about: int | str) -> Tensor:
    """A number of 32 bits for each image. places: in the split, int64 (B,); about: seed, phase, epoch."""
    return mixed((places & LOW) ^ mixed(torch.tensor(key("dropout", *about) & LOW, device=places.device)))
