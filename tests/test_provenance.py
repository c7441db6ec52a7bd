"""Where the runs were computed, as the provenance page tells it."""

import pytest
from pages import functions

from replication.report import show
from replication.runs import Record


def record(key: str, processor: str, threads: int, seconds: float) -> Record:
    where = {"processor": processor, "threads": threads, "device": "cpu", "torch": "2.14.1"}
    when = {"finished": "2026-11-25T16:13:45+00:00", "seconds": seconds}
    run = {"network": "lenet_5", "seed": 100}
    return Record({"key": key, "run": run, "stage": "dense", "provenance": where | when})


def test_every_run_names_the_machine_that_computed_it():
    records = [record("a", "B", 1, 3_600), record("b", "A", 2, 900), record("c", "B", 1, 1_800)]
    page = functions("provenance")
    machines, runs = page.machine_table(records), page.run_table(records)
    assert list(runs.run) == ["a", "b", "c"] and set(runs.finished) == {"2026-11-25"}
    found = machines.set_index("machine").loc[runs.on]
    assert list(found.processor) == ["B", "A", "B"] and list(found.threads) == [1, 2, 1]
    assert dict(zip(machines.processor, machines.runs)) == {"A": 1, "B": 2}
    assert dict(zip(machines.processor, machines.hours)) == pytest.approx({"A": 0.25, "B": 1.5})
    assert page.summary(machines).startswith("**3 runs, 1.8 hours of 1 to 2 threads, or of a share in a card")
    assert "1.5 hours of 1 thread, or" in page.summary(machines[machines.threads == 1])


def test_precision_is_shown_where_a_record_notes_it():
    noted, earlier = record("a", "A", 1, 60), record("b", "A", 1, 60)
    noted.provenance["precision"] = "float32"
    machines = functions("provenance").machine_table([noted, earlier])
    assert sorted(machines.precision) == ["as the recipe says", "float32"]


def test_recorded_runs_are_told_from_those_computed_here(monkeypatch):
    records = [record("a", "B", 1, 120), record("b", "A", 2, 90), record("c", "B", 1, 60)]
    monkeypatch.setattr(show.store, "place", {"a": "recorded", "b": "local", "c": "shipped"}.get)
    text = show.recorded(records)
    assert "2 of this page's 3 runs, 3 minutes of computing on B" in text
    assert show.recorded([*records, *records]) == text  # the dense network of several chains is one run
    assert show.recorded(records[1:2]) == "All 1 runs of this page were computed by this installation."
