"""MNIST: shapes, the split, normalisation, and files that are missing, truncated or altered."""

import gzip
import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from replication import paths
from replication.data import datasets
from replication.errors import ReplicationError

FILES = sorted(datasets.MNIST_SHA256)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of data/mnist that a test may damage."""
    return Path(shutil.copytree(paths.MNIST, tmp_path / "mnist"))


def test_splits_have_the_stated_sizes_and_types():
    for split, images in zip(datasets.mnist(), (55_000, 5_000, 10_000)):
        assert split.x.shape == (images, 1, 28, 28)
        assert split.x.dtype == torch.float32
        assert split.y.shape == (images,)
        assert split.y.dtype == torch.int64
        assert split.y.unique().tolist() == list(range(10))


def test_limit_keeps_the_first_images_of_each_split():
    for whole, part in zip(datasets.mnist(), datasets.mnist(300)):
        assert torch.equal(part.x, whole.x[:300])
        assert torch.equal(part.y, whole.y[:300])


def test_split_is_disjoint_and_covers_the_training_set():
    train, validation = datasets.split_indices()
    assert (len(train), len(validation)) == (55_000, 5_000)
    assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(60_000))


def test_split_never_changes():
    digest = hashlib.sha256(torch.cat(datasets.split_indices()).numpy().tobytes()).hexdigest()
    assert digest == "4c226c41bdd65c9e11fe47eba8358cefb5c375b9699b1c912586a2125168af52"


def test_split_does_not_depend_on_the_global_random_state():
    torch.manual_seed(5)
    first = datasets.split_indices()
    torch.manual_seed(6)
    assert all(map(torch.equal, first, datasets.split_indices()))


def test_training_images_are_normalised():
    x = datasets.mnist().train.x.double()
    assert abs(x.mean().item()) < 1e-4
    assert abs(x.std().item() - 1) < 1e-4


def test_other_splits_are_scaled_as_the_training_images():
    data = datasets.mnist()  # the background is one value in all three, and so is full ink
    assert len({split.x.min().item() for split in data}) == 1
    assert len({split.x.max().item() for split in data}) == 1


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(folder: Path, name: str):
    (folder / f"{name}.gz").unlink()
    _fails(folder, name, "is missing")


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_named(folder: Path, name: str):
    path = folder / f"{name}.gz"
    path.write_bytes(path.read_bytes()[:-100])
    _fails(folder, name, "is truncated or damaged")


def test_file_that_is_no_gzip_is_named(folder: Path):
    (folder / f"{FILES[1]}.gz").write_bytes(b"<html>not found</html>")
    _fails(folder, FILES[1], "is truncated or damaged")


def test_empty_file_is_named(folder: Path):
    (folder / f"{FILES[1]}.gz").write_bytes(b"")
    _fails(folder, FILES[1], "is ")


@pytest.mark.parametrize("name", FILES)
def test_altered_file_is_named(folder: Path, name: str):
    path = folder / f"{name}.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[-1] ^= 1
    path.write_bytes(gzip.compress(raw, compresslevel=1))
    _fails(folder, name, "is altered")


def test_unknown_data_set_is_named():
    with pytest.raises(ReplicationError, match=r"unknown data set 'fashion': choose from mnist"):
        datasets.load("fashion")


def _fails(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(ReplicationError) as caught:
        datasets.mnist_bytes(folder)
    message = str(caught.value)
    assert f"{name}.gz {reason}" in message
    assert "git checkout -- data/mnist" in message
    assert "\n" not in message
