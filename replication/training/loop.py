"""One training loop: dense, L1, L2 and masked training, in memory or from files, on one process or many."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ..data.datasets import Split
from ..errors import ReplicationError
from ..networks.connections import check_values, weight_parameters
from .checkpoints import Progress
from .dropout import KeyedDropout
from .fitting import answers, check_answers, check_images, check_last_batch
from .optimiser import Optimiser, gradients
from .phases import Training, augmented, fixed_front, frozen, precomputed, rate_at, shrunk_dropout
from .precision import autocast, products
from .processes import ALONE, Group


class MicroBatch(NamedTuple):
    """Images x, labels y: what a process computes at a time of a batch of `batch_size` images, all processes together.

    counts: images that it adds to the mean loss of the batch; last: a step follows; keys: for KeyedDropout, by image.
    """

    x: Tensor
    y: Tensor
    counts: int
    batch_size: int
    last: bool = True
    keys: Tensor | None = None


class Source(Protocol):
    """Training images that do not lie in memory."""

    def __len__(self) -> int:
        """The images of an epoch, all processes together."""

    def batches(self, progress: Progress, settings: Training) -> Iterator[MicroBatch]:
        """This process's part of what is left of the epoch, at least one micro-batch of every batch."""


class InMemory:
    """A split as a Source for one process: every batch is one micro-batch, in a fresh order, by `generator`.

    front: what of the network does not change. Is there any, its outputs are computed once, and serve every epoch.
    """

    def __init__(self, split: Split, front: nn.Module, generator: torch.Generator):
        self.split, self.front, self.generator = split, front, generator
        self.outputs: Split | None = None

    def __len__(self) -> int:
        return len(self.split.y)

    def batches(self, progress: Progress, settings: Training) -> Iterator[MicroBatch]:
        """The epoch's batches; images are augmented afresh."""
        if not self.outputs or not len(list(self.front.children())):
            x = augmented(self.split.x, self.generator) if settings.augment else self.split.x
            with autocast(settings.precision, x.device):
                self.outputs = precomputed(self.front, self.split._replace(x=x))
        x, y = self.outputs
        for chosen in torch.randperm(len(y), generator=self.generator).split(settings.batch_size):
            chosen, size = chosen.to(y.device), len(chosen)
            # three times as fast as x[chosen]
            yield MicroBatch(x.index_select(0, chosen), y.index_select(0, chosen), size, size)


def train(
    net: nn.Module,
    split: Split | Source,
    settings: Training,
    generator: torch.Generator,
    masks: Mapping[str, Tensor] | None = None,
    after_epoch: Callable[[dict], None] = lambda row: None,
    *,
    group: Group = ALONE,
    progress: Progress | None = None,
    momentum: Mapping[str, Tensor] | None = None,
    after_step: Callable[["Trainer"], None] = lambda trainer: None,
) -> list[dict]:
    """Train `net` in place on `split` and return one row per epoch: epoch, loss (mean per image), seconds.

    generator: gives the order of the images; masks: bool, by layer name, shaped as the weights. Weights whose mask is
    False are set to zero before the first step and after every step, so momentum and weight decay cannot revive them.
    after_epoch: called with each row.
    For a training that goes on from a checkpoint: group: the processes that train; progress: where it stands (epoch,
    images and loss count on); momentum: by parameter; after_step: called after every step and every epoch.
    Raises ReplicationError where the loss is no longer finite, a mask does not fit, or network and images do not.
    """
    check_values(net)
    masks, history, progress = masks or {}, [], progress or Progress()
    keep = _factors(net, masks)
    front, rest = fixed_front(net, settings.freeze) if isinstance(split, Split) else (nn.Sequential(), net)
    if isinstance(split, Split):
        check_images(net, split.x)
        check_last_batch(front, rest, split.x[:1], len(split.y), settings)
    _hold(keep)
    with (
        frozen(net, settings.freeze),
        shrunk_dropout(net, masks if settings.shrink_dropout else {}),
        products(settings.precision, next(net.parameters()).device),
    ):
        source = InMemory(split, front, generator) if isinstance(split, Split) else split
        keep = {weight: mask for weight, mask in keep.items() if weight.requires_grad}
        labels = split.y if isinstance(split, Split) else None
        trainer = Trainer(rest, settings, keep, progress, len(source), group, momentum or {}, labels)
        while progress.epoch < settings.epochs:
            start = time.perf_counter()
            net.train()
            for part in source.batches(progress, settings):
                trainer.step(part)
                if part.last:
                    after_step(trainer)
            loss = trainer.collect() / len(source)
            history.append({"epoch": progress.epoch + 1, "loss": loss, "seconds": time.perf_counter() - start})
            after_epoch(history[-1])
            progress.epoch, progress.images, progress.loss = progress.epoch + 1, 0, 0.0
            after_step(trainer)
    with torch.no_grad():
        for weight in keep:
            weight.add_(0.0)  # a negative weight times its mask is -0: equal to 0, but of other bits
    return history


class Trainer:
    """One phase: `net` as every process trains it, its optimiser, and the losses since they were last collected.

    keep: masks, as factors, by weight; progress: kept up to date; images: of an epoch; group, momentum: as for `train`;
    labels: of all images, where they are known.
    """

    def __init__(self, net, settings: Training, keep, progress: Progress, images: int, group, momentum, labels=None):
        self.settings, self.keep, self.progress, self.group, self.labels = settings, keep, progress, group, labels
        self.optimiser = Optimiser(net, settings, momentum)
        self.steps = math.ceil(images / settings.batch_size)  # of an epoch
        self.dropouts = [module for module in net.modules() if isinstance(module, KeyedDropout)]
        ids = [group.device.index] if group.device.type == "cuda" else None
        self.net = net if group.world == 1 else DistributedDataParallel(net, ids, gradient_as_bucket_view=True)
        self.losses: list[Tensor] = []
        self.counts: list[int] = []

    def step(self, part: MicroBatch) -> None:
        """Take up the gradients of a micro-batch; with the last one go one step down the mean loss of the batch."""
        for dropout in self.dropouts:
            dropout.keys = part.keys
        # gradients are summed over the processes once a step, with the last micro-batch
        with nullcontext() if part.last or self.group.world == 1 else self.net.no_sync():
            with autocast(self.settings.precision, part.x.device):
                logits = self.net(part.x)
            if not self.losses:  # once an epoch: the answers stay what they are
                check_answers(logits, len(part.y), part.y if self.labels is None else self.labels)
            loss = F.cross_entropy(logits.float(), part.y)
            whole = part.counts == part.batch_size and self.group.world == 1
            if not whole:
                # DistributedDataParallel takes the mean over the processes: times their number it is the sum
                (loss * (self.group.world * part.counts / part.batch_size)).backward()
        self.losses.append(loss.detach())
        self.counts.append(part.counts)
        if part.last:
            step = self.progress.images // self.settings.batch_size
            done = (self.progress.epoch * self.steps + step) / (self.settings.epochs * self.steps)
            found = gradients(loss, self.optimiser.parameters) if whole else self.optimiser.accumulated()
            self.optimiser.step(found, rate_at(self.settings, done))
            _hold(self.keep)
            self.progress.images += part.batch_size

    def collect(self) -> float:
        """Add the losses of all processes to those of the epoch in `progress`, which are returned, summed by image.

        Raises ReplicationError where they are not finite.
        """
        counts = torch.tensor(self.counts, dtype=torch.float64)  # the last batch may be smaller
        total = (torch.stack(self.losses).double().cpu() @ counts).item() if self.losses else 0.0
        self.progress.loss += self.group.sums(total)[0]
        self.losses, self.counts = [], []
        if not math.isfinite(self.progress.loss):
            way_out = f"lower the learning rate {self.settings.learning_rate}"
            raise ReplicationError(f"training diverged in epoch {self.progress.epoch + 1}: {way_out}")
        return self.progress.loss


def _factors(net: nn.Module, masks: Mapping[str, Tensor]) -> dict[Tensor, Tensor]:
    """The masks as factors, by the weights; raises ReplicationError for a mask that fits no layer."""
    found, known = {}, weight_parameters(net) if masks else {}
    for name, mask in masks.items():
        weight = known.get(name)
        if weight is None or weight.shape != mask.shape:
            raise ReplicationError(f"the mask of {name!r} {tuple(mask.shape)} fits no layer: {', '.join(known)}")
        found[weight] = torch.zeros_like(weight).copy_(mask)  # laid out as the weight, which is faster
    return found


@torch.no_grad()
def _hold(keep: Mapping[Tensor, Tensor]) -> None:
    """Multiply each weight by its mask, in place."""
    if keep:
        torch._foreach_mul_(list(keep), list(keep.values()))


class Score(NamedTuple):
    """(errors, images, loss): wrong answers of how many, and the mean cross-entropy."""

    errors: int
    images: int
    loss: float


def evaluate(net: nn.Module, split: Split, batch_size: int = 1_000, group: Group = ALONE) -> Score:
    """Count the errors of `net` on `split` in evaluation mode: Score(errors, images, mean loss per image).

    split.y: the labels, or probabilities (N, classes) that stand for them (see `search.own_answers`);
    group: processes that evaluate, each with its own images.
    """
    return Score(**counted(net, zip(split.x.split(batch_size), split.y.split(batch_size)), group))


@torch.no_grad()
def counted(net: nn.Module, batches: Iterable[tuple[Tensor, ...]], group: Group, top5: bool = False) -> dict:
    """`evaluate` on (x, y, ...), batch by batch: errors, images, loss; top5: and top5_errors, no five answers right."""
    check_values(net)
    net.eval()
    errors, wrong, images, loss = 0, 0, 0, 0.0
    for x, y, *_ in batches:
        logits = answers(net, x, y)
        labels = y if y.ndim == 1 else y.argmax(1)
        errors += int((logits.argmax(1) != labels).sum())
        wrong += int((logits.topk(5).indices != labels[:, None]).all(1).sum()) if top5 else 0
        images, loss = images + len(y), loss + F.cross_entropy(logits, y, reduction="sum").item()
    *counts, loss = group.sums(errors, wrong, images, loss)
    errors, wrong, images = map(int, counts)
    return {"errors": errors, "images": images, "loss": loss / images} | ({"top5_errors": wrong} if top5 else {})
