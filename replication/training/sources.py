"""What the loop is fed with: batches of images in memory, augmented, or of any other source."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.datasets import Split
from ..errors import ReplicationError
from .checkpoints import Progress
from .machine import autocast
from .phases import Training

BATCH = 1_000


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

    # ours: while the CONV layers are fixed, images in memory are mirrored and shifted once for the whole phase, since
    # what these layers make of them is computed once

    def __init__(self, split: Split, front: nn.Module, generator: torch.Generator):
        self.split, self.front, self.generator = split, front, generator
        self.outputs: Split | None = None

    def __len__(self) -> int:
        return len(self.split.y)

    def batches(self, progress: Progress, settings: Training) -> Iterator[MicroBatch]:
        """The epoch's batches; images are augmented afresh where there is no front."""
        if not self.outputs or not len(list(self.front.children())):
            x = augmented(self.split.x, self.generator) if settings.augment else self.split.x
            with autocast(settings.precision, x.device):
                self.outputs = precomputed(self.front, self.split._replace(x=x))
        x, y = self.outputs
        for chosen in torch.randperm(len(y), generator=self.generator).split(settings.batch_size):
            chosen, size = chosen.to(y.device), len(chosen)
            # three times as fast as x[chosen]
            yield MicroBatch(x.index_select(0, chosen), y.index_select(0, chosen), size, size)


@torch.no_grad()
def precomputed(front: nn.Module, split: Split) -> Split:
    """What `front` makes of the images, in evaluation mode; an empty front gives back the split itself."""
    if not len(list(front.children())):
        return split
    front.eval()
    torch.clear_autocast_cache()
    return split._replace(x=torch.cat([front(part.clone()) for part in split.x.split(BATCH)]))


@torch.no_grad()
def augmented(x: Tensor, generator: torch.Generator, shift: int = 4) -> Tensor:
    """A copy of the images (N, C, H, W), half of them mirrored, each shifted by up to `shift` pixels both ways.

    What comes into view is zero (the mean colour). Raises ReplicationError for images of another shape.
    """
    if x.ndim != 4:
        raise ReplicationError(f"augment mirrors and shifts images (N, C, H, W), these are {tuple(x.shape)}: leave it")
    # ours: the paper's Caffe models crop and mirror; on 32 x 32 images that becomes a shift
    out, (channels, height, width) = torch.empty_like(x), x.shape[1:]
    place = torch.randint((2 * shift + 1) ** 2, (len(x), 1), generator=generator).to(x.device)
    mirrored = torch.rand(len(x), 1, generator=generator).to(x.device) < 0.5
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    rows = rows + place // (2 * shift + 1)
    columns = torch.where(mirrored, columns.flip(0), columns) + place % (2 * shift + 1)
    pixels = rows[:, :, None] * (width + 2 * shift) + columns[:, None]  # (N, H, W), into the padded image
    for images, chosen, target in zip(*(t.split(BATCH) for t in (x, pixels, out))):
        padded = F.pad(images, (shift,) * 4).flatten(2)
        target.copy_(padded.gather(2, chosen.flatten(1)[:, None].expand(-1, channels, -1)).view_as(target))
    return out
