"""Whether a network and the images that it is given fit each other: device, type, answers, and the last batch."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import ReplicationError
from .phases import Training
from .precision import autocast


def check_images(net: nn.Module, x: Tensor) -> None:
    """Raise ReplicationError where the images are on another device than the network, or of twice its precision."""
    parameter = next(net.parameters(), x)
    if parameter.device != x.device:
        raise ReplicationError(f"the network is on {parameter.device}, the images are on {x.device}: move one of them")
    if x.dtype == torch.float64 != parameter.dtype:
        raise ReplicationError(f"the images are float64, the weights {parameter.dtype}: convert them by x.float()")


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
    check_images(net, x)
    logits = net(x)
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
            functional_call(rest.train(), buffers, (front(image),))
    except ValueError:
        batches = f"{images} images in batches of {size} leave a batch of one image"
        way_out = "choose another batch_size"
        raise ReplicationError(f"{batches}, which batch normalisation cannot train on: {way_out}") from None
