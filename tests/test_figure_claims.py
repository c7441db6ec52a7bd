"""The measurements of Figures 5 to 7 and Table 6 on made-up curves whose answer is known."""

import pandas as pd
import pytest
import torch

from replication.claims import CLAIMS, comparisons, curve_points, figures, plans
from replication.runs import profiles


def points(errors: dict[str, dict[float, list[float]]], network: str = "lenet_5", base: float = 1.0) -> pd.DataFrame:
    """Figure 5's table from errors by curve, density (%) and seed."""
    return pd.DataFrame(
        [
            {"network": network, "curve": curve, "seed": seed, "point": number, "density %": density}
            | {"error %": error, "change": error - base}
            for curve, by_density in errors.items()
            for number, (density, values) in enumerate(by_density.items())
            for seed, error in enumerate(values)
        ]
    )


def test_the_cliff_is_the_smallest_density_without_loss():
    table = points(
        {
            "L2, not retrained": {50: [1.0, 1.1], 20: [2, 2], 10: [9, 9]},
            "L2, retrained": {50: [1.0, 0.9], 20: [1.0, 1.1], 10: [1.3, 1.3]},
            "L2, iterative": {50: [1, 1], 20: [1, 1], 10: [1.05, 1.1]},
        }
    )
    shown = curve_points.means(table)
    assert curve_points.lossless(shown, "lenet_5", "L2, not retrained") == 50
    assert curve_points.lossless(shown, "lenet_5", "L2, retrained") == 20
    assert curve_points.lossless(shown, "lenet_5", "unknown") == 100
    assert CLAIMS["C10"].measure(table).measures == {"least_ratio": 2.5}
    assert CLAIMS["C13"].measure(table).measures == {"least_ratio": pytest.approx(2)}


def test_one_network_where_it_does_not_hold_contradicts():
    good = {"L1, not retrained": {30: [2, 2], 10: [3, 3]}, "L2, not retrained": {30: [2.5, 2.5], 10: [4, 4]}}
    bad = {"L1, not retrained": {30: [2, 2], 10: [3, 3]}, "L2, not retrained": {30: [2.5, 2.5], 10: [2.9, 2.9]}}
    claim = CLAIMS["C11"]
    measured = claim.measure(points(good))
    assert measured.summary.mean == pytest.approx(-0.75) and measured.seeds == 2
    assert claim.verdict(measured.measures, measured.seeds) == "reproduced on a stand-in"
    measured = claim.measure(pd.concat([points(good), points(bad, "alexnet_32")]))
    assert measured.measures["largest_gap"] == pytest.approx(0.1) and measured.seeds == 4
    assert claim.verdict(measured.measures, measured.seeds) == "contradicted"


def test_better_than_dense_needs_the_whole_interval_below_zero():
    sure = points({"L2, retrained": {50: [0.90, 0.91, 0.89], 20: [0.5, 1.0, 1.4]}})
    unsure = points({"L2, retrained": {20: [0.5, 1.0, 1.4]}})
    assert CLAIMS["C14"].measure(sure).measures == {"densities_below": 1}
    assert CLAIMS["C14"].measure(unsure).measures == {"densities_below": 0}


def test_loss_is_read_between_the_points_of_a_curve():
    curve = [{"density": d, "errors": e, "images": 100} for d, e in ((1.0, 10), (0.6, 12), (0.4, 20), (0.1, 80))]
    assert figures.loss_at(curve, 0.5) == pytest.approx(6)
    assert figures.loss_at(curve, 1.0) == 0


def test_two_peaks_with_a_gap_are_told_from_one():
    generator = torch.Generator().manual_seed(0)
    sides = torch.randint(2, (20_000,), generator=generator) * 2 - 1
    two = sides * (0.05 + 0.01 * torch.randn(20_000, generator=generator))
    one = 0.05 * torch.randn(20_000, generator=generator)
    found = figures.modes(two)
    assert found["left"] == pytest.approx(-0.05, abs=0.006) and found["right"] == pytest.approx(0.05, abs=0.006)
    assert found["middle"] < 0.05 and figures.modes(one)["middle"] > 0.8
    assert figures.modes(2 * one)["range"] == pytest.approx(2 * figures.modes(one)["range"], rel=1e-4)


def test_the_range_of_the_largest_layers_is_of_all_their_weights():
    weights = torch.cat([torch.zeros(2**24), torch.linspace(-1, 1, 2**23)])
    assert figures.modes(weights)["range"] == pytest.approx(1 - 2 * 3 * 0.005, abs=1e-3)  # a third is not zero


@pytest.mark.parametrize("name", ["smoke", "laptop", "full"])
def test_every_curve_starts_dense_and_has_its_densities(name):
    profile = profiles.get(name)
    for network, sweep in comparisons.SWEEPS.items():
        curves = comparisons.curves(network, 100, profile)
        assert tuple(curves) == comparisons.CURVES
        for curve, (start, *runs) in curves.items():
            assert start.pruning is None and all(run.pruning for run in runs)
            assert curve == "L2 iterative" or all(run.parent == start for run in runs)
        assert {run.pruning.density for run in curves["L1"][1:]} <= set(sweep.densities)
        assert curves["L1"][0].training.l1 > 0 == curves["L2"][0].training.l1 == curves["L1 then L2"][1].training.l1


def test_recorded_runs_are_part_of_the_plan():
    profile = profiles.get("laptop")
    planned = {run.key for run in plans.plan(profile)}
    assert planned >= {run.key for run in plans.recorded(profile)}
