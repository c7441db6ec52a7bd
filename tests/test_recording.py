"""`record`: what is missing is computed and put among the records, a repetition goes on where it was stopped."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import small_chain

from replication import paths
from replication.claims import registry
from replication.commands import recording
from replication.data import datasets
from replication.errors import ReplicationError
from replication.runs import Record, Run, get_or_run, scheduler
from replication.runs import store as run_store


@pytest.fixture
def chain(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A small chain as all that is recorded, into a folder of its own."""
    runs = small_chain(rounds=2)
    monkeypatch.setattr(paths, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(registry, "recorded", lambda _: runs[1:])
    monkeypatch.setattr(registry, "with_sparse_weights", lambda _: {runs[2].key})
    return runs


def test_records_come_with_what_is_asked_for(chain: list[Run], monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []
    recording.record(1, False, lines.append)
    assert lines[0].startswith("3 runs to compute, about ") and lines[-1].startswith("2 records lie in ")
    assert run_store.stored("recorded") == sorted(run.key for run in chain[1:])
    with_weights = [run.key for run in chain if (paths.RECORDED / run.key / run_store.SPARSE).exists()]
    assert with_weights == [chain[2].key]
    recording.record(1, False, lines.append)
    assert lines[5:] == [f"2 records lie in {paths.RECORDED}; none was missing"]
    shutil.rmtree(paths.RUNS)  # as in a fresh clone, where what the records build on is missing
    monkeypatch.setattr(datasets, "load", None)
    recording.record(1, False, lines.append)
    assert lines[6:] == lines[5:6] and not list(paths.RUNS.glob("*"))


def test_a_stopped_repetition_keeps_what_it_has_and_goes_on(chain: list[Run], monkeypatch: pytest.MonkeyPatch):
    recording.record(1, False, lambda _: None)
    before = {run.key: run_store.load_record(run.key)["provenance"]["finished"] for run in chain}

    def stop_after_first(plan, jobs, since, report):
        get_or_run(chain[0], fresh=True)
        get_or_run(chain[1], fresh=True)
        raise ReplicationError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(scheduler, "compute", stop_after_first)
        with pytest.raises(ReplicationError, match="stopped"):
            recording.record(1, True, lambda _: None)
    local, shipped = (home / chain[1].key / run_store.RECORD for home in (paths.RUNS, paths.RECORDED))
    assert shipped.read_bytes() == local.read_bytes() and before[chain[1].key] not in shipped.read_text()
    lines: list[str] = []
    recording.record(1, True, lines.append)
    assert lines[0].startswith("1 runs to compute") and len(lines) == 3
    after = {run.key: run_store.load_record(run.key)["provenance"]["finished"] for run in chain}
    assert all(after[key] > before[key] for key in before)
    recording.record(1, True, lines.append)  # that one has ended: all of it once more
    assert lines[3].startswith("3 runs to compute")


def test_expected_time_is_that_of_the_records_by_the_speed_here(chain: list[Run], monkeypatch: pytest.MonkeyPatch):
    recording.record(1, False, lambda _: None)
    records = [Record(run_store.load_record(run.key)) for run in chain[1:]]
    there = [record.metrics["history"][-1]["seconds"] / 300 for record in records]
    monkeypatch.setattr(recording, "_per_image", lambda run: 2 * there[0])
    took = [record.provenance["seconds"] for record in records]
    again = 2 * took[0] + 2 * took[1] * there[0] / there[1]
    assert recording.expected(chain[1:]) == pytest.approx(again)
    assert recording.expected(chain) == pytest.approx(again + 300 * 2 * there[0])  # the first by its one epoch


def test_expected_time_asks_for_no_data_that_is_not_missing(chain: list[Run], monkeypatch: pytest.MonkeyPatch):
    recording.record(1, False, lambda _: None)
    load, path = run_store.load_record, paths.RECORDED / chain[1].key
    shutil.copytree(path, path.with_name("f" * 16))

    def of_fashion(key: str) -> dict:
        record = load(chain[1].key if key == "f" * 16 else key)
        return (
            record | {"run": record["run"] | {"dataset": "fashion_mnist", "images": None}} if key[0] == "f" else record
        )

    monkeypatch.setattr(run_store, "load_record", of_fashion)
    monkeypatch.setattr(recording, "_per_image", lambda run: 1.0)
    monkeypatch.setattr(datasets, "load", None)
    assert recording.expected(chain[1:]) > 0


def test_what_a_missing_run_starts_from_is_computed_where_it_has_no_weights(chain: list[Run]):
    dense, first, second = chain
    get_or_run(first)
    run_store.ship_record(first.key)
    shutil.rmtree(paths.RUNS)
    assert scheduler.missing([first]) == [] and scheduler.missing([second, first, dense]) == chain
    assert scheduler.missing([first], since="2") == [] and scheduler.missing([first], since="9") == chain[:2]
    lines: list[str] = []
    scheduler.compute([first, second], jobs=2, report=lines.append)
    assert [line.split(":")[0] for line in lines] == [str(run) for run in chain]
    assert run_store.stored() == sorted(run.key for run in chain) and scheduler.missing(chain) == []
    shutil.rmtree(paths.RUNS / dense.key)
    assert scheduler.missing([second]) == [] and scheduler.missing([second, dense]) == [dense]


def test_speed_here_is_that_of_a_run_alone_on_its_threads(chain: list[Run], monkeypatch: pytest.MonkeyPatch):
    threads, train = [], recording.train

    def watched(*arguments):
        threads.append(torch.get_num_threads())
        return train(*arguments)

    monkeypatch.setattr(recording, "train", watched)
    monkeypatch.setenv("REPLICATION_THREADS", "2")
    assert recording._per_image(chain[0]) > 0
    assert threads == [2, 2] and torch.get_num_threads() == 1  # which conftest has set
    assert len(datasets.load("mnist", 300).train.y) == 300


def test_what_a_faster_machine_recorded_is_expected_to_take_as_long_here(chain: list[Run], monkeypatch):
    recording.record(1, False, lambda _: None)
    load = run_store.load_record
    here = [load(run.key)["metrics"]["history"][-1]["seconds"] / 300 for run in chain[1:]]
    took = [load(run.key)["provenance"]["seconds"] for run in chain[1:]]

    def on_a_card(key: str) -> dict:
        record = load(key)
        if key == chain[2].key:  # the same, ten times as fast
            record["provenance"] |= {"device": "cuda", "processor": "a card", "seconds": took[1] / 10}
            record["metrics"]["history"][-1]["seconds"] = here[1] * 300 / 10
        return record

    monkeypatch.setattr(run_store, "load_record", on_a_card)
    monkeypatch.setattr(recording, "_per_image", lambda run: 2 * here[0])
    assert recording.expected(chain[1:2]) == pytest.approx(2 * took[0])
    assert recording.expected(chain[2:]) == pytest.approx(2 * here[0] * took[1] / here[1])
