"""The paper's own arithmetic: intervals hold what they should, known disagreements are found, altered numbers too."""

import itertools
import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import functions

from replication.data import paper
from replication.errors import ReplicationError

READ = paper.read
PAGE = functions("paper_arithmetic")
Interval, exact, printed, below = PAGE.Interval, PAGE.exact, PAGE.printed, PAGE.below
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
ENDS = {  # the smallest and largest possible value, found by moving each source from end to end of its rounding
    "LeNet-300-100: parameters after": (20_445.0, 23_107.0),
    "AlexNet: rate": (8.962962962962964, 9.24812030075188),
    "VGG-16: rate by layers": (12.32561863743003, 14.0584038870585),
    "LeNet-5's computation reduced by (columns)": (6.007160519620695, 6.35965543314752),
    "VGG-16's computation reduced by (columns)": (4.732598573601366, 4.95221881261473),
    "storage and computation reduced by this many orders of magnitude (weights)": (
        0.952451601821444,
        0.9660534704723122,
    ),
    "VGG-16's size after pruning": (7.40072202166065, 7.527272727272727),
    "LeNet-300-100: total of FLOPs": (530_500.0, 533_500.0),
    "LeNet-5: activation density": (76.41169451073986, 77.41169451073986),
    "AlexNet fc2: FLOP density": (3.0175, 3.4675),
    "naive cut loses accuracy by": (4.3899999999999935, 4.410000000000004),
    "32 bit SRAM Cache: relative cost": (29.999999999999996, 110.0),
    "memory access costs this many orders of magnitude more than simple arithmetic": (
        2.74930137734921,
        2.887773725617312,
    ),
    "storage overhead of the sparse matrices (AlexNet)": (16.755134407660822, 16.886349836620486),
    "storage overhead of the sparse matrices (VGG-16)": (19.63267032780463, 20.207812276376636),
    "rate at the leftmost point of the iterative curve": (7.407407407407407, 8.0),
    "AlexNet's top-1 accuracy": (57.215, 57.225),
}


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return PAGE.recompute()


def wrong(table: pd.DataFrame) -> set[str]:
    return set(table[table.verdict == "disagrees"].what)


def test_known_disagreements_and_no_others_are_found_with_their_amount(found):
    rows = found[found.verdict == "disagrees"]
    overheads = rows[rows.printed == 15.6]
    assert overheads.recomputed.tolist() == pytest.approx([16.82, 19.90], abs=0.01)
    others = rows.drop(overheads.index)
    assert dict(zip(zip(others["where"], others.printed), others.difference)) == pytest.approx(DISAGREE, rel=1e-3)
    shown = PAGE.disagreements(found)
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


def test_ends_of_each_kind_of_formula(found):
    rows = found.set_index("what")
    assert dict(zip(ENDS, rows.loc[list(ENDS), ["from", "to"]].itertuples(index=False, name=None))) == {
        what: pytest.approx(ends, rel=1e-12) for what, ends in ENDS.items()
    }


def test_every_interval_holds_its_value(found):
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
    assert what in wrong(PAGE.recompute()) - wrong(found)


def test_stated_numbers_are_whole_digits_and_each_is_used(monkeypatch):
    stated = paper.stated()
    assert stated.index.is_unique and set(stated.precision) == {"rounded", "below", "exact"}
    assert ((stated.precision == "exact") == stated.digit.isna()).all()
    steps = (stated.value / stated.digit).dropna()
    assert (steps - steps.round()).abs().max() < 1e-9
    asked, plain = set(), PAGE.stated_value
    monkeypatch.setitem(PAGE.recompute.__globals__, "stated_value", lambda name: asked.add(name) or plain(name))
    PAGE.recompute()
    PAGE.errors()
    assert asked == set(stated.index)


def test_errors_are_counted_in_images_beside_their_standard_error():
    rows = PAGE.errors()
    assert rows.images.tolist() == [-5, -3, -5, -30, -80, -220]
    assert rows["standard error (points)"][0] == pytest.approx(0.127, abs=5e-4)
    assert "5 images of 10,000" in PAGE.on_errors(rows)


def test_the_count_adds_up(found):
    text = PAGE.closing(found)
    assert f"{len(found)} recomputations" in text and f"{(found.verdict == 'disagrees').sum()} disagree" in text
    drawing, rows, _ = PAGE.glance(found)
    assert len(rows) == len(found) - 5  # `less than`: no ratio
    assert len(drawing.axes[0].texts) == (found.verdict == "disagrees").sum()


FORMULAS = (  # in plain numbers and in intervals; none takes an input twice
    lambda *x: sum(weight * each for weight, each in enumerate(x, 1)) / sum(range(1, len(x) + 1)),
    lambda *x: sum(a * b for a, b in zip(x[::2], x[1::2])) / 100,
    lambda *x: sum(x),
    lambda *x: 100 * x[0] / x[1],
    lambda *x: 1e4 * 7 / sum(5 * each for each in x),
    lambda *x: x[0] - x[-1],
    lambda *x: 100 / (200 - x[0]),
    lambda *x: 8 - 3 / (1 + x[0] / sum(x[1:])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 0.09)), min_size=2, max_size=6), st.data())
def test_an_interval_reaches_from_the_lowest_to_the_highest_corner_and_no_point_leaves_it(pairs, data):
    inputs = [printed(value, digit) for value, digit in pairs]
    point = [data.draw(st.floats(each.low, each.high)) for each in inputs]
    for formula in FORMULAS:
        found, slack = formula(*inputs), 1e-9 * max(1, abs(formula(*point)))
        assert found.low - slack <= formula(*point) <= found.high + slack
        corners = [formula(*corner) for corner in itertools.product(*((each.low, each.high) for each in inputs))]
        assert (found.low, found.high) == pytest.approx((min(corners), max(corners)))
        assert found.value == formula(*(value for value, _ in pairs))


def test_operators_with_known_results():
    x, y = printed(10, 2), printed(-3, 2)
    assert x + 1 == 1 + x == Interval(11, 10, 12)
    assert x - y == Interval(13, 11, 15) and 5 - y == Interval(8, 7, 9)
    assert x * y == y * x == Interval(-30, -44, -18) and y * y == Interval(9, 4, 16)
    assert x / exact(-2) == Interval(-5, -5.5, -4.5) and 99 / x == Interval(9.9, 9, 11)
    assert PAGE.log10(printed(100, 180)) == Interval(2, 1, pytest.approx(math.log10(190)))


def test_a_column_of_intervals_is_computed_cell_by_cell():
    column = pd.Series([printed(10, 2), exact(4)], ["a", "b"])
    for result in (column * exact(2), exact(2) * column, 2 * column):
        assert result.to_dict() == {"a": Interval(20, 18, 22), "b": Interval(8, 8, 8)}
    assert (exact(99) / column)["a"] == Interval(9.9, 9, 11)
    assert sum(column) == Interval(14, 13, 15)


@pytest.mark.parametrize("other", [printed(0, 1), printed(0.5, 1), exact(0)])
def test_a_ratio_to_what_may_be_nothing_is_refused(other):
    for one in (1, exact(1)):
        with pytest.raises(ReplicationError, match="cannot divide by"):
            one / other


@given(st.integers(1, 10**6), st.sampled_from([0.01, 0.1, 1.0, 1e3, 1e6]), st.floats(-0.499, 0.499))
def test_a_number_agrees_with_all_that_round_to_it(count, digit, off):
    number = printed(count * digit, digit)
    assert PAGE.agree(number, exact((count + off) * digit))
    assert not PAGE.agree(number, exact((count + off + (1.001 if off >= 0 else -1.001)) * digit))


def test_neighbours_share_an_end_and_disagree():
    assert not PAGE.agree(printed(267, 1), printed(266, 1))
    assert PAGE.agree(printed(431, 1), exact(430.5))
    assert PAGE.agree(below(4, 1), Interval(4, 3.5, 4.5)) and not PAGE.agree(below(4, 1), Interval(5, 4.5, 5.5))


@pytest.mark.parametrize(
    ("value", "digit", "shown"),
    [(267e3, 1e3, "267K"), (6.7e6, 1e5, "6.7M"), (61e6, 1e6, "61M"), (30.9e9, 1e8, "30.9G"), (1e6, 1e6, "1M")]
    + [(500, 100, "0.5K"), (2e8, 1e8, "0.2G"), (925e6, 1e6, "925M"), (3.2e6, 1e3, "3,200K"), (30e3, 1e3, "30K")],
)
def test_counts_have_the_digits_that_the_paper_prints(value, digit, shown):
    assert PAGE.count(value).digit == digit
    assert PAGE.text(value, "weights", digit) == shown


@pytest.mark.parametrize(("value", "digit"), [(38.0, 1), (7.5, 0.1), (0.9, 0.1), (3.7, 0.1), (640, 1), (1.64, 0.01)])
def test_last_digit(value, digit):
    assert PAGE.decimal(value).digit == digit
