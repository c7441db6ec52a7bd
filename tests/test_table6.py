"""Table 6's rows of ours, on records made up."""

import math

import pytest
from pages import functions

from replication.runs import Record


def record(errors: int, density: float) -> Record:
    layers = [{"layer": "fc1", "weights": 900, "weight_density": density}]
    return Record({"metrics": {"test": {"errors": errors, "images": 10_000}, "layers": layers}})


def test_rate_and_change_are_those_against_the_dense_network():
    row = functions("table6_methods").method_row("SVD, 1/3", record(1_500, 1 / 3), record(1_400, 1.0))
    assert row["method"] == "SVD, 1/3" and row["weights"] == pytest.approx(300)
    assert row["rate"] == pytest.approx(3) and row["test error %"] == 15 and row["change of error"] == pytest.approx(1)


def test_network_without_weights_has_no_rate():
    assert math.isnan(functions("table6_methods").method_row("none", record(9_000, 0.0), record(1_400, 1.0))["rate"])
