"""Evaluation, and whether a network and the images that it is given fit each other: device, type, answers, batches."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.datasets import Split, check_split
from ..errors import ReplicationError
from ..networks.connections import check_values
from .machine import autocast
from .phases import Training
from .processes import ALONE, ProcessGroup


class Score(NamedTuple):
    """(errors, images, loss): wrong answers of how many, and the mean cross-entropy."""

    errors: int
    images: int
    loss: float


def evaluate(net: nn.Module, split: Split, batch_size: int = 1_000, group: ProcessGroup = ALONE) -> Score:
    """Count the errors of `net` on `split` in evaluation mode: Score(errors, images, mean loss per image).

    split.y: the labels, or probabilities (N, classes) that stand for them (see `search.own_answers`);
    group: processes that evaluate, each with its own images.
    Raises ReplicationError where the network and the split do not fit.
    """
    check_split(split)
    return Score(**counted(net, zip(split.x.split(batch_size), split.y.split(batch_size)), group))


@torch.no_grad()
def counted(net: nn.Module, batches: Iterable[tuple[Tensor, ...]], group: ProcessGroup, top5: bool = False) -> dict:
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
    *counts, loss = group.all_reduce(errors, wrong, images, loss)
    errors, wrong, images = map(int, counts)
    return {"errors": errors, "images": images, "loss": loss / images} | ({"top5_errors": wrong} if top5 else {})


@contextmanager
def _explained(net: nn.Module, x: Tensor) -> Iterator[None]:
    """What `net` raises within the block, given the images x, as a ReplicationError that says why it cannot take them.

    Raises it at once where they are on another device than the network.
    """
    parameter = next(net.parameters(), x)
    if parameter.device != x.device:
        raise ReplicationError(f"the network is on {parameter.device}, the images are on {x.device}: move one of them")
    images, held = (str(dtype).removeprefix("torch.") for dtype in (x.dtype, parameter.dtype))
    try:
        yield
    except Exception as error:  # whatever a network may raise
        if not x.is_floating_point() or images == held:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            given = f"images {tuple(x.shape)} of {images}"
            raise ReplicationError(f"the network fails on {given} ({reason}): give images as it takes them") from error
        way_out = "images by x.float()" if held == "float32" else "network by net.float()"
        way_out += "" if images == "float32" or held == "float32" else " and the images by x.float()"
        raise ReplicationError(f"the images are {images}, the weights {held}: convert the {way_out}") from error


def check_answers(logits: object, images: int, y: Tensor) -> None:
    """Raise ReplicationError unless what a network gave for so many images are logits (N, classes) for labels as y."""
    if not isinstance(logits, Tensor):
        way_out = "wrap it in a module whose forward returns the logits alone"
        raise ReplicationError(f"the network returns {type(logits).__name__}, not a tensor of logits: {way_out}")
    if logits.ndim != 2 or len(logits) != images:
        shapes = f"{tuple(logits.shape)} for {images} images"
        raise ReplicationError(f"the network returns the shape {shapes}: logits are ({images}, classes)")
    if y.ndim == 2 and y.shape[1] != logits.shape[1]:
        raise ReplicationError(f"the network answers {logits.shape[1]} classes, the probabilities are of {y.shape[1]}")
    if y.ndim == 1 and (highest := int(y.max())) >= logits.shape[1]:
        known = f"the network answers {logits.shape[1]} classes, 0 to {logits.shape[1] - 1}"
        raise ReplicationError(f"{known}, a label is {highest}: number the classes from 0, or widen its last layer")


def answers(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The logits (N, classes) of images, float32; raises ReplicationError where net, x and labels y do not fit."""
    torch.clear_autocast_cache()  # whoever calls within autocast sees the weights as they are now
    with _explained(net, x):
        logits = net(x.clone())  # a network may change what it is given
    check_answers(logits, len(x), y)
    return logits.float()


@torch.no_grad()
def check_last_batch(front: nn.Module, rest: nn.Module, image: Tensor, images: int, settings: Training) -> None:
    """Raise ReplicationError where an epoch has a batch of one image, which batch normalisation may not take.

    front, rest: the network, see `phases.fixed_front`; image: one, which is tried, and the network's statistics stay as
    they are; images: of an epoch.
    """
    size = settings.batch_size
    alone = size == 1 or images % size == 1
    if not alone or not settings.epochs or not any(isinstance(module, _BatchNorm) for module in rest.modules()):
        return
    buffers = {name: buffer.clone() for name, buffer in rest.named_buffers()}
    try:
        with torch.random.fork_rng(), autocast(settings.precision, image.device):
            front.eval()
            functional_call(rest.train(), buffers, (front(image.clone()),))
    except ValueError:
        batches = f"{images} images in batches of {size} leave a batch of one image"
        way_out = "choose another batch_size"
        raise ReplicationError(f"{batches}, which batch normalisation cannot train on: {way_out}") from None
