"""One training loop for dense, L1, L2 and masked training, and one evaluation."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.sgd import sgd

from .datasets import Split
from .errors import ReplicationError
from .networks import layers
from .phases import FROZEN, augmented, fixed_front, holding, outputs, shrunk_dropout
from .precision import PRECISIONS, autocast, products

SCHEDULES: dict[str, Callable[[float], float]] = {  # factor of the learning rate by the share of training done
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
LATER = {"later": True}  # a setting that came later: part of a run's key only where it is not the default


@dataclass(frozen=True)
class Training:
    """How a network is trained: stochastic gradient descent with momentum on the cross-entropy.

    epochs: passes over the training split, 0 for none; learning_rate: the initial one; schedule: a name in SCHEDULES;
    warmup: share of the steps with a linearly rising rate; weight_decay: L2 strength; l1: L1 strength (weights only);
    augment: mirror and shift the images (see `phases.augmented`); precision: a name in `precision.PRECISIONS`;
    freeze: "conv" or "fc", the layers that stay as they are; shrink_dropout: by the rule of section 3.2.
    views: where the frozen layers come first, what they make of so many augmented copies of the images is computed
    once and serves every epoch in turn.
    """

    epochs: int
    learning_rate: float
    schedule: str = "cosine"
    warmup: float = 0.0
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    l1: float = 0.0
    augment: bool = False
    precision: str = "float32"
    freeze: str = field(default="", metadata=LATER)
    views: int = field(default=1, metadata=LATER)
    shrink_dropout: bool = field(default=False, metadata=LATER)

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ReplicationError(f"unknown schedule {self.schedule!r}: choose from {', '.join(SCHEDULES)}")
        for name, known in (("precision", PRECISIONS), ("freeze", FROZEN)):
            if getattr(self, name) not in known:
                choices = ", ".join(map(repr, known))
                raise ReplicationError(f"unknown {name} {getattr(self, name)!r}: choose from {choices}")
        for name, least in (("epochs", 0), ("batch_size", 1), ("views", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ReplicationError(f"{name} is {value!r}: give a whole number of {least} or more")
        for name in ("learning_rate", "weight_decay", "l1", "momentum", "warmup"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ReplicationError(f"{name} is {value!r}: give a number of zero or more")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one setting and give one key


def rate_at(settings: Training, done: float) -> float:
    """The learning rate when the share `done` (0 to 1) of the training is over."""
    rise = min(1.0, done / settings.warmup) if settings.warmup else 1.0
    return settings.learning_rate * rise * SCHEDULES[settings.schedule](done)


def train(
    net: nn.Module,
    split: Split,
    settings: Training,
    generator: torch.Generator,
    masks: Mapping[str, Tensor] | None = None,
    after_epoch: Callable[[dict], None] = lambda row: None,
) -> list[dict]:
    """Train `net` in place on `split` and return one row per epoch: epoch, loss (mean per image), seconds.

    generator: gives the order of the images; masks: bool, by layer name, shaped as the weights. Weights whose mask is
    False are set to zero before the first step and after every step, so momentum and weight decay cannot revive them.
    after_epoch: called with each row.
    Raises ReplicationError where the loss is no longer finite or a mask does not fit.
    """
    masks = masks or {}
    keep = _weights_and_masks(net, masks)
    _hold(*_apart(keep))
    front, rest = fixed_front(net, settings.freeze)
    with (
        holding(net, settings.freeze),
        shrunk_dropout(net, masks if settings.shrink_dropout else {}),
        products(settings.precision, split.y.device),
    ):
        epochs = _copies(front, split, settings, generator)
        keep = [(weight, mask) for weight, mask in keep if weight.requires_grad]
        optimiser = _Optimiser(net, settings)
        history = []
        for epoch in range(settings.epochs):
            start = time.perf_counter()
            net.train()
            loss = _train_epoch(rest, next(epochs), settings, optimiser, generator, keep, epoch)
            if not math.isfinite(loss):
                way_out = f"lower the learning rate {settings.learning_rate}"
                raise ReplicationError(f"training diverged in epoch {epoch + 1}: {way_out}")
            history.append({"epoch": epoch + 1, "loss": loss, "seconds": time.perf_counter() - start})
            after_epoch(history[-1])
    with torch.no_grad():
        for weight, _ in keep:
            weight.add_(0.0)  # a negative weight times its mask is -0: equal to 0, but of other bits
    return history


def _copies(front: nn.Module, split: Split, settings: Training, generator: torch.Generator) -> Iterator[Split]:
    """What each epoch trains on: the images, augmented afresh, or what the frozen front makes of a few copies."""
    cached = len(list(front.children())) > 0

    def copy() -> Split:
        x = augmented(split.x, generator) if settings.augment else split.x
        with autocast(settings.precision, x.device):
            return outputs(front, Split(x, split.y))

    views = [copy() for _ in range(min(settings.views, settings.epochs) if settings.augment else 1)] if cached else []
    for epoch in range(settings.epochs):
        yield views[epoch % len(views)] if cached else copy()


def _train_epoch(net, split, settings, optimiser, generator, keep, epoch: int) -> float:
    """One pass over `split` in a fresh order; returns the mean loss per image."""
    losses, (weights, masks) = [], _apart(keep)
    batches = torch.randperm(len(split.y), generator=generator).split(settings.batch_size)
    for step, batch in enumerate(batches):
        done = (epoch * len(batches) + step) / (settings.epochs * len(batches))
        batch = batch.to(split.y.device)
        x, y = split.x.index_select(0, batch), split.y.index_select(0, batch)  # three times as fast as x[batch]
        with autocast(settings.precision, x.device):
            logits = net(x)
        loss = F.cross_entropy(logits.float(), y)
        optimiser.step(loss, rate_at(settings, done))
        _hold(weights, masks)
        losses.append(loss.detach())
    sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64)  # the last batch may be smaller
    return (torch.stack(losses).double().cpu() @ sizes).item() / len(split.y)


class _Optimiser:
    """torch's fused SGD called as a function, without what `torch.optim.SGD` looks up anew at every step."""

    def __init__(self, net: nn.Module, settings: Training):
        self.settings = settings
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.momenta = [torch.zeros_like(p) for p in self.parameters]
        self.penalised = {layer.weight for layer in layers(net).values()} if settings.l1 else set()

    @torch.no_grad()
    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Go one step down the loss; a parameter that takes no part in it stays as it is."""
        gradients = _gradients(loss, self.parameters)
        parts = [each for each in zip(self.parameters, gradients, self.momenta) if each[1] is not None]
        for parameter, gradient, _ in parts:
            if parameter in self.penalised:  # the subgradient of l1 * |w|, as Caffe's L1 regularisation has it
                gradient.add_(parameter.sign(), alpha=self.settings.l1)
        sgd(
            *map(list, zip(*parts)),
            fused=True,
            weight_decay=self.settings.weight_decay,
            momentum=self.settings.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


def _gradients(loss: Tensor, parameters: list[Tensor]) -> list[Tensor | None]:
    """The gradients by the parameters, laid out as these: the optimiser goes through both in step. None: no part."""
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [
        gradient
        if gradient is None or gradient.stride() == parameter.stride()
        else torch.empty_like(parameter).copy_(gradient)
        for parameter, gradient in zip(parameters, gradients)
    ]


def _weights_and_masks(net: nn.Module, masks: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of weight and mask, the mask as a factor; raises ReplicationError for a mask that fits no layer."""
    pairs = []
    for name, mask in masks.items():
        layer = layers(net).get(name)
        if layer is None or layer.weight.shape != mask.shape:
            raise ReplicationError(f"the mask of {name!r} {tuple(mask.shape)} fits no layer: {', '.join(layers(net))}")
        pairs.append((layer.weight, mask.to(layer.weight)))
    return pairs


def _apart(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """The weights, and their masks."""
    return [weight for weight, _ in pairs], [mask for _, mask in pairs]


@torch.no_grad()
def _hold(weights: list[Tensor], masks: list[Tensor]) -> None:
    """Multiply each weight by its mask, in place."""
    if weights:
        torch._foreach_mul_(weights, masks)


class Score(NamedTuple):
    """(errors, images, loss): wrong answers of how many, and the mean cross-entropy."""

    errors: int
    images: int
    loss: float


@torch.no_grad()
def evaluate(net: nn.Module, split: Split, batch_size: int = 1_000) -> Score:
    """Count the errors of `net` on `split` in evaluation mode: Score(errors, images, mean loss per image).

    split.y: the labels, or probabilities (N, classes) that stand for them (see `sensitivity.own_answers`).
    """
    net.eval()
    errors, loss = 0, 0.0
    for x, y in zip(split.x.split(batch_size), split.y.split(batch_size)):
        logits = net(x).float()
        errors += int((logits.argmax(1) != (y if y.ndim == 1 else y.argmax(1))).sum())
        loss += F.cross_entropy(logits, y, reduction="sum").item()
    return Score(errors, len(split.y), loss / len(split.y))
