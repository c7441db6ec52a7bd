"""Photographs from an image folder: splits, transforms of the reference weights, and the loader."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

from .. import paths
from ..data import datasets
from ..errors import ReplicationError
from .folder import Folder

RESIZE = 256  # pixels of the shorter side before the central crop
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, as torchvision's weights expect them
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of the random crops in training
HELD_OUT = 20_000


@dataclass(frozen=True)
class Photographs:
    """Images by path below `root`, with their labels y, int64 (N,). Item i: (uint8 (3, crop, crop), label, i).

    crop: pixels of a side; seed: of the random crops of training, None for the central crop.
    """

    root: Path
    names: Sequence[str]
    y: Tensor
    crop: int = 224
    seed: int | None = None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor, int]:
        image = read(self.root / self.names[i])
        x = central(image, self.crop) if self.seed is None else random_crop(image, self.crop, key(self.seed, i))
        return x, self.y[i], i

    def first(self, images: int | None) -> "Photographs":
        """The first so many images (None: all)."""
        return replace(self, names=self.names[:images], y=self.y[:images])


def split(folder: Folder, images: int | None = None) -> datasets.Dataset:
    """The folder as three splits, each Photographs; images: the first so many of each (None: all)."""
    # ours: a tenth of the training images, at most 20,000, is held out for every choice; ImageNet's own validation
    # images are the test images, read once per run for the report
    held_out = max(1, min(HELD_OUT, len(folder.train) // 10))
    train, validation = datasets.split_indices(len(folder.train), held_out)
    # mixed, so that the first so many are of all classes
    test = torch.randperm(len(folder.val), generator=torch.Generator().manual_seed(datasets.SPLIT_SEED))
    sources = ((folder.train, train), (folder.train, validation), (folder.val, test))
    chosen = ([names[i] for i in order.tolist()] for names, order in sources)
    return datasets.Dataset(*(Photographs(folder.root, names, folder.labels(names)).first(images) for names in chosen))


def key(*values: int | str) -> int:
    """A number of 62 bits that is the same for the same values in every process."""
    return int.from_bytes(hashlib.blake2b(repr(values).encode(), digest_size=8).digest()) >> 2


def read(path: Path) -> Image.Image:
    """The image as RGB, whatever its colours; raises ReplicationError where it cannot be read."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):  # Pillow would make all values from 255 on white
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image.info.pop("transparency", None)  # RGB has none, and of a palette's Pillow would warn
            return image.convert("RGB")
    except Exception as error:  # Pillow raises many kinds for damaged files
        reason = " ".join(str(error).split())
        way_out = "restore it, or delete it and repeat the command"
        raise ReplicationError(f"{paths.shown(path)} has become unreadable ({reason}): {way_out}") from None


def central(image: Image.Image, crop: int) -> Tensor:
    """The middle of the image, as evaluation sees it: uint8 (3, crop, crop)."""
    return F.pil_to_tensor(F.center_crop(F.resize(image, RESIZE), [crop, crop]))


def random_crop(image: Image.Image, crop: int, seed: int) -> Tensor:
    """A random part of the image, mirrored or not, as training sees it: uint8 (3, crop, crop); same seed, same part."""
    # ours: random resized crops and mirroring, as torchvision's weights were trained with
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        place = RandomResizedCrop.get_params(image, SCALE, RATIO)
        mirrored = torch.rand(()) < 0.5
    part = F.resized_crop(image, *place, [crop, crop])
    return F.pil_to_tensor(F.hflip(part) if mirrored else part)


class Batch(NamedTuple):
    """x: float32 (B, 3, H, W), normalised; y: labels, int64 (B,); places: the images' places in the split (B,)."""

    x: Tensor
    y: Tensor
    places: Tensor


def batches(data: Photographs, places: Sequence[Sequence[int]], workers: int, device: torch.device) -> Iterator[Batch]:
    """The batches of these places in the split, read ahead by `workers` processes (0: none), on `device`.

    Raises ReplicationError where an image cannot be read.
    """
    loader = DataLoader(data, batch_sampler=places, num_workers=workers, pin_memory=device.type == "cuda")
    try:
        for x, y, where in loader:
            x, y, where = (t.to(device, non_blocking=True) for t in (x, y, where))
            yield Batch(normalised(x), y, where)
    except ReplicationError as error:  # a loader's process adds its traceback
        raise ReplicationError(str(error).strip().splitlines()[-1].split("ReplicationError: ")[-1]) from None


def normalised(x: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) -> float32, each colour with ImageNet's mean 0 and deviation 1, channels last in memory."""
    mean, std = (255 * torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return x.contiguous(memory_format=torch.channels_last).float().sub_(mean).div_(std)
