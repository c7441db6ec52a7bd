"""Iterative pruning of any network (section 3.4): trained, then pruned and retrained in rounds, by one call."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..data.datasets import Split
from ..errors import ReplicationError
from ..networks.connections import check_values, weights
from ..specs import check
from ..training.checkpoints import Progress
from ..training.evaluation import Score, answers, check_last_batch, evaluate
from ..training.loop import train as fit
from ..training.phases import Training
from ..training.sources import MicroBatch, Source
from .masks import Pruning, apply_masks, density, full_masks, prune, rate
from .search import choose_qualities

Images = DataLoader | Split | tuple[Tensor, Tensor]
RETRAINING = Training(epochs=3, learning_rate=0.005)
_NOTHING_LEFT = (
    "round {number} pruned every weight that the answers hang on: the validation loss does not rise by more than "
    "{damage} without them. Train the network first (training=...), or lower damage"
)


class Pruned(NamedTuple):
    """A pruned network, its masks (bool, by layer name), and the table of its rounds (see `prune_network`)."""

    net: nn.Module
    masks: dict[str, Tensor]
    rounds: pd.DataFrame


def prune_network(
    net: nn.Module,
    train: Images,
    validation: Images,
    rounds: int = 3,
    damage: float = 0.03,
    training: Training | None = None,
    retraining: Training | None = None,
    generator: torch.Generator | None = None,
) -> Pruned:
    """Train `net`, then prune and retrain it in rounds, in place; it is in evaluation mode afterwards.

    net: any module that gives logits (N, classes); train, validation: images and labels, each a DataLoader, a Split or
    a pair of tensors. A DataLoader trains by its own batches and transforms; validation images are kept in memory, and
    evaluated in batches as its DataLoader has them.
    rounds: of pruning; damage: what one pruning may add to the validation loss before retraining (nats);
    training: how the network is trained first (None: it is trained already); retraining: in every round (None: as
    `training` at a tenth of its learning rate, else RETRAINING); generator: of the images' order (None: seed 0).
    The table has a line for each round, and one before: round, density (0 to 1), rate, errors_before and errors_after
    (retraining, of the validation images), images.
    Warns, and ends with that round, where the network answers the same whatever the image.
    Raises ReplicationError where network and images do not fit, nothing can be pruned, or the training diverges; an
    error in a round leaves the network as it was before that round, one in its first training as it was given.
    """
    check("rounds", rounds, 1, whole=True)
    check_values(net)
    if not weights(net):
        raise ReplicationError("the network has no weights to prune: give one with linear or convolutional layers")
    # paper: section 4: the LeNets are retrained at 1/10 of the original learning rate
    retraining = retraining or (training and replace(training, learning_rate=training.learning_rate / 10)) or RETRAINING
    rule, generator = Pruning(damage=damage), generator or torch.Generator().manual_seed(0)
    device = next(net.parameters()).device
    source = Loader(train, device) if isinstance(train, DataLoader) else _in_memory(train, device)
    held_out = _in_memory(validation, device)
    score = partial(evaluate, batch_size=getattr(validation, "batch_size", None) or 1_000)
    score(net, held_out)  # what does not fit is said before anything is trained
    retraining, training = (each and _fitted(each, net, source) for each in (retraining, training))
    with _kept(net):
        if training:
            fit(net, source, training, generator)
        masks, dense = full_masks(weights(net)), score(net, held_out)
        if not math.isfinite(dense.loss):
            way_out = "scale them, or train the network at a lower learning rate"
            raise ReplicationError(f"the loss on the validation images is {dense.loss}: {way_out}")
    table = [_row(0, masks, dense, dense)]
    for number in range(1, rounds + 1):
        with _kept(net):
            qualities, _ = choose_qualities(net, held_out, rule, masks, score)
            masks = prune(weights(net), qualities, masks)
            apply_masks(net, masks)
            before = score(net, held_out)
            fit(net, source, retraining, generator, masks)
        table.append(_row(number, masks, before, score(net, held_out)))
        if not density(masks) or _is_constant(net, held_out):
            warnings.warn(_NOTHING_LEFT.format(number=number, damage=damage), stacklevel=2)
            break
    return Pruned(net, masks, pd.DataFrame(table))


@torch.no_grad()
def _is_constant(net: nn.Module, split: Split) -> bool:
    """Whether some images, which are not all the same, get one and the same answer."""
    x = split.x[:16]
    return bool((x != x[:1]).any()) and bool((found := answers(net, x, split.y)).eq(found[:1]).all())


@contextmanager
def _kept(net: nn.Module) -> Iterator[None]:
    """An error within the block leaves `net` with the values that it had before, in evaluation mode."""
    before = deepcopy(net.state_dict())
    try:
        yield
    except BaseException:
        net.load_state_dict(before)
        net.eval()
        raise


def _row(number: int, masks: Mapping[str, Tensor], before: Score, after: Score) -> dict:
    errors = {"errors_before": before.errors, "errors_after": after.errors, "images": after.images}
    return {"round": number, "density": density(masks), "rate": rate(masks)} | errors


class Loader:
    """A DataLoader as a `training.Source`: its own batches, in its own order; every batch is checked as a Split."""

    def __init__(self, loader: DataLoader, device: torch.device):
        self.loader, self.device, self.batch_size = loader, device, loader.batch_size
        try:
            self.images = len(loader.sampler)
        except TypeError:
            raise ReplicationError("the DataLoader does not know how many images it has: give one that does") from None
        if not self.batch_size:
            raise ReplicationError("the DataLoader has no batch_size: give it one, and no batch sampler")
        if loader.drop_last:
            self.images -= self.images % self.batch_size
        if not self.images:
            raise ReplicationError("the DataLoader gives no batch: give it more images, or smaller batches")

    def __len__(self) -> int:
        return self.images

    def splits(self) -> Iterator[Split]:
        """The batches of an epoch; raises ReplicationError where they are other images than its sampler's."""
        left = self.images
        for batch in self.loader:
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                several = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
                given = f"{type(batch).__name__}s{several}"
                raise ReplicationError(f"the DataLoader gives {given}: give pairs (images, labels)")
            yield Split(*batch).to(self.device)
            left -= len(batch[1])
            if left < 0:
                break
        if left:
            problem = f"the DataLoader gives {'more' if left < 0 else 'fewer'} images than the {self.images} of its"
            raise ReplicationError(f"{problem} sampler: let its collate_fn leave out and repeat none")

    def batches(self, progress: Progress, settings: Training) -> Iterator[MicroBatch]:
        """The batches of an epoch, each for one step."""
        for x, y in self.splits():
            yield MicroBatch(x, y, len(y), len(y))


def _in_memory(images: Images, device: torch.device) -> Split:
    """All images as one split on the network's device."""
    if isinstance(images, DataLoader):
        parts = list(zip(*Loader(images, device).splits()))
        if len({(part.shape[1:], part.dtype) for part in parts[0]}) > 1 or len({part.ndim for part in parts[1]}) > 1:
            raise ReplicationError("the validation images or their labels have several shapes: give all of them one")
        return Split(*map(torch.cat, parts))
    if not isinstance(images, (tuple, list)) or len(images) != 2:
        raise ReplicationError(f"the images are of the type {type(images).__name__}: give a DataLoader or two tensors")
    return (images if isinstance(images, Split) else Split(*images)).to(device)


def _fitted(settings: Training, net: nn.Module, source: Split | Source) -> Training:
    """The settings, with the batch size of a DataLoader; the last batch is tried."""
    if isinstance(source, Split):
        check_last_batch(nn.Sequential(), net, source.x[:1], len(source.y), settings)
        return settings
    if settings.augment:
        raise ReplicationError("augment is for images in memory: let the DataLoader's data set transform its images")
    settings = replace(settings, batch_size=source.batch_size)
    if len(source) % settings.batch_size in (0, 1):
        check_last_batch(nn.Sequential(), net, next(source.splits()).x[:1], len(source), settings)
    return settings
