"""The store against what disks and second processes do: every damage is noticed, nothing is computed twice."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import small_chain

from replication import paths
from replication.data import paper
from replication.errors import ReplicationError
from replication.runs import Record, compute, execution, get, get_or_run, ship
from replication.runs.store import SPARSE, place, problems, ship_record, stored

ONE = """
import json
from conftest import small_chain
from replication.runs.execution import get_or_run
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


def test_a_damaged_record_stops_its_chain_and_no_other_run(store: Path):
    damaged, child = small_chain(rounds=1)
    other = small_chain(rounds=0, seed=1)[0]
    get_or_run(damaged)
    path = store / damaged.key / "record.json"
    path.write_text("{")
    lines: list[str] = []
    with pytest.raises(ReplicationError) as caught:
        compute([damaged, child, other], jobs=1, report=lines.append)
    assert str(caught.value).startswith(f"LeNet-300-100 seed 0 dense: {path} is damaged")
    assert "delete the folder" in str(caught.value) and path.read_text() == "{"
    assert get(child) is None and isinstance(get(other), Record)
    assert [line.split(":")[0] for line in lines] == [str(damaged), str(other)]


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


def test_shipping_again_replaces_the_shipped_run_and_nothing_else(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    models, run, moves, rename = tmp_path / "models", small_chain(rounds=0)[0], [], Path.rename
    monkeypatch.setattr(paths, "MODELS", models)
    monkeypatch.setattr(Path, "rename", lambda old, new: moves.append((old.parent, new.parent)) or rename(old, new))
    computed = get_or_run(run)
    first = ship(run)
    assert place(run.key) == "local" and get(run).values == computed.values
    shutil.rmtree(store / run.key)  # as in a fresh clone
    before = (models / run.key).stat().st_ino
    assert ship(run).values == first.values
    assert place(run.key) == "shipped" and get(run).values["weights"] == "float16"
    assert (models / run.key).stat().st_ino != before
    assert {each.name for each in models.iterdir()} == {run.key} and stored() == []
    assert all(old == new for old, new in moves)  # a rename does not reach another file system
    # what a process that was killed while shipping has left
    rename(models / run.key, models / f".old-{run.key}")
    (models / f".new-{run.key}").mkdir()
    assert ship(run).values == first.values
    assert {each.name for each in models.iterdir()} == {run.key} and stored() == []


def test_parent_without_weights_is_computed_once_for_two_children(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    parent, child = small_chain(rounds=1)
    monkeypatch.setattr(paths, "RECORDED", tmp_path / "recorded")
    get_or_run(parent)
    ship_record(parent.key)
    shutil.rmtree(store / parent.key)
    assert place(parent.key) == "recorded" and stored("recorded") == [parent.key]
    begun, start, held = [], execution._started, execution.store.lock

    @contextmanager
    def held_by_a_faster_process(key: str, patience: float = -1) -> Iterator[None]:
        monkeypatch.setattr(execution.store, "lock", held)
        get_or_run(parent, weights=True)
        with held(key, patience):
            yield

    monkeypatch.setattr(execution, "_started", lambda run, *rest: begun.append(run.key) or start(run, *rest))
    monkeypatch.setattr(execution.store, "lock", held_by_a_faster_process)
    get_or_run(child)
    assert begun == [parent.key, child.key]


def test_folders_of_other_names_are_no_runs(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("MODELS", "RECORDED"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    run = small_chain(rounds=0)[0]
    get_or_run(run)
    for name in ("notebooks", run.key.upper() + "x", run.key[:-1], run.key[:-1] + "g", f"{run.key}.old"):
        (store / name).mkdir()
    assert stored() == [run.key] and problems() == []


@pytest.mark.parametrize("other", [{"seed": 1}, {"network": "lenet_5"}])
def test_sparse_weights_of_another_run_are_damage(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: dict
):
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "RECORDED", tmp_path / "recorded")
    runs = [small_chain(rounds=1)[1], small_chain(rounds=1, **other)[1]]
    for run in runs:
        get_or_run(run)
        ship_record(run.key, weights=True)
    shutil.rmtree(store)
    assert stored("recorded") == sorted(run.key for run in runs) and problems() == []
    ours, others = (paths.RECORDED / run.key / SPARSE for run in runs)
    shutil.copy(others, ours)
    (problem,) = problems()
    assert problem.startswith(f"{ours} is damaged (it keeps other weights than its record says): restore it with `git")
    with pytest.raises(ReplicationError, match=f"^{ours} is damaged"):
        get(runs[0]).tensors()
