"""MNIST, other IDX files and CIFAR-10 as tensors in memory, checked, split by a seeded permutation."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import paths
from ..errors import ReplicationError
from ..specs import check_name
from . import cifar, idx_files

MNIST_SHA256 = {  # of the raw (unzipped) IDX files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
VALIDATION_IMAGES = 5_000
SPLIT_SEED = 0


class _Pair(NamedTuple):
    x: Tensor
    y: Tensor


class Split(_Pair):
    """Images x, float32 (N, C, H, W), normalised; labels y, int64 (N,), or probabilities, float (N, classes).

    Checked once, when it is made; what is derived from it by `_replace` is not checked again. x may have any shape from
    N on, and hold whole numbers (int32, int64) for a network that takes them; labels of other whole types become int64.
    Raises ReplicationError where x or y are empty, do not fit each other, or hold what no network can train on.
    """

    __slots__ = ()

    def __new__(cls, x: Tensor, y: Tensor):
        return super().__new__(cls, x, checked(x, y))

    def to(self, device: torch.device) -> "Split":
        """The split on another device."""
        return self._replace(x=self.x.to(device), y=self.y.to(device))


def check_split(split: object) -> None:
    """Raise ReplicationError where something else stands in the place of a split."""
    if not isinstance(split, Split):
        raise ReplicationError(f"the images are of the type {type(split).__name__}: give data.Split(images, labels)")


def checked(x: Tensor, y: Tensor) -> Tensor:
    """The labels, as int64, of images and labels that make a split; see `Split` for what raises ReplicationError."""
    for name, tensor in (("images", x), ("labels", y)):
        if not isinstance(tensor, Tensor):
            raise ReplicationError(f"the {name} of a split are of the type {type(tensor).__name__}: give a tensor")
    if not x.ndim or not x.numel():
        raise ReplicationError(f"the images have the shape {tuple(x.shape)}: a split needs at least one")
    if len(x) != (len(y) if y.ndim else 1):
        raise ReplicationError(f"{len(x)} images have {y.numel()} labels: give one for each image")
    if y.ndim != 1 + y.is_floating_point() or y.shape[1:] == (1,):
        wanted = f"({len(x)},) of whole numbers, or ({len(x)}, classes) of probabilities"
        raise ReplicationError(f"the labels are {tuple(y.shape)} of {_type(y)}: give {wanted}")
    if x.device != y.device:
        raise ReplicationError(f"the images are on {x.device}, the labels on {y.device}: move them to one device")
    _check_values(x)
    return _labels(y)


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _check_values(x: Tensor) -> None:
    """Raise ReplicationError unless every image is finite and of a type that a network takes."""
    if not x.is_floating_point():
        if x.dtype not in (torch.int32, torch.int64):
            raise ReplicationError(f"the images are {_type(x)}: scale them to floating point, as by x.float() / 255")
        return
    if not all(math.isfinite(limit) for limit in x.aminmax()):  # one pass, and a nan goes through
        bad = ~x.isfinite().flatten(1).all(1) if x.ndim > 1 else ~x.isfinite()
        first, count = int(bad.nonzero()[0]), int(bad.sum())
        value = x[first][~x[first].isfinite()][0].item()
        raise ReplicationError(f"image {first} of {len(x)} holds {value} ({count} do): repair or remove them")


def _labels(y: Tensor) -> Tensor:
    """The labels as int64, probabilities as they are; raises ReplicationError where they are neither."""
    low, high = (float(limit) for limit in y.float().aminmax())
    if y.is_floating_point():
        if not (low >= 0 and math.isfinite(high) and (y.sum(1) - 1).abs().max() < 1e-2):
            raise ReplicationError("the labels are floating point, and their rows no probabilities that sum to 1")
        return y
    if low < 0:
        raise ReplicationError(f"label {int(y.lt(0).nonzero()[0])} is {low:.0f}: number the classes from 0 on")
    return y.long()


class Dataset(NamedTuple):
    """The three splits: `validation` serves every choice, `test` the report alone."""

    train: Split
    validation: Split
    test: Split


def mnist_bytes(folder: Path = paths.MNIST) -> dict[str, np.ndarray]:
    """The four files of MNIST by name, checksums verified; see `idx_files.read_idx` for shapes and errors."""
    way_out = "restore it with `git checkout -- data/mnist`"
    return {name: idx_files.read_idx(Path(folder) / f"{name}.gz", sha, way_out) for name, sha in MNIST_SHA256.items()}


def split_indices(total: int = 60_000, held_out: int = VALIDATION_IMAGES) -> tuple[Tensor, Tensor]:
    """Indices of the training images and of the `held_out` validation images, by a seeded permutation."""
    # ours: 5,000 of the 60,000 training images are held out for every choice; the paper names no validation set
    order = torch.randperm(total, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return order[:-held_out], order[-held_out:]


@cache
def mnist(limit: int | None = None) -> Dataset:
    """MNIST as Dataset: 55,000 / 5,000 / 10,000 images (N, 1, 28, 28); `limit` keeps the first so many of each split.

    Raises ReplicationError where a file is missing, truncated or altered.
    """
    return _from_idx(mnist_bytes(), limit)


@cache
def fashion_mnist(limit: int | None = None) -> Dataset:
    """Fashion-MNIST as Dataset, of the shapes of MNIST's; limit: as for `mnist`.

    Raises ReplicationError where it cannot be fetched or a stored file is altered.
    """
    return _from_idx(idx_files.fashion_bytes(), limit)


def idx(folder: Path | str, limit: int | None = None) -> Dataset:
    """The IDX files of any folder as Dataset, split and scaled as MNIST: a twelfth of the training images is held out.

    folder: see `idx_files.folder_bytes`, as for errors; limit: as for `mnist`.
    """
    return _from_idx(idx_files.folder_bytes(folder), limit)


def _from_idx(files: Mapping[str, np.ndarray], limit: int | None) -> Dataset:
    """The four files as Dataset."""
    total = len(files["train-labels-idx1-ubyte"])
    train, validation = split_indices(total, max(1, total // 12))
    x = torch.from_numpy(files["train-images-idx3-ubyte"].copy()).unsqueeze(1).float().div_(255)
    y = torch.from_numpy(files["train-labels-idx1-ubyte"].astype(np.int64))
    x_test = torch.from_numpy(files["t10k-images-idx3-ubyte"].copy()).unsqueeze(1).float().div_(255)
    y_test = torch.from_numpy(files["t10k-labels-idx1-ubyte"].astype(np.int64))
    # ours: pixels are centred and scaled by the training split's mean and deviation; the paper names no preprocessing
    x_train = x[train]
    mean, std = x_train.mean(), x_train.std()
    if x_train.min() == x_train.max():
        raise ReplicationError("all pixels of the training images are equal: there is nothing to learn from them")
    parts = ((x_train, y[train]), (x[validation], y[validation]), (x_test, y_test))
    return Dataset(*(Split((a[:limit] - mean).div_(std), b[:limit].clone()) for a, b in parts))


def _normalised(images: Tensor) -> Tensor:
    """uint8 (N, 32, 32, 3) -> float32 (N, 3, 32, 32), channels last in memory, 0 to 1."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def cifar10(limit: int | None = None, arrays: Callable[[], dict[str, Tensor]] = cifar.cifar10_bytes) -> Dataset:
    """CIFAR-10 as Dataset: 45,000 / 5,000 / 10,000 photographs (N, 3, 32, 32); limit: as for `mnist`.

    arrays: where the bytes come from. Raises ReplicationError where they cannot be had or are damaged.
    """
    files = arrays()
    total = len(files["train_labels"])
    train, validation = split_indices(total, total // 10)
    # ours: colours are centred and scaled by the training split's mean and deviation, channel by channel
    whole = files["train_images"][train].float().div_(255)
    mean, std = (f(whole, (0, 1, 2)).view(1, 3, 1, 1) for f in (torch.mean, torch.std))
    del whole
    parts = [(files["train_images"][i], files["train_labels"][i]) for i in (train[:limit], validation[:limit])]
    parts.append((files["test_images"][:limit], files["test_labels"][:limit]))
    return Dataset(*(Split(_normalised(x).sub_(mean).div_(std), y.long()) for x, y in parts))


def cifar10_sample(limit: int | None = None) -> Dataset:
    """The committed sample of CIFAR-10 as Dataset, for checks without a network; limit: as for `mnist`."""
    return cifar10(limit, cifar.sample_bytes)


DATASETS = {"mnist": mnist, "fashion_mnist": fashion_mnist, "cifar10": cifar10, "cifar10_sample": cifar10_sample}
DIGITS = ("mnist", "fashion_mnist")  # what the LeNets can be run on by name


def named(dataset: str) -> dict[str, str]:
    """The setting `dataset` of a Run on a name of DIGITS or on a folder of IDX files (see `idx_files.noted`)."""
    if dataset in DIGITS:
        return {"dataset": dataset}
    if not (isinstance(dataset, str) and dataset and Path(dataset).is_dir()):
        raise ReplicationError(f"unknown data set {dataset!r}: give {', '.join(DIGITS)} or a folder of IDX files")
    return {"dataset": idx_files.noted(Path(dataset))}


@cache
def load(name: str, limit: int | None = None, dtype: torch.dtype = torch.float32) -> Dataset:
    """The data set called `name` (see `mnist` for `limit`); raises ReplicationError for a name that is not known.

    dtype: of the training images; in bfloat16, as autocast rounds them anyway, they take half the memory.
    """
    if name.startswith("imagenet"):
        raise ReplicationError(f"{name} is an image folder: `python -m replication imagenet` computes such runs")
    if name.startswith(idx_files.PREFIX):
        data = _from_idx(idx_files.named(name), limit)
    else:
        check_name("data set", name, DATASETS)
        data = DATASETS[name](limit)
    return data if dtype == torch.float32 else data._replace(train=data.train._replace(x=data.train.x.to(dtype)))
