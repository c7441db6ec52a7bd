"""Dropout that depends on the image alone: the same units fall out however the images are spread over processes."""

import torch
from torch import Tensor, nn

LOW = 0xFFFFFFFF  # the lower 32 bits


def mixed(x: Tensor) -> Tensor:
    """Numbers of 32 bits, in int64, turned into others that look random: the same on every device.

    A xor-shift-multiply hash; products wrap around, which leaves their lower 32 bits right.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> shift)) * factor) & LOW
    return x ^ (x >> 16)


class KeyedDropout(nn.Dropout):
    """nn.Dropout whose choice is a function of (layer, image's key, unit).

    number: of this layer, so that two layers choose differently; keys: of the images in the next batch, int64 (B,).
    """

    def __init__(self, p: float, number: int):
        super().__init__(p)
        self.number, self.keys = number, None

    def forward(self, x: Tensor) -> Tensor:
        """x (B, units) with units set to zero at the rate p and the others scaled by 1 / (1 - p); in training only."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0
        return x * self.kept(x.shape[1]).to(x.dtype) / (1 - self.p)

    def kept(self, units: int) -> Tensor:
        """Which units stay, bool (B, units)."""
        columns = mixed(torch.arange(units, device=self.keys.device) + (self.number << 20))
        return mixed(self.keys[:, None] ^ columns) >= int(self.p * 2**32)


def keyed(net: nn.Sequential) -> list[KeyedDropout]:
    """Put a KeyedDropout in the place of every nn.Dropout of `net`; returns them in order."""
    found = []
    for name, module in list(net.named_children()):
        if isinstance(module, nn.Dropout):
            found.append(KeyedDropout(module.p, len(found)))
            setattr(net, name, found[-1])
    return found
