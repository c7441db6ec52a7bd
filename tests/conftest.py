"""What the tests share: a store of their own, the commands as a reader types them, and small data."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import photos
import pytest
import torch
from bs4 import BeautifulSoup
from filelock import FileLock

from replication import paths
from replication.data import Split
from replication.pruning import Pruning
from replication.runs import Run
from replication.training import Training

torch.set_num_threads(1)
DEVICE = os.environ.setdefault("REPLICATION_DEVICE", "cpu")  # cuda: the same tests on a graphics card
IMAGES = 300  # of each split, in runs that tests compute
MADE = ("_build", "pages", "extra")  # by a build; the copy of a book starts without


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of runs, in this process and in those that it starts."""
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("REPLICATION_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess]:
    """`command("verify", runs=folder)` runs `python -m replication verify` on that store; book: the book's folder."""

    def run(*arguments: str, runs: Path, book: Path | None = None, cwd: Path = paths.ROOT, **variables: str):
        environment = os.environ | {
            "REPLICATION_RUNS": str(runs),
            "REPLICATION_BOOK": str(book or runs.parent / "book"),
        }
        return subprocess.run(
            [sys.executable, "-m", "replication", *arguments],
            env=environment | variables,
            cwd=cwd,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def one_line() -> Callable[[subprocess.CompletedProcess], str]:
    """The error message of a command that failed; fails unless it is a single line and the exit code is 1."""

    def error(done: subprocess.CompletedProcess) -> str:
        lines = done.stderr.strip().splitlines()
        assert done.returncode == 1, done.stderr
        assert len(lines) == 1, done.stderr
        return lines[0]

    return error


def small_chain(
    rounds: int = 2, seed: int = 0, network: str = "lenet_300_100", images: int = IMAGES, learning_rate: float = 0.1
) -> list[Run]:
    """A dense run of one epoch on few images and its rounds of pruning."""
    training = Training(epochs=1, learning_rate=learning_rate, batch_size=16)
    rule = Pruning(damage=0.1, grid=(0.0, 0.5, 1.0, 1.5))
    runs = [Run(network, seed, training, images=images)]
    for _ in range(rounds):
        runs.append(Run(network, seed, training, rule, runs[-1], images=images))
    return runs


@pytest.fixture
def blobs() -> Split:
    """Two classes of points in six dimensions, 50 each, that a plane parts."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(100) % 2
    x = torch.randn(100, 6, generator=generator)
    x[:, 0] = x[:, 0].abs().add(0.5) * (2 * y - 1)
    return Split(x, y)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a few hundred JPEG photographs in 10 classes, in ImageNet's layout; for reading only."""
    return photos.make(tmp_path_factory.mktemp("photographs"))


class Book(NamedTuple):
    """A built book: its folder, the store it was made from, and what the command said."""

    folder: Path
    runs: Path
    done: subprocess.CompletedProcess

    @property
    def html(self) -> Path:
        return self.folder / "_build" / "html"

    def pages(self) -> dict[Path, BeautifulSoup]:
        """Every page for readers, parsed."""
        files = [path for path in sorted(self.html.rglob("*.html")) if "_static" not in path.parts]
        return {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory, command) -> Book:
    """The book at the smoke profile, built once for all tests, in whatever process they are; for reading only."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "smoke"
    shared.mkdir(exist_ok=True)
    folder, said = shared / "book", shared / "said.json"
    with FileLock(shared / "lock"):
        if not said.exists():
            shutil.copytree(paths.BOOK, folder, ignore=shutil.ignore_patterns(*MADE))
            done = command("build", "--profile", "smoke", runs=shared / "runs", book=folder)
            said.write_text(json.dumps([done.args, done.returncode, done.stdout, done.stderr]))
    return Book(folder, shared / "runs", subprocess.CompletedProcess(*json.loads(said.read_text())))
