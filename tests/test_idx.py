"""IDX data of any folder, and Fashion-MNIST: found, checked, split as MNIST, named in a run's key by the content."""

import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from conftest import small_chain

from replication import paths, runs
from replication.data import datasets, idx_files
from replication.errors import ReplicationError
from replication.runs import execution, profiles, recipes

TRAIN_X, TRAIN_Y, TEST_X, TEST_Y = idx_files.FASHION_SHA256


def idx_content(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def arrays(train: int = 120, test: int = 30, classes: int = 10) -> dict[str, np.ndarray]:
    """Images of a bright square whose place tells the class, with noise."""
    random, made = np.random.default_rng(0), {}
    for part, count in (("train", train), ("t10k", test)):
        labels = np.arange(count) % classes
        images = random.integers(0, 60, (count, 28, 28))
        for image, label in zip(images, labels):
            image[2 * label : 2 * label + 6, 4:20] = 255
        made |= {f"{part}-images-idx3-ubyte": images, f"{part}-labels-idx1-ubyte": labels}
    return made


def write(folder: Path, contents: dict[str, np.ndarray], called: str = "{}", zipped: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in contents.items():
        raw = idx_content(array)
        path = folder / (called.format(name) + (".gz" if zipped else ""))
        path.write_bytes(gzip.compress(raw) if zipped else raw)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "own", arrays())


def test_a_copy_of_mnist_is_split_and_scaled_as_mnist():
    for ours, theirs in zip(datasets.idx(paths.MNIST, 300), datasets.mnist(300)):
        assert torch.equal(ours.x, theirs.x) and torch.equal(ours.y, theirs.y)


def test_a_twelfth_is_held_out_and_the_test_images_keep_their_order(folder: Path):
    data, made = datasets.idx(folder), arrays()
    assert [tuple(split.x.shape) for split in data] == [(110, 1, 28, 28), (10, 1, 28, 28), (30, 1, 28, 28)]
    train, validation = datasets.split_indices(120, 10)
    assert torch.equal(data.train.y, torch.from_numpy(made[TRAIN_Y])[train])
    assert torch.equal(data.validation.y, torch.from_numpy(made[TRAIN_Y])[validation])
    assert torch.equal(data.test.y, torch.from_numpy(made[TEST_Y]))
    assert data.train.x.mean().abs() < 1e-5 and abs(data.train.x.std() - 1) < 1e-4
    assert [len(split.y) for split in datasets.idx(folder, 5)] == [5, 5, 5]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("called", ["{}", "emnist-digits-{}", "dot", "test"])
def test_names_that_others_use_are_found(called: str, zipped: bool, tmp_path: Path):
    made, place = arrays(), tmp_path / "own"
    if called in ("dot", "test"):
        old, new = {"dot": ("-idx", ".idx"), "test": ("t10k", "test")}[called]
        write(place, {name.replace(old, new): array for name, array in made.items()}, zipped=zipped)
    else:
        write(place, made, called, zipped)
    (place / f"._{TRAIN_X}.gz").write_bytes(b"what a Mac leaves")
    found = idx_files.folder_bytes(place)
    assert all(np.array_equal(found[name], made[name]) for name in made)


def test_files_zipped_and_as_they_are_count_once(folder: Path):
    write(folder, arrays(), zipped=False)
    assert idx_files.digest(idx_files.folder_bytes(folder)) == idx_files.digest(arrays_as_bytes())


def arrays_as_bytes() -> dict[str, np.ndarray]:
    return {name: array.astype(np.uint8) for name, array in arrays().items()}


def spoiled(folder: Path, name: str, array: np.ndarray) -> None:
    write(folder, {name: array})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / f"{TRAIN_X}.gz").unlink(), f"own has no {TRAIN_X}: give a folder with MNIST's four files"),
        (
            lambda f: write(f, {TEST_X: arrays()[TEST_X]}, "kmnist-{}"),
            rf"own has kmnist-{TEST_X}.gz and {TEST_X}.gz for",
        ),
        (lambda f: (f / f"{TEST_Y}.gz").write_bytes(b"<html>"), rf"{TEST_Y}.gz is truncated or damaged"),
        (lambda f: (f / f"{TEST_Y}.gz").write_bytes(gzip.compress(b"")), rf"{TEST_Y}.gz is no whole IDX file of bytes"),
        (
            lambda f: (f / f"{TEST_Y}.gz").write_bytes(gzip.compress(idx_content(arrays()[TEST_Y])[:-1])),
            rf"{TEST_Y}.gz is no whole IDX file of bytes",
        ),
        (
            lambda f: (f / f"{TEST_Y}.gz").write_bytes(
                gzip.compress(b"\0\0\x0d\x01" + struct.pack(">i", 30) + bytes(120))
            ),
            rf"{TEST_Y}.gz is no whole IDX file of bytes",
        ),
        (lambda f: spoiled(f, TRAIN_X, np.zeros((120, 32, 32))), r"the train images are \(120, 32, 32\)"),
        (lambda f: spoiled(f, TRAIN_Y, np.zeros(119)), r"labels \(119,\): give one label for each image"),
        (lambda f: spoiled(f, TRAIN_Y, np.zeros((120, 1))), r"labels \(120, 1\): give images \(N, 28, 28\) and labels"),
        (lambda f: spoiled(f, TEST_Y, np.arange(30)), r"up to 29: the LeNets tell ten classes apart, 0 to 9"),
        (lambda f: spoiled(f, TRAIN_X, np.full((120, 28, 28), 7)), "all pixels of the training images are equal"),
    ],
)
def test_fault_is_named_in_one_line(spoil, message: str, folder: Path):
    spoil(folder)
    with pytest.raises(ReplicationError, match=message) as caught:
        datasets.idx(folder)
    assert "\n" not in str(caught.value)


def test_name_that_is_neither_data_nor_folder_is_named(tmp_path: Path, store: Path):
    for name in ("nowhere", "cifar10", "", 5, None):
        with pytest.raises(ReplicationError) as caught:
            datasets.named(name)
        expected = f"unknown data set {name!r}: give mnist, fashion_mnist or a folder of IDX files"
        assert str(caught.value) == expected
    with pytest.raises(ReplicationError, match=f"has no {TRAIN_X}"):
        datasets.named(str(tmp_path))
    with pytest.raises(ReplicationError, match=r"^unknown data set None: give mnist, fashion_mnist or a folder"):
        recipes.chains("lenet_5", profiles.get("smoke"), dataset=None)  # not the default, which a page would not name
    with pytest.raises(ReplicationError, match="'mnist' is for the LeNets: alexnet_32 has its own"):
        recipes.chains("alexnet_32", profiles.get("smoke"), dataset="mnist")


def keys(dataset: str = "") -> list[str]:
    given = {"dataset": dataset} if dataset else {}
    return [run.key for each in recipes.chains("lenet_5", profiles.get("smoke"), **given) for run in each]


def test_key_names_the_content_and_not_its_place(folder: Path, tmp_path: Path, store: Path):
    own, copied = keys(str(folder)), Path(shutil.copytree(folder, tmp_path / "copied"))
    write(copied, arrays(), zipped=False)
    assert keys(str(copied)) == own
    spoiled(folder, TEST_Y, np.zeros(30))  # other test labels alone
    other = keys(str(folder))
    assert not {*own} & {*other} and not {*own} & {*keys("mnist")}
    assert keys("mnist") == keys() and not {*keys("fashion_mnist")} & {*keys("mnist")}


def test_a_run_reads_the_folder_and_refuses_it_once_changed(folder: Path, store: Path):
    dense = replace(small_chain()[0], images=None, **datasets.named(str(folder)))
    record = execution.get_or_run(dense)
    assert record.run["dataset"] == "idx-" + idx_files.digest(arrays_as_bytes())
    assert [record.metrics[split]["images"] for split in ("validation", "test")] == [10, 30]
    assert str(folder) not in json.dumps(record.values)
    spoiled(folder, TEST_Y, np.zeros(30))
    datasets.load.cache_clear()
    with pytest.raises(ReplicationError, match=f"are no longer those of {dense.dataset}: give the folder again"):
        execution.get_or_run(replace(dense, seed=1))
    assert runs.get(dense).metrics == record.metrics
    with pytest.raises(
        ReplicationError, match="it is not known here where the files lie of idx-0123456789abcdef: give the"
    ):
        datasets.load("idx-0123456789abcdef")


def test_a_folder_that_has_moved_is_found_where_it_was_named_last(folder: Path, store: Path):
    (name,) = datasets.named(str(folder)).values()
    moved = folder.rename(folder.with_name("näxt"))
    with pytest.raises(ReplicationError, match=r"cannot read .*own"):
        datasets.load(name, 7)
    assert {"dataset": name} == datasets.named(str(moved))
    assert len(datasets.load(name, 7).train.y) == 7


@pytest.mark.parametrize(("notebook", "claims"), [("table2_lenet_300_100", "C01"), ("table3_lenet_5", "C02")])
def test_page_of_other_images_says_so_and_judges_no_claim(notebook: str, claims: str, folder: Path, tmp_path: Path):
    out, runs_folder = tmp_path / "out.ipynb", tmp_path / "runs"
    parameters = ["-p", "profile", "smoke", "-p", "seeds", "1", "-p", "rounds", "1", "-p", "dataset", str(folder)]
    subprocess.run(
        [sys.executable, "-m", "papermill", paths.NOTEBOOKS / f"{notebook}.ipynb", out, *parameters, "-k", "python3"],
        env=os.environ | {"REPLICATION_RUNS": str(runs_folder), "REPLICATION_BOOK": str(tmp_path / "book")},
        cwd=paths.ROOT,
        check=True,
        capture_output=True,
    )
    text = "".join(str(cell.get("outputs")) for cell in nbformat.read(out, as_version=4).cells)
    assert f"**Images: `{folder}`.** What is the paper's on this page, and the text, are about MNIST." in text
    assert "The claims are about MNIST: none is judged on other images." in text and f"{claims}: " not in text
    records = [json.loads(path.read_text()) for path in runs_folder.glob("*/record.json")]
    assert [record["run"]["dataset"] for record in records] == ["idx-" + idx_files.digest(arrays_as_bytes())] * 2


def unreachable(aside: Path):
    raise OSError("no route to host")


def other(aside: Path) -> dict[str, bytes]:
    return {name: gzip.compress(idx_content(array)) for name, array in arrays().items()}


def test_every_source_of_fashion_mnist_is_tried_and_every_problem_named(tmp_path: Path):
    sources = {"one": unreachable, "two": other, "three": lambda aside: idx_files.from_debian(aside, tmp_path)}
    with pytest.raises(ReplicationError) as caught:
        idx_files.fetch_fashion(tmp_path / "fashion", sources)
    message = str(caught.value)
    parts = (
        "one: no route to host",
        f"two: {TRAIN_X} is not the pinned one (SHA-256)",
        "three: [Errno 2] No such file",
    )
    assert all(part in message for part in parts)
    assert f"put {TRAIN_X}.gz, " in message and "\n" not in message
    assert [path.name for path in (tmp_path / "fashion").iterdir()] == [".lock"]


def test_sources_of_fashion_mnist_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, *_ = names = list(idx_files.SOURCES)
    assert names == ["torchvision's source", "Debian's package dataset-fashion-mnist"]
    made = arrays_as_bytes()
    pinned = {name: hashlib.sha256(idx_content(array)).hexdigest() for name, array in made.items()}
    monkeypatch.setattr(idx_files, "FASHION_SHA256", pinned)
    write(tmp_path / "debian", made)
    sources = {first: unreachable, "Debian": lambda aside: idx_files.from_debian(aside, tmp_path / "debian")}
    monkeypatch.setattr(idx_files, "SOURCES", sources)
    found = idx_files.fashion_bytes(tmp_path / "fashion")
    assert all(np.array_equal(found[name], made[name]) for name in made)
    monkeypatch.setattr(idx_files, "SOURCES", {})  # what is stored is not fetched again, by this or another process
    idx_files.fetch_fashion(tmp_path / "fashion")
    assert idx_files.digest(idx_files.fashion_bytes(tmp_path / "fashion")) == idx_files.digest(made)
    write(tmp_path / "fashion", {TEST_Y: np.zeros(30)})
    with pytest.raises(ReplicationError, match=f"{TEST_Y}.gz is altered .*: delete it to fetch it again"):
        idx_files.fashion_bytes(tmp_path / "fashion")


def test_a_place_that_is_no_folder_is_named(tmp_path: Path):
    (tmp_path / "fashion").write_text("")
    with pytest.raises(ReplicationError, match=r"cannot write .*fashion"):
        idx_files.fashion_bytes(tmp_path / "fashion")


@pytest.mark.skipif(not idx_files.DEBIAN.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_files_are_the_pinned_ones(tmp_path: Path):
    idx_files.fetch_fashion(tmp_path, {"Debian": idx_files.from_debian})
    found = idx_files.fashion_bytes(tmp_path)
    assert [array.shape for array in found.values()] == [(60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,)]
    assert np.bincount(found[TRAIN_Y]).tolist() == [6_000] * 10
    assert np.bincount(found[TEST_Y]).tolist() == [1_000] * 10
