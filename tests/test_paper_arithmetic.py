"""The paper's own arithmetic: ranges hold what they should, known disagreements are found, altered numbers as well."""

import itertools
import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.claims import paper
from replication.report import layer_arithmetic, paper_arithmetic, rounding, text_arithmetic
from replication.report.rounding import Range, agree, exact, printed, reach

READ = paper.read
DISAGREE = {  # what is printed where: recomputed minus printed
    ("Table 1, LeNet-300-100", 267_000): -1_000,
    ("Table 5's caption", 12): 13.333 - 12,
    ("Table 2's caption", 12): 1.302,
    ("Table 4, total", 1.5e9): -51_186_368,
    ("Table 4, conv4", 663_000): 552,
    ("Table 5, conv2_2", 148_000): -544,
    ("section 5", 2): 1,
    ("section 5", 9): 1,
    ("section 1", 60e6): 1e6,
}


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return paper_arithmetic.table()


def wrong(table: pd.DataFrame) -> set[str]:
    return set(table[table.verdict == "disagrees"].what)


def test_known_disagreements_and_no_others_are_found_with_their_amount(found):
    rows = found[found.verdict == "disagrees"]
    overheads = rows[rows.printed == 15.6]
    assert overheads.recomputed.tolist() == pytest.approx([16.82, 19.90], abs=0.01)
    others = rows.drop(overheads.index)
    assert dict(zip(zip(others["where"], others.printed), others.difference)) == pytest.approx(DISAGREE, rel=1e-3)
    shown = paper_arithmetic.disagreements(found)
    assert len(shown) == len(rows) and (shown.why.str.len() > 20).all()


def test_flop_density_of_all_31_layers_is_the_product_within_a_point(found):
    rows = found[found.group == "FLOP density by layer"]
    assert len(rows) == 31
    assert (rows.difference.abs() < 1).all() and (rows.verdict == "agrees").all()


def test_numbers_of_the_paper_that_come_out(found):
    values = found.set_index("what")
    assert values.recomputed["power of the example network for DRAM access"] == pytest.approx(12.8)
    assert values.recomputed["storage overhead of the sparse matrices (FC layers)"] == 15.625
    assert values.recomputed["VGG-16: parameters after"] == pytest.approx(10.53e6, rel=1e-3)
    for network, density in (("LeNet-300-100", 46.1), ("LeNet-5", 76.9), ("AlexNet", 54.0), ("VGG-16", 64.2)):
        assert values.recomputed[f"{network}: activation density"] == pytest.approx(density, abs=0.05)
    assert values.verdict["VGG-16: rate"] == values.verdict["AlexNet: total of FLOPs"] == "agrees"


def test_every_range_holds_its_value(found):
    assert ((found["from"] <= found.recomputed) & (found.recomputed <= found.to)).all()
    assert (found[found.rounds].verdict == "agrees").all()


@pytest.mark.parametrize(
    ("file", "row", "column", "value", "what"),
    [
        ("table4_alexnet", 6, "flop_density_pct", 4, "AlexNet fc2: FLOP density"),
        ("table3_lenet5", 4, "weights", 433_000, "LeNet-5: total of weights"),
        ("table5_vgg16", 16, "activation_density_pct", 66, "VGG-16: activation density"),
        ("table2_lenet300", 1, "flop", 61_000, "LeNet-300-100 fc2: FLOPs"),
        ("table1_networks", 5, "parameters", 6_200_000, "AlexNet: rate"),
        ("table6_methods", 5, "compression_rate", 4.6, "Naive Cut: rate"),
        ("figure1_energy", 6, "energy_pj", 650, "power of the example network for DRAM access"),
    ],
)
def test_an_altered_number_is_flagged(found, monkeypatch, file, row, column, value, what):
    altered = READ(file).copy()
    altered[column] = altered[column].astype(float)
    altered.loc[row, column] = value
    monkeypatch.setattr(paper, "read", lambda name: altered if name == file else READ(name))
    assert what in wrong(paper_arithmetic.table()) - wrong(found)


def test_stated_numbers_are_whole_digits_and_each_is_used(monkeypatch):
    stated = paper.stated()
    assert stated.index.is_unique and set(stated.precision) == {"rounded", "below", "exact"}
    assert ((stated.precision == "exact") == stated.digit.isna()).all()
    steps = (stated.value / stated.digit).dropna()
    assert (steps - steps.round()).abs().max() < 1e-9
    asked, plain = set(), text_arithmetic.given
    for module in (text_arithmetic, paper_arithmetic):
        monkeypatch.setattr(module, "given", lambda name: asked.add(name) or plain(name))
    paper_arithmetic.checks()
    paper_arithmetic.errors()
    assert asked == set(stated.index)


def test_errors_are_counted_in_images_beside_their_standard_error():
    rows = paper_arithmetic.errors()
    assert rows.images.tolist() == [-5, -3, -5, -30, -80, -220]
    assert rows["standard error (points)"][0] == pytest.approx(0.127, abs=5e-4)
    assert "5 images of 10,000" in paper_arithmetic.on_errors(rows)


def test_the_count_adds_up(found):
    text = paper_arithmetic.closing(found)
    assert f"{len(found)} recomputations" in text and f"{(found.verdict == 'disagrees').sum()} disagree" in text
    drawing, rows = paper_arithmetic.glance(found)
    assert len(rows) == len(found) - 5  # `less than`: no ratio
    assert len(drawing.axes[0].texts) == (found.verdict == "disagrees").sum()


boxes = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 0.09)), min_size=2, max_size=8).filter(
    lambda pairs: len(pairs) % 2 == 0
)


@settings(max_examples=60, deadline=None)
@given(boxes, st.data())
def test_no_point_within_the_roundings_leaves_the_range(pairs, data):
    inputs = [printed(value, digit) for value, digit in pairs]
    half = len(inputs) // 2
    point = [data.draw(st.floats(each.low, each.high)) for each in inputs]

    def average(*x: float) -> float:
        return sum(a * b for a, b in zip(x[:half], x[half:])) / sum(x[:half])

    for function in (average, lambda *x: sum(x), lambda *x: x[0] / x[1], lambda *x: x[0] - x[-1], math.hypot):
        found, slack = reach(function, inputs), 1e-9 * max(1, abs(function(*point)))
        assert found.low - slack <= function(*point) <= found.high + slack
        corners = [function(*corner) for corner in itertools.product(*((each.low, each.high) for each in inputs))]
        assert (found.low, found.high) == pytest.approx((min(corners), max(corners)))


@given(st.integers(1, 10**6), st.sampled_from([0.01, 0.1, 1.0, 1e3, 1e6]), st.floats(-0.499, 0.499))
def test_a_number_agrees_with_all_that_round_to_it(count, digit, off):
    number = printed(count * digit, digit)
    assert agree(number, exact((count + off) * digit))
    assert not agree(number, exact((count + off + (1.001 if off >= 0 else -1.001)) * digit))


def test_neighbours_share_an_end_and_disagree():
    assert not agree(printed(267, 1), printed(266, 1))
    assert agree(printed(431, 1), exact(430.5))
    assert agree(rounding.below(4, 1), Range(4, 3.5, 4.5)) and not agree(rounding.below(4, 1), Range(5, 4.5, 5.5))


@pytest.mark.parametrize(
    ("value", "digit", "shown"),
    [(267e3, 1e3, "267K"), (6.7e6, 1e5, "6.7M"), (61e6, 1e6, "61M"), (30.9e9, 1e8, "30.9G"), (1e6, 1e6, "1M")]
    + [(500, 100, "0.5K"), (2e8, 1e8, "0.2G"), (925e6, 1e6, "925M"), (3.2e6, 1e3, "3,200K"), (30e3, 1e3, "30K")],
)
def test_counts_have_the_digits_that_the_paper_prints(value, digit, shown):
    assert layer_arithmetic.count(value).digit == digit
    assert rounding.text(value, "weights", digit) == shown


@pytest.mark.parametrize(("value", "digit"), [(38.0, 1), (7.5, 0.1), (0.9, 0.1), (3.7, 0.1), (640, 1), (1.64, 0.01)])
def test_last_digit(value, digit):
    assert rounding.last_digit(value) == digit
