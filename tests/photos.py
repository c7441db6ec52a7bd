"""Image folders in ImageNet's layout for tests: enlarged photographs of CIFAR-10's committed sample."""

from pathlib import Path

from PIL import Image

from replication.data import cifar

TRAIN, VAL = 200, 53  # images in 10 classes


def make(root: Path, train: int = TRAIN, val: int = VAL, size: tuple[int, int] = (300, 260)) -> Path:
    """Write train/classN/*.jpg and val/classN/*.jpg below `root`; every class has images in both."""
    arrays = cifar.sample_bytes()
    for part, images, name in (("train", train, "train"), ("val", val, "test")):
        for i in range(images):
            place = root / part / f"class{int(arrays[f'{name}_labels'][i])}" / f"{i:04}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            photograph = Image.fromarray(arrays[f"{name}_images"][i].numpy())
            photograph.resize(size, Image.Resampling.BICUBIC).save(place, quality=90)
    return root


def first(root: Path, part: str = "train") -> Path:
    """The first image of `part`."""
    return min((root / part).glob("*/*.jpg"))
