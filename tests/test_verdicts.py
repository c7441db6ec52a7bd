"""Statuses by interval, by seed and by test, and the verdicts that follow, against values worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from replication.claims import Comparison, Status, verdict, verdicts
from replication.claims.verdicts import by_some_column, in_every_seed, without_exception

LENET, STAND_IN = "lenet_5", "alexnet_32"
FIVE = (-0.2, -0.1, 0.0, 0.1, 0.2)  # mean 0, deviation 0.158114; Student's t with 4 degrees: 2.776445, reach 0.196324


def compared(values, limit: float, network: str = LENET, sign: str = "<=", **more) -> Comparison:
    frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame({"gap": values})
    return Comparison(network, frame, {"gap": (sign, limit)} | more.pop("conditions", {}), **more)


@pytest.mark.parametrize(
    ("limit", "status"), [(0.1964, "holds"), (0.1962, "undecided"), (-0.1962, "undecided"), (-0.1964, "fails")]
)
def test_the_whole_interval_has_to_lie_on_one_side_of_the_limit(limit, status):
    found = compared(FIVE, limit).status()
    assert (found.status, found.seeds, found.needed, found.limit) == (status, 5, 5, limit)
    assert (found.mean, found.low, found.high) == pytest.approx((0, -0.196324, 0.196324), abs=1e-6)
    assert found.why == {"undecided": "interval spans the limit"}.get(status, found.why)


def test_an_interval_that_ends_at_the_limit_holds():
    assert compared([0.1] * 5, 0.1).status().status == "holds"
    assert compared([0.1] * 5, 0.1, sign="<").status().status == "fails"
    ten_images = 100 * 148 / 10_000 - 100 * 138 / 10_000
    assert ten_images > 0.10  # by the last bit
    assert compared([ten_images] * 5, 0.10).status().status == "holds"
    assert compared([ten_images + 0.01] * 5, 0.10).status().status == "fails"  # one image more
    for values in ([ten_images] * 5, [0.10] * 5):
        assert compared(values, 0.10, decide=in_every_seed).status().status == "holds"
        assert compared(values, 0.10, sign="<", decide=without_exception).status().status == "fails"


@pytest.mark.parametrize(("network", "seeds", "status"), [(LENET, 4, False), (LENET, 5, True), (STAND_IN, 2, False)])
def test_too_few_seeds_are_shown_and_decide_nothing(network, seeds, status):
    found = compared([-1.0, -1.1, -1.2, -0.9, -1.0][:seeds], 0, network).status()
    assert (found.status == "holds") == status and found.mean == pytest.approx(-1.0, abs=0.1)
    assert status or found.why == f"{seeds} of {found.needed} seeds"


def test_a_stand_in_needs_three_seeds_and_a_true_network_its_one_run():
    assert compared([-1.0, -1.1, -1.2], 0, STAND_IN).status().status == "holds"
    one = compared([0.05], 0.10, "alexnet").status()
    assert (one.status, one.seeds, one.needed) == ("holds", 1, 1) and math.isnan(one.low)
    assert compared([0.11], 0.10, "alexnet").status().status == "fails"


def test_a_seed_without_a_figure_is_none():
    found = compared([-1.0, -1.1, -1.2, -0.9, math.nan], 0).status()
    assert (found.status, found.seeds, found.why) == ("undecided", 4, "4 of 5 seeds")
    nothing = compared([math.nan], 0, barred={"undecided": "no such densities"}).status()
    assert (nothing.seeds, nothing.why) == (0, "no such densities") and math.isnan(nothing.mean)


@pytest.mark.parametrize(
    ("rates", "status", "why"),
    [
        ((12, 12.1, 12, 12.3, 12.2), "holds", ""),
        ((9, 15, 12, 13, 12), "holds", ""),  # the mean decides, its interval does not
        ((11, 12, 11.5, 12.5, 11.8), "undecided", "rate 11.76 < 12"),  # 11.07 to 12.45
        ((11, 11.1, 10.9, 11, 11), "fails", "rate 11 < 12"),
    ],
)
def test_a_condition_holds_by_its_mean_and_fails_where_it_is_clearly_missed(rates, status, why):
    values = pd.DataFrame({"gap": [-1, -1.1, -0.9, -1, -1.2], "rate": rates})
    found = compared(values, 0, conditions={"rate": (">=", 12)}).status()
    assert (found.status, found.why, found.comparison) == (status, why, "gap")


def test_a_gap_above_its_limit_fails_whatever_its_conditions():
    values = pd.DataFrame({"gap": [1, 1.1, 0.9, 1, 1.2], "rate": [20.0] * 5, "error": [0.5] * 5})
    conditions = {"rate": (">=", 12), "error": ("<=", 0.8)}
    assert compared(values, 0, conditions=conditions).status().status == "fails"
    assert compared(values.assign(gap=-1.0, error=0.9), 0, conditions=conditions).status().why == "error 0.9 > 0.8"


def test_a_barred_status_is_undecided():
    open_end = {"holds": "a curve ends without loss"}
    assert compared([-1.0] * 5, 0, barred=open_end).status().why == "a curve ends without loss"
    assert compared([-1.0] * 5, 0, barred=open_end).status().status == "undecided"
    assert compared([1.0] * 5, 0, barred=open_end).status().status == "fails"


def test_a_profile_that_decides_nothing_says_so():
    found = compared([-1.0] * 5, 0).status("smoke: decides nothing")
    assert (found.status, found.why, found.mean) == ("undecided", "smoke: decides nothing", -1)


@pytest.mark.parametrize(
    ("first", "second", "every", "exception"),
    [
        ((5, 6, 7), (1, 1, 1), "holds", "holds"),
        ((5, 6, 3), (1, 1, 1), "undecided", "fails"),
        ((5, 6, 3), (3, 3, 1), "fails", "fails"),  # each seed misses one of the two
        ((3, 3, 3), (1, 1, 1), "fails", "fails"),
    ],
)
def test_every_seed_meets_all_bounds_some_do_or_none_does(first, second, every, exception):
    values, bounds = pd.DataFrame({"a": first, "b": second}), {"a": (">=", 4), "b": ("<", 2)}
    assert Comparison(STAND_IN, values, bounds, decide=in_every_seed).status().status == every
    assert Comparison(STAND_IN, values, bounds, decide=without_exception).status().status == exception


def test_what_needs_no_seeds_is_decided_by_its_figure():
    found = Comparison("", pd.DataFrame({"W": [12.8]}), {"W": ("==", 12.8)}, "W", without_exception, seeds=False)
    assert (found.status().status, found.status().needed, found.status().seeds) == ("holds", 0, 0)
    found = Comparison("alexnet", pd.DataFrame({"x": [2.5]}), {"x": ("<=", 1)}, "bits", without_exception, seeds=False)
    assert (found.status().status, found.status().why) == ("fails", "x 2.5 > 1")


def test_holms_correction_by_hand():
    found = verdicts.holm(pd.Series({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}))
    assert found.to_dict() == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})  # x 3, 1, 2 and 4; rising
    assert verdicts.holm(pd.Series([0.6, 0.7])).tolist() == [1.0, 1.0]


def tail(values) -> float:
    """The one-sided p of three values' t test, from the closed form of Student's t with two degrees of freedom."""
    t = np.mean(values) / (np.std(values, ddof=1) / math.sqrt(3))
    return 0.5 + t / (2 * math.sqrt(2 + t * t))


def test_a_density_beats_the_dense_network_by_its_corrected_p():
    low, even = (-0.13, -0.10, -0.16), (0.1, -0.1, 0.05)
    assert tail(low) == pytest.approx(0.00865, abs=1e-5)
    values = pd.DataFrame({"at 20 %": low, "at 50 %": even})
    assert verdicts.below(values).to_dict() == pytest.approx({"at 20 %": 2 * tail(low), "at 50 %": tail(even)})
    found = Comparison(STAND_IN, values, dict.fromkeys(values, ("<", 0)), decide=by_some_column).status()
    assert (found.status, found.comparison) == ("holds", "at 20 %") and found.mean == pytest.approx(-0.13)
    more = pd.DataFrame({"at 20 %": low} | {f"at {n} %": even for n in range(5)})  # 6 x 0.00865 is above 0.05
    found = Comparison(STAND_IN, more, dict.fromkeys(more, ("<", 0)), decide=by_some_column).status()
    assert (found.status, found.why) == ("undecided", "at 20 %: corrected p 0.052")
    worse = pd.DataFrame({"at 20 %": (0.13, 0.10, 0.16), "at 50 %": (1.0, 1.1, 1.05)})
    assert Comparison(STAND_IN, worse, dict.fromkeys(worse, ("<", 0)), decide=by_some_column).status().status == "fails"


def test_equal_changes_have_no_spread_and_a_plain_answer():
    values = pd.DataFrame({"below": [-0.1] * 3, "above": [0.1] * 3, "none": [0.0] * 3})
    assert verdicts.below(values).to_dict() == {"below": 0, "above": 1, "none": 1}


def status(network: str, said: str) -> Status:
    return Status(network, said, 5, 5, "gap", 0.0, -1.0, 1.0, 0.0, "points")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([(LENET, "holds")], "reproduced"),
        ([(LENET, "holds"), (STAND_IN, "holds")], "reproduced on a stand-in"),
        ([("alexnet", "holds")], "reproduced"),
        ([(LENET, "fails"), (STAND_IN, "fails")], "contradicted"),
        ([(LENET, "holds"), (STAND_IN, "fails")], "mixed"),
        ([(LENET, "holds"), (STAND_IN, "fails"), ("lenet_300_100", "undecided")], "mixed"),
        ([(LENET, "holds"), (STAND_IN, "undecided")], "inconclusive"),
        ([(LENET, "fails"), (STAND_IN, "undecided")], "inconclusive"),
        ([(LENET, "holds"), (LENET, "holds")], "reproduced"),  # two gaps of one network
        ([(LENET, "holds"), (LENET, "fails")], "contradicted"),
        ([(LENET, "holds"), (LENET, "undecided")], "inconclusive"),
        ([(LENET, "undecided"), (LENET, "fails")], "contradicted"),
        ([(LENET, "holds"), (LENET, "fails"), (STAND_IN, "holds"), (STAND_IN, "holds")], "mixed"),
    ],
)
def test_the_verdict_is_what_all_networks_say(said, expected):
    assert verdict([status(*each) for each in said]) == expected
    assert verdict([status(*each) for each in reversed(said)]) == expected


def test_random_masks_stand_for_the_papers_network_too():
    assert verdict([status("alexnet", "holds")], stand_in=True) == "reproduced on a stand-in"
    assert verdict([status("alexnet", "fails")], stand_in=True) == "contradicted"


def test_a_status_in_words():
    found = Status(LENET, "undecided", 3, 5, "change of error", 0.0, -0.12, 0.15, 0.1, "points", "3 of 5 seeds")
    assert found.told == "LeNet-5 undecided (change of error -0.12 to +0.15 points, limit 0.1; 3 of 5 seeds)"
    nothing = Status(LENET, "undecided", 0, 5, "", *(math.nan,) * 4, "", "0 of 5 seeds")
    assert nothing.told == "LeNet-5 undecided (0 of 5 seeds)"
    fails = Status("alexnet", "fails", 0, 0, "FC bits", 3.0, math.nan, math.nan, 1.0, "bits", "FC bits 3 > 1")
    assert fails.told == "AlexNet fails (FC bits 3 > 1)"
    holds = Status(STAND_IN, "holds", 3, 3, "FLOP density", 12.2, 11.0, 13.4, 33.0, "%")
    assert holds.told == "AlexNet stand-in holds (FLOP density 11 to 13.4 %, limit 33; 3 seeds)"
