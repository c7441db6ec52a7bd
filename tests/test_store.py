"""The store against what disks and second processes do: every damage is noticed, nothing is computed twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import small_chain

from replication import paths
from replication.claims import paper
from replication.errors import ReplicationError
from replication.runs import Record, compute, get, get_or_run

ONE = """
import json
from conftest import small_chain
from replication.execution import get_or_run
print(json.dumps(get_or_run(small_chain(rounds=0)[0]).values))
"""


def test_two_processes_that_want_a_run_get_the_same_one(store: Path):
    """The seconds that a run took are measured, so two computations would hardly agree on them."""
    options = {"cwd": Path(__file__).parent, "stdout": subprocess.PIPE, "text": True}
    start = [sys.executable, "-c", ONE]
    with subprocess.Popen(start, **options) as one, subprocess.Popen(start, **options) as other:
        first, second = json.loads(one.communicate()[0]), json.loads(other.communicate()[0])
    assert first == second == get(small_chain(rounds=0)[0]).values
    assert {path.suffix for path in store.glob("*/*") if path.parent.name != ".locks"} == {".json", ".safetensors"}


def test_any_altered_byte_of_a_record_is_noticed(store: Path):
    run = small_chain(rounds=0)[0]
    get_or_run(run)
    path, unnoticed = store / run.key / "record.json", []
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            get(run)
        except ReplicationError as error:
            assert str(error).startswith(f"{path} is damaged")
        else:
            unnoticed.append(content[position - 10 : position + 10])
    assert not unnoticed


@pytest.mark.parametrize("name", ["record.json", "weights.safetensors"])
def test_damaged_run_is_mended_by_computing_it_afresh(store: Path, name: str):
    run = small_chain(rounds=0)[0]
    get_or_run(run)
    path = store / run.key / name
    weights = (store / run.key / "weights.safetensors").read_bytes()
    path.write_bytes(path.read_bytes()[:100])
    get_or_run(run, fresh=True).tensors()
    assert (store / run.key / "weights.safetensors").read_bytes() == weights
    assert {each.name for each in store.iterdir()} == {".locks", run.key}


def test_damaged_parent_stops_its_child_and_no_other_chain(store: Path):
    parent, child = small_chain(rounds=1)
    other = small_chain(rounds=0, seed=1)[0]
    get_or_run(parent)
    path = store / parent.key / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReplicationError) as caught:
        compute([child, other], jobs=1)
    assert str(caught.value).startswith(f"LeNet-300-100 seed 0 round 1: {path} is damaged")
    assert get(child) is None
    assert isinstance(get(other), Record)


def test_store_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "file" / "runs")
    with pytest.raises(ReplicationError, match=r"cannot write .*/file/runs/.*set REPLICATION_RUNS to another folder"):
        get_or_run(small_chain(rounds=0)[0])


@pytest.mark.parametrize("name", sorted(path.stem for path in paths.PAPER.glob("*.csv")))
@pytest.mark.parametrize("left", [0.0, 0.5])
def test_truncated_file_of_the_paper_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, left: float):
    shutil.copytree(paths.PAPER, tmp_path / "paper")
    path = tmp_path / "paper" / f"{name}.csv"
    content = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content[: int(left * len(content))])
    monkeypatch.setattr(paths, "PAPER", tmp_path / "paper")
    paper.read.cache_clear()
    try:
        with pytest.raises(ReplicationError, match=rf"{name}\.csv .*git checkout -- data/paper"):
            paper.read(name)
    finally:
        paper.read.cache_clear()
