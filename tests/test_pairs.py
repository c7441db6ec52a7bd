"""Pairs: a recorded run is compared with the network that it started from, not with one computed anew."""

import pytest

from replication.claims.networks import CLAIMS
from replication.networks import TITLES
from replication.report import ablation_pages
from replication.runs import Record, Run, profiles, recipes, scheduler, spec
from replication.training import Training

DENSE = Run("lenet_5", 0, Training(1, 0.1))
LONGER = recipes.pruned(DENSE, 0, [Training(1, 0.01)], None)
PRUNED = recipes.pruned(DENSE, 0, [Training(1, 0.02)], None)


def scores(errors: int) -> dict:
    return {split: {"errors": errors, "images": 10_000} for split in ("validation", "test")}


def record(run: Run, errors: int, started: int | None = None, density: float = 1.0) -> Record:
    """A record with so many errors; started: those of its parent where it was computed."""
    layers = [{"layer": "fc1", "weights": 100, "weight_density": density}]
    metrics = scores(errors) | {"layers": layers} | ({} if started is None else {"parent": scores(started)})
    return Record({"key": run.key, "run": run.spec(), "metrics": metrics})


def test_a_parent_that_was_computed_anew_has_the_scores_that_its_recorded_child_found():
    here, child = record(DENSE, 90), record(LONGER, 80, started=70)
    start, same = spec.paired([here, child])
    assert (start.error(), start.error("validation")) == (0.7, 0.7)
    assert same is child and here.error() == 0.9 and start.layers.equals(here.layers)
    assert child.change(here) == pytest.approx(0.1)
    assert record(LONGER, 80).change(here) == pytest.approx(-0.1)  # older records have noted nothing


def test_runs_of_one_comparison_are_paired_as_they_are_read(monkeypatch: pytest.MonkeyPatch):
    stored = {DENSE.key: record(DENSE, 90), LONGER.key: record(LONGER, 80, started=70)}
    monkeypatch.setattr(scheduler, "compute", lambda plan: [stored[run.key] for run in plan])
    found = scheduler.computed({"lenet_5": [{"dense": DENSE, "dense, trained on": LONGER}], "alone": [DENSE]})
    assert [each.error() for each in found["lenet_5"][0].values()] == [0.7, 0.8]
    assert found["alone"][0].error() == 0.9
    change = ablation_pages.difference(found["lenet_5"], "dense, trained on", "dense")
    assert change.mean == pytest.approx(0.1)
    table = ablation_pages.table({"lenet_5": found["lenet_5"]})
    assert table.network.unique() == [TITLES["lenet_5"]] and table["change of error"].tolist() == pytest.approx(
        [0, 0.1]
    )


def test_a_recorded_control_is_judged_against_its_own_dense_network():
    k02 = next(claim for claim in CLAIMS if claim.id == "K02")
    chains = [[record(DENSE, 90), record(PRUNED, 95, density=0.05)]]
    measured = k02.measure(chains, {"lenet_5": [record(LONGER, 80, started=70)]})
    assert measured.comparisons[0].values.iloc[0].item() == pytest.approx(0.05 - 0.1)
    assert measured.ours == "pruned 0.95 %, dense and trained as long 0.80 % error"


def test_the_rounds_of_a_chain_are_paired(monkeypatch: pytest.MonkeyPatch):
    profile = profiles.get("laptop", 1)
    dense, first, second = recipes.chains("lenet_5", profile)[0]
    stored = [record(dense, 90), record(first, 80, started=70), record(second, 85, started=80)]
    monkeypatch.setattr(scheduler, "compute", lambda plan: stored)
    chain = recipes.records("lenet_5", profile)[0]
    assert [each.error() for each in chain] == [0.7, 0.8, 0.85]
