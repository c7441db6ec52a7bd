"""What a claim is made of: its runs, its measurement seed by seed, its line on the scorecard."""

import math

import pandas as pd
import pytest
from test_figure_claims import points
from test_text_claims import made

from replication import paths, profiles
from replication.claims import CLAIMS, Evidence, Measured, computed, flat, rules
from replication.runs import Record, Run
from replication.training import Training


def run(seed: int) -> Run:
    return Run("lenet_5", seed, Training(1, 0.1))


def test_records_take_the_places_of_their_runs(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def compute(runs, jobs):
        asked.extend(runs)
        return [Record({"key": each.key}) for each in runs]

    monkeypatch.setattr(rules, "compute", compute)
    nest = {"lenet_5": [{"dense": run(1), "kept": run(2)}, {"dense": run(1), "kept": run(3)}], "other": []}
    assert flat(nest) == [run(1), run(2), run(3)]
    found = computed(nest)
    assert asked == [run(1), run(2), run(3)]
    assert found["other"] == [] and list(found["lenet_5"][1]) == ["dense", "kept"]
    assert (
        found["lenet_5"][1]["kept"].key == run(3).key and found["lenet_5"][0]["dense"] is found["lenet_5"][1]["dense"]
    )
    assert computed(run(7)).key == run(7).key
    evidence = Evidence("made up", lambda profile: nest, lambda records, profile: len(flat(records)))
    assert evidence.plan(profiles.get("smoke")) == flat(nest) and evidence.read(profiles.get("smoke")) == 3
    assert Evidence("nothing", lambda profile: {}).read(profiles.get("smoke")) is None


def test_the_network_with_most_seeds_is_shown_and_all_are_counted():
    one, two = pd.DataFrame({"a": [5.0]}, [100]), pd.DataFrame({"a": [1.0, 3.0], "b": [9.0, 9.0]}, [100, 101])
    measured = Measured("", {}, {"alexnet_32": one, "lenet_5": two}, "points")
    assert measured.seeds == 3 and measured.summary[:2] == pytest.approx((2.0, math.sqrt(2)))
    assert measured.interval == "-10.71 to 14.71 points"  # 2 +- 12.706 sqrt(2) / sqrt(2)
    assert Measured("", {}, measured.gaps).interval == ""
    assert Measured("", {}, measured.gaps, "points", shown="alexnet_32").interval == ""  # one seed has none
    assert Measured("", {}, more_seeds=4).seeds == 4 and math.isnan(Measured("", {}).summary.mean)


def test_a_line_names_where_it_was_measured_and_what_decides_nothing():
    found = {"lenet_5": made(Dr=[100] * 3, Do=[120, 122, 118]), "alexnet_32": made(Dr=[1500] * 2, Do=[1600, 1602])}
    line = CLAIMS["C19"].line(found, profiles.get("laptop"))
    assert line["measured_on"] == "LeNet-5 and AlexNet stand-in" and line["seeds"] == 5
    assert line["verdict"] == "reproduced on a stand-in" and line["interval"] == "-0.25 to -0.15 points, LeNet-5"
    line = CLAIMS["C19"].line(found, profiles.get("smoke"))
    assert line["verdict"] == "inconclusive" and line["measured_on"].endswith("(smoke: decides nothing)")


def test_gaps_are_kept_by_network_and_seed():
    found = {"lenet_5": made(**{"kept": [100, 110], "probabilistic": [120, 150], "uniform random": [200, 210]})}
    gaps = CLAIMS["C22"].measure(found).gaps["lenet_5"]
    assert gaps.index.tolist() == [100, 101]
    assert gaps["probabilistic minus kept"].tolist() == pytest.approx([0.2, 0.4])
    assert gaps["uniform random minus probabilistic"].tolist() == pytest.approx([0.8, 0.6])


def test_the_cliff_has_a_gap_for_each_seed():
    curves = {
        "L2, not retrained": {50: [1.0, 1.0], 20: [1.0, 2.0], 10: [9, 9]},
        "L2, retrained": {50: [1.0, 1.0], 20: [1.0, 1.0], 10: [1.0, 1.3]},
        "L2, iterative": {50: [1.0, 1.0], 20: [1.0, 1.0], 5: [1.0, 1.0]},
    }
    cliff = CLAIMS["C10"].measure(points(curves)).gaps["lenet_5"]
    assert cliff.gap.to_dict() == {0: 2 * 10 - 20, 1: 2 * 20 - 50}
    reach = CLAIMS["C13"].measure(points(curves)).gaps["lenet_5"]
    assert reach.gap.to_dict() == pytest.approx({0: 1.3 * 10 - 20, 1: 1.3 * 5 - 20})


def test_the_best_point_is_the_one_surely_below_dense():
    sure = points({"L2, retrained": {50: [0.90, 0.91, 0.89], 20: [0.5, 1.0, 1.4]}})
    one = points({"L2, retrained": {50: [0.9], 20: [0.2]}}, "alexnet_32")
    measured = CLAIMS["C14"].measure(pd.concat([one, sure]))
    assert measured.shown == "lenet_5" and measured.seeds == 4
    assert measured.gaps["lenet_5"].change.tolist() == pytest.approx([-0.10, -0.09, -0.11])
    assert measured.gaps["alexnet_32"].change.tolist() == pytest.approx([-0.8])


def test_every_claim_has_a_page_and_runs():
    for claim in CLAIMS.values():
        assert (paths.NOTEBOOKS / f"{claim.page}.ipynb").exists()
        assert claim.id == "C25" or claim.evidence.plan(profiles.get("laptop"))


def test_a_network_without_points_between_the_densities_keeps_its_seeds():
    table = points({"L1, not retrained": {50: [2, 2]}, "L2, not retrained": {50: [3, 3]}})
    gaps = CLAIMS["C11"].measure(table).gaps["lenet_5"]
    assert gaps.index.tolist() == [0, 1] and gaps.isna().all(axis=None)
