"""Means, deviations and intervals over seeds, against values worked out by hand."""

import math

import pandas as pd
import pytest

from replication.claims import summarise
from replication.report import tables


def test_summary_of_three_seeds():
    found = summarise([1.0, 2.0, 6.0])
    assert (found.mean, found.n) == (3.0, 3)
    assert found.sd == pytest.approx(math.sqrt(7))
    # Student's t with 2 degrees of freedom: 4.302653
    assert found.high - found.mean == pytest.approx(4.302653 * math.sqrt(7 / 3), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_one_seed_has_a_mean_alone():
    found = summarise([2.5])
    assert found.mean == 2.5 and found.n == 1
    assert all(math.isnan(value) for value in (found.sd, found.low, found.high))


def test_groups_over_seeds_keep_their_order_and_their_columns():
    rows = [("round 2", "fc", 2.0, 8.0), ("round 1", "fc", 1.0, 5.0), ("round 2", "fc", 4.0, 8.0)]
    frame = pd.DataFrame(rows, columns=["stage", "layer", "rate", "error"])
    table = tables.over_seeds(frame, ["stage", "layer"], ["error", "rate"])
    assert list(table) == ["stage", "layer", "error mean", "error sd", "rate mean", "rate sd"]
    assert table.stage.tolist() == ["round 2", "round 1"] and table.layer.tolist() == ["fc", "fc"]
    assert table["rate mean"].tolist() == [3.0, 1.0] and table["error mean"].tolist() == [8.0, 5.0]
    assert table["rate sd"].tolist() == pytest.approx([math.sqrt(2), math.nan], nan_ok=True)
    assert table["error sd"].tolist() == pytest.approx([0.0, math.nan], nan_ok=True)
