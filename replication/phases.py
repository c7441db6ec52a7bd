"""What one phase of retraining holds fixed: whole layers (section 3.3) and the dropout rule (section 3.2)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .datasets import Split
from .errors import ReplicationError
from .networks import layers

FROZEN = {"": (), "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d), "fc": (nn.Linear,)}  # kinds of layers, by name
BATCH = 1_000


@contextmanager
def holding(net: nn.Module, kind: str) -> Iterator[None]:
    """Within the block, the layers of this kind (a name in FROZEN) take no gradients."""
    # paper: section 3.3: the CONV layers are fixed while the FC layers retrain, and the reverse
    fixed = [layer for layer in layers(net).values() if isinstance(layer, FROZEN[kind])]
    before = [(parameter, parameter.requires_grad) for layer in fixed for parameter in layer.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)


def fixed_front(net: nn.Module, kind: str) -> tuple[nn.Module, nn.Module]:
    """`net` as (front, rest): front holds nothing that is trained while the layers of this kind are fixed.

    What the front computes is the same in every epoch, and can be computed once. Nothing frozen: an empty front.
    """
    if not kind or not isinstance(net, nn.Sequential):
        return nn.Sequential(), net
    for position, part in enumerate(net):
        if any(not isinstance(layer, FROZEN[kind]) for layer in layers(nn.Sequential(part)).values()):
            return net[:position], net[position:]
    raise ReplicationError(f"every layer of the network is of the kind {kind!r}: nothing is left to train")


@torch.no_grad()
def outputs(front: nn.Module, split: Split) -> Split:
    """What `front` makes of the images, in evaluation mode; an empty front gives back the split itself."""
    if not len(list(front.children())):
        return split
    front.eval()
    return Split(torch.cat([front(part) for part in split.x.split(BATCH)]), split.y)


@contextmanager
def shrunk_dropout(net: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block every dropout drops `Do sqrt(Cir / Cio)`, C the connections of the layer before it.

    masks: bool by layer name; a layer without a mask is dense. Restores the rates afterwards.
    """
    # paper: section 3.2: the dropout rate shrinks with the square root of the kept connections
    before, density = [], 1.0
    for name, module in net.named_modules():
        if name in layers(net):
            density = masks[name].float().mean().item() if name in masks else 1.0
        elif isinstance(module, nn.Dropout):
            before.append((module, module.p))
            module.p *= density**0.5
    try:
        yield
    finally:
        for module, rate in before:
            module.p = rate


@torch.no_grad()
def augmented(x: Tensor, generator: torch.Generator, shift: int = 4) -> Tensor:
    """A copy of the images (N, C, H, W), half of them mirrored, each shifted by up to `shift` pixels both ways.

    What comes into view is zero (the mean colour).
    """
    # ours: the paper's Caffe models crop and mirror; on 32 x 32 images that becomes a shift
    height, width = x.shape[2:]
    out = torch.empty_like(x)
    places = torch.randint((2 * shift + 1) ** 2, (len(x),), generator=generator).to(x.device)
    mirror = torch.rand(len(x), generator=generator).to(x.device) < 0.5
    for image, place, mirrored, target in zip(*(t.split(BATCH) for t in (x, places, mirror, out))):
        padded = F.pad(image, (shift,) * 4)
        for number in place.unique().tolist():
            down, right = divmod(number, 2 * shift + 1)
            view, here = padded[:, :, down : down + height, right : right + width], place == number
            target[here & ~mirrored] = view[here & ~mirrored]
            target[here & mirrored] = view[here & mirrored].flip(3)
    return out
