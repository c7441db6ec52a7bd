"""One training loop for dense, L1, L2 and masked training, and one evaluation."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .datasets import Split
from .errors import ReplicationError
from .networks import layers

SCHEDULES: dict[str, Callable[[float], float]] = {  # factor of the learning rate by the share of training done
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


@dataclass(frozen=True)
class Training:
    """How a network is trained: stochastic gradient descent with momentum on the cross-entropy.

    epochs: passes over the training split, 0 for none; learning_rate: the initial one; schedule: a name in SCHEDULES;
    warmup: share of the steps with a linearly rising rate; weight_decay: L2 strength; l1: L1 strength (weights only);
    augment: mirror and shift the images (see `augmented`); precision: float32 or bfloat16 (autocast).
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

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ReplicationError(f"unknown schedule {self.schedule!r}: choose from {', '.join(SCHEDULES)}")
        if self.precision not in ("float32", "bfloat16"):
            raise ReplicationError(f"unknown precision {self.precision!r}: choose float32 or bfloat16")
        for name, least in (("epochs", 0), ("batch_size", 1)):
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
    keep = _weights_and_masks(net, masks or {})
    _hold(keep)
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(
        parameters, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay, fused=True
    )
    history = []
    for epoch in range(settings.epochs):
        start = time.perf_counter()
        loss = _train_epoch(net, split, settings, optimiser, generator, keep, epoch)
        if not math.isfinite(loss):
            way_out = f"lower the learning rate {settings.learning_rate}"
            raise ReplicationError(f"training diverged in epoch {epoch + 1}: {way_out}")
        history.append({"epoch": epoch + 1, "loss": loss, "seconds": time.perf_counter() - start})
        after_epoch(history[-1])
    return history


def _train_epoch(net, split, settings, optimiser, generator, keep, epoch: int) -> float:
    """One pass over `split` in a fresh order; returns the mean loss per image."""
    net.train()
    images = augmented(split.x, generator) if settings.augment else split.x
    half = torch.autocast(images.device.type, torch.bfloat16) if settings.precision == "bfloat16" else nullcontext()
    total = torch.zeros((), dtype=torch.float64, device=split.x.device)
    batches = torch.randperm(len(split.y), generator=generator).split(settings.batch_size)
    penalised = [layer.weight for layer in layers(net).values() if layer.weight.requires_grad]
    for step, batch in enumerate(batches):
        done = (epoch * len(batches) + step) / (settings.epochs * len(batches))
        optimiser.param_groups[0]["lr"] = rate_at(settings, done)
        batch = batch.to(split.y.device)
        x, y = images.index_select(0, batch), split.y[batch]  # three times as fast as x[batch]
        with half:
            logits = net(x)
        loss = F.cross_entropy(logits.float(), y)
        optimiser.zero_grad()
        loss.backward()
        _add_l1(penalised, settings.l1)
        optimiser.step()
        _hold(keep)
        total.add_(loss.detach(), alpha=len(batch))  # the last batch may be smaller
    return total.item() / len(split.y)


@torch.no_grad()
def augmented(x: Tensor, generator: torch.Generator, shift: int = 4) -> Tensor:
    """A copy of the images (N, C, H, W), half of them mirrored, each shifted by up to `shift` pixels both ways.

    What comes into view is zero (the mean colour).
    """
    # ours: the paper's Caffe models crop and mirror; on 32 x 32 images that becomes a shift
    height, width = x.shape[2:]
    padded, out = F.pad(x, (shift,) * 4), torch.empty_like(x)
    places = torch.randint((2 * shift + 1) ** 2, (len(x),), generator=generator).to(x.device)
    mirror = torch.rand(len(x), generator=generator).to(x.device) < 0.5
    for place in range((2 * shift + 1) ** 2):
        down, right = divmod(place, 2 * shift + 1)
        view = padded[:, :, down : down + height, right : right + width]
        here = places == place
        out[here & ~mirror] = view[here & ~mirror]
        out[here & mirror] = view[here & mirror].flip(3)
    return out


def _weights_and_masks(net: nn.Module, masks: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of weight and mask, the mask as a factor; raises ReplicationError for a mask that fits no layer."""
    pairs = []
    for name, mask in masks.items():
        layer = layers(net).get(name)
        if layer is None or layer.weight.shape != mask.shape:
            raise ReplicationError(f"the mask of {name!r} {tuple(mask.shape)} fits no layer: {', '.join(layers(net))}")
        pairs.append((layer.weight, mask.to(layer.weight)))
    return pairs


@torch.no_grad()
def _hold(keep: list[tuple[Tensor, Tensor]]) -> None:
    """Multiply each weight by its mask, in place."""
    if keep:
        torch._foreach_mul_([weight for weight, _ in keep], [mask for _, mask in keep])


@torch.no_grad()
def _add_l1(weights: list[Tensor], strength: float) -> None:
    """Add the subgradient of strength * |w| to the gradients, as Caffe's L1 regularisation does."""
    if strength:
        for weight in weights:
            weight.grad.add_(weight.sign(), alpha=strength)


class Score(NamedTuple):
    """(errors, images, loss): wrong answers of how many, and the mean cross-entropy."""

    errors: int
    images: int
    loss: float


@torch.no_grad()
def evaluate(net: nn.Module, split: Split, batch_size: int = 1_000) -> Score:
    """Count the errors of `net` on `split` in evaluation mode: Score(errors, images, mean loss per image)."""
    net.eval()
    errors, loss = 0, 0.0
    for x, y in zip(split.x.split(batch_size), split.y.split(batch_size)):
        logits = net(x)
        errors += int((logits.argmax(1) != y).sum())
        loss += F.cross_entropy(logits, y, reduction="sum").item()
    return Score(errors, len(split.y), loss / len(split.y))
