"""The folders that variables name: an empty variable is none, a relative one means the same folder everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from replication import paths

FOLDERS = {"CIFAR": "data/cifar10", "RUNS": "data/runs", "NOTEBOOKS": "notebooks", "BOOK": "book", "TABLES": None}
NAME = """
import os, subprocess, sys
from replication import paths
print(getattr(paths, sys.argv[1]), flush=True)
if sys.argv[2:]:
    subprocess.run([sys.executable, *sys.argv[2:], sys.argv[1]], cwd=paths.ROOT, check=True)
"""


def named(name: str, value: str, cwd: Path) -> list[Path | None]:
    """What the folder is to a process in `cwd` and to one that it starts in the repository."""
    done = subprocess.run(
        [sys.executable, "-c", NAME, name, "-c", NAME],
        env=os.environ | {f"REPLICATION_{name}": value, "PYTHONPATH": str(paths.ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return [None if line == "None" else Path(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", FOLDERS)
def test_empty_variable_counts_as_unset(tmp_path: Path, name: str):
    default = FOLDERS[name] and paths.ROOT / FOLDERS[name]
    assert named(name, "", tmp_path) == [default, default]


@pytest.mark.parametrize("name", FOLDERS)
def test_relative_folder_is_the_same_to_every_process(tmp_path: Path, name: str):
    assert named(name, "own", tmp_path) == [tmp_path / "own"] * 2
