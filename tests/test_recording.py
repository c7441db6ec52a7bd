"""`record`: what is missing is computed and put among the records, a repetition goes on where it was stopped."""

from pathlib import Path

import pytest
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


def test_records_come_with_what_is_asked_for(chain: list[Run]):
    lines: list[str] = []
    recording.record(1, False, lines.append)
    assert lines[0].startswith("3 runs to compute, about ") and lines[-1].startswith("2 records lie in ")
    assert run_store.stored("recorded") == sorted(run.key for run in chain[1:])
    with_weights = [run.key for run in chain if (paths.RECORDED / run.key / run_store.SPARSE).exists()]
    assert with_weights == [chain[2].key]
    recording.record(1, False, lines.append)
    assert len(lines) == 6  # two more: nothing was computed


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
    there = sorted(record.metrics["history"][-1]["seconds"] / 300 for record in records)
    monkeypatch.setattr(recording, "_per_image", lambda run: sum(there))  # twice the median of these two
    recorded = sum(record.provenance["seconds"] for record in records)
    assert recording.expected(chain[1:]) == pytest.approx(2 * recorded)
    assert recording.expected(chain) == pytest.approx(2 * recorded + 300 * sum(there))  # the first by its one epoch
    assert len(datasets.load("mnist", 300).train.y) == 300
