"""MNIST and CIFAR-10 as tensors in memory, checked against pinned checksums, split by a seeded permutation."""

import gzip
import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import paths
from ..errors import ReplicationError
from ..specs import check_name
from . import cifar

MNIST_SHA256 = {  # of the raw (unzipped) IDX files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
VALIDATION_IMAGES = 5_000
SPLIT_SEED = 0


class Split(NamedTuple):
    """Images x, float32 (N, C, H, W), normalised; labels y, int64 (N,)."""

    x: Tensor
    y: Tensor


class Dataset(NamedTuple):
    """The three splits: `validation` serves every choice, `test` the report alone."""

    train: Split
    validation: Split
    test: Split


def read_idx(path: Path, sha256: str) -> np.ndarray:
    """Read one gzipped IDX file of bytes and check it.

    path: the .gz file; sha256: of its unzipped content.
    Returns uint8, (N,) for labels or (N, 28, 28) for images.
    Raises ReplicationError where the file is missing, truncated or altered.
    """
    way_out = "restore it with `git checkout -- data/mnist`"
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise ReplicationError(f"{paths.shown(path)} is missing: {way_out}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ReplicationError(f"{paths.shown(path)} is truncated or damaged ({error}): {way_out}") from None
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise ReplicationError(f"{paths.shown(path)} is altered (its SHA-256 is not the pinned one): {way_out}")
    dimensions = raw[3]  # magic number: 0, 0, 8 (unsigned byte), number of dimensions
    shape = np.frombuffer(raw, ">i4", dimensions, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def mnist_bytes(folder: Path = paths.MNIST) -> dict[str, np.ndarray]:
    """The four files of MNIST by name, checksums verified; see `read_idx` for shapes and errors."""
    return {name: read_idx(Path(folder) / f"{name}.gz", sha) for name, sha in MNIST_SHA256.items()}


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
    files = mnist_bytes()
    train, validation = split_indices()
    x = torch.from_numpy(files["train-images-idx3-ubyte"].copy()).unsqueeze(1).float().div_(255)
    y = torch.from_numpy(files["train-labels-idx1-ubyte"].astype(np.int64))
    x_test = torch.from_numpy(files["t10k-images-idx3-ubyte"].copy()).unsqueeze(1).float().div_(255)
    y_test = torch.from_numpy(files["t10k-labels-idx1-ubyte"].astype(np.int64))
    # ours: pixels are centred and scaled by the training split's mean and deviation; the paper names no preprocessing
    x_train = x[train]
    mean, std = x_train.mean(), x_train.std()
    parts = ((x_train, y[train]), (x[validation], y[validation]), (x_test, y_test))
    return Dataset(*(Split((a[:limit] - mean).div_(std), b[:limit].clone()) for a, b in parts))


def mnist_whole(limit: int | None = None) -> Dataset:
    """`mnist` with its 5,000 validation images among the 60,000 training images: for networks that `test` alone judges.

    limit, errors: as for `mnist`.
    """
    data = mnist(limit)
    return data._replace(train=Split(*(torch.cat(parts)[:limit] for parts in zip(data.train, data.validation))))


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


DATASETS = {"mnist": mnist, "mnist_whole": mnist_whole, "cifar10": cifar10, "cifar10_sample": cifar10_sample}


@cache
def load(name: str, limit: int | None = None, dtype: torch.dtype = torch.float32) -> Dataset:
    """The data set called `name` (see `mnist` for `limit`); raises ReplicationError for a name that is not known.

    dtype: of the training images; in bfloat16, as autocast rounds them anyway, they take half the memory.
    """
    if name.startswith("imagenet"):
        raise ReplicationError(f"{name} is an image folder: `python -m replication imagenet` computes such runs")
    check_name("data set", name, DATASETS)
    data = DATASETS[name](limit)
    return data if dtype == torch.float32 else data._replace(train=Split(data.train.x.to(dtype), data.train.y))
