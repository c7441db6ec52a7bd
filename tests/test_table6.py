"""Table 6's rows of ours, on records made up."""

import math

import pytest
from pages import functions

from replication.runs import Record


def record(errors: int, density: float) -> Record:
    layers = [{"layer": "fc1", "weights": 900, "weight_density": density}]
    score = {split: {"errors": errors, "images": 10_000} for split in ("validation", "test")}
    return Record({"key": f"{errors}", "metrics": score | {"layers": layers}})


def test_rate_and_change_are_means_over_seeds_against_the_dense_network_of_each():
    bases = [record(1_400, 1.0), record(1_500, 1.0)]
    row = functions("table6_methods").method_row("SVD, 1/3", [record(1_500, 1 / 3), record(1_700, 1 / 3)], bases)
    assert row["method"] == "SVD, 1/3" and row["weights"] == pytest.approx(300)
    assert row["rate"] == pytest.approx(3) and row["test error % mean"] == pytest.approx(16)
    assert row["change of error"] == pytest.approx(1.5) and row["seeds"] == 2
    assert row["interval to"] - 1.5 == pytest.approx(12.706 * 0.5, rel=1e-3)  # Student's t, one degree of freedom


def test_network_without_weights_has_no_rate():
    row = functions("table6_methods").method_row("none", [record(9_000, 0.0)], [record(1_400, 1.0)])
    assert math.isnan(row["rate"])
