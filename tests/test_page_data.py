"""The files behind the pages: the build's kernels alone write them; a notebook that is run by hand leaves the book."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure

from replication import paths
from replication.commands import rendering
from replication.report import show

TABLE = pd.DataFrame({"layer": ["fc1", "é"], "kept %": [7.75, 22.0]})


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the page displays, as HTML."""
    said: list[str] = []
    monkeypatch.setattr(show, "display", lambda each: said.append(getattr(each, "data", "")))
    return said


def tables(environment: dict[str, str]) -> str:
    """paths.TABLES of a process with these variables."""
    done = subprocess.run(
        [sys.executable, "-c", "from replication import paths; print(paths.TABLES)"],
        env={k: v for k, v in os.environ.items() if k != "REPLICATION_TABLES"} | environment,
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_by_hand_nothing_is_written_and_no_link_is_shown(shown: list[str], monkeypatch, tmp_path: Path):
    monkeypatch.setattr(paths, "TABLES", None)
    monkeypatch.setattr(paths, "LINKED", tmp_path / "book" / "data")
    monkeypatch.chdir(tmp_path)
    show.show_table(TABLE, "name")
    show.show_figure((Figure(), TABLE, "Nothing."), "name")
    assert show.write("{}", "name.json") == ""
    assert ">22</span>.0<" in shown[0] and not any("href" in each for each in shown)
    assert not list(tmp_path.iterdir())


def test_file_that_is_linked_holds_the_table(shown: list[str], monkeypatch, tmp_path: Path):
    monkeypatch.setattr(paths, "TABLES", tmp_path / "data")
    show.show_table(TABLE, "name")
    show.show_figure((Figure(), TABLE, "Nothing."), "figure")
    assert sum('href="../data/name.csv"' in each for each in shown) == 1
    assert sum('href="../data/figure.csv"' in each for each in shown) == 1
    for name in ("name", "figure"):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "data" / f"{name}.csv"), TABLE)
    assert (tmp_path / "data" / "name.csv").read_bytes() == "layer,kept %\nfc1,7.75\né,22.0\n".encode()


def test_only_the_build_names_the_folder(tmp_path: Path):
    book = {"REPLICATION_BOOK": str(tmp_path)}
    assert tables(book) == "None"
    assert tables(book | {"REPLICATION_TABLES": ""}) == "None"
    assert tables(book | {"REPLICATION_TABLES": str(tmp_path / "own")}) == str(tmp_path / "own")
    assert rendering.VARIABLES["REPLICATION_TABLES"] == str(paths.LINKED)


def test_no_notebook_writes_past_it():
    for source in paths.NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(source, as_version=4).cells:
            assert not any(word in cell.source for word in ("TABLES", "LINKED", "write_text", "to_csv", "savefig"))
