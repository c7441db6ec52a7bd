"""The measurements of Figures 5 to 7 and Table 6 on made-up curves whose answer is known."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from replication.claims import CLAIMS, networks, registry, tradeoff
from replication.runs import Record, comparisons, profiles, recipes


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


def curve(changes: dict[float, float]) -> pd.DataFrame:
    return pd.DataFrame({"density %": list(changes), "change": list(changes.values()), "error %": changes.values()})


@pytest.mark.parametrize(
    ("changes", "density", "at_the_end"),
    [
        ({40: 0.0, 10: 0.2}, 20, False),  # half of the rise at half of the way from 40 to 10 on a logarithmic axis
        ({25: 0.2, 10: 0.9}, 50, False),  # and from the dense network, 100 %, without change
        ({40: 0.3, 20: 0.0, 5: 0.2}, 10, False),  # the smallest density, also where a larger one loses
        ({50: 0.0, 10: 0.1}, 10, True),
        ({50: 0.05, 10: -0.2}, 10, True),
        ({50: 0.0, 10: 100 * 148 / 10_000 - 100 * 138 / 10_000}, 10, True),  # ten images: above 0.10 by the last bit
    ],
)
def test_the_smallest_density_without_loss_is_interpolated(changes, density, at_the_end):
    assert tradeoff.lossless(curve(changes), 0.1) == (pytest.approx(density), at_the_end)


def test_the_mean_error_takes_in_the_ends_of_its_range():
    assert tradeoff.mean_error(curve({50: 0, 20: 2, 10: 5, 5: 7}), 5, 20) == pytest.approx((2 + 5 + 7) / 3)
    assert tradeoff.mean_error(curve({40: 0, 10: 2, 2.5: 6}), 5, 20) == pytest.approx((1 + 2 + 4) / 3)
    near = {20.3: 2, 10: 5, 4.8: 7}  # a search ends near the density that it was asked for
    assert tradeoff.mean_error(curve(near), 5, 20) == pytest.approx((2 + 5 + 7) / 3)
    assert math.isnan(tradeoff.mean_error(curve({50: 0, 20: 2, 10: 5}), 5, 20))


SMALL = {
    "L2, not retrained": {40: [0.0, 0.0], 10: [9.0, 9.0]},
    "L2, retrained": {40: [0.0, 0.0], 10: [0.2, 0.1]},
    "L2, one-shot": {40: [0.0, 0.0], 10: [0.2, 0.2]},
    "L2, iterative": {40: [0.0, 0.0], 20: [0.1, 0.0], 5: [0.5, 0.2]},
}


def test_the_cliff_is_judged_seed_by_seed():
    (found,) = CLAIMS["C10"].measure(points(SMALL, base=0.0)).comparisons
    before = 40 * (1 / 4) ** (0.1 / 9)
    assert found.values.iloc[:, 0].tolist() == pytest.approx([2 * 20 - before, 2 * 10 - before])
    assert found.barred == {"fails": "a curve ends without loss"}  # the second seed's, at 10 %


def test_iterating_is_compared_with_one_shot_of_the_same_budget():
    (found,) = CLAIMS["C13"].measure(points(SMALL, base=0.0)).comparisons
    assert found.values.iloc[:, 0].tolist() == pytest.approx([1.3 * 5 - 5, 1.3 * 5 - 10]) and not found.barred
    without = {name: by_density for name, by_density in SMALL.items() if name != "L2, one-shot"}
    (found,) = CLAIMS["C13"].measure(points(without, base=0.0)).comparisons
    assert found.status().why == "no one-shot curve of equal budget" and found.status().seeds == 0


def test_curves_are_compared_network_by_network():
    l1 = {"L1, not retrained": {40: [1] * 5, 20: [2] * 5, 10: [3] * 5}}
    better = l1 | {"L2, not retrained": {40: [1] * 5, 20: [2.5, 2.4, 2.6, 2.5, 2.5], 10: [4] * 5}}
    worse = l1 | {"L2, not retrained": {40: [1] * 3, 20: [1.5, 1.4, 1.6], 10: [2] * 3}}
    both = pd.concat([points(better), points(worse, "alexnet_32")])
    found = [each.status() for each in CLAIMS["C11"].measure(both).comparisons]
    assert [(each.network, each.status) for each in found] == [("lenet_5", "holds"), ("alexnet_32", "fails")]
    thirty = np.log(4 / 3) / np.log(2)  # of the way from 40 to 20 %
    assert found[0].mean == pytest.approx(-np.mean([0.5 * thirty, 0.5, 1]))
    (short,) = CLAIMS["C12"].measure(points({"L2, retrained": {50: [2]}, "L1, retrained": {50: [3]}})).comparisons
    assert short.status().why == "no densities from 5 to 20 %" and short.status().seeds == 0


def test_l1_and_then_l2_has_the_margin_of_its_network():
    curves = {"L2, retrained": {20: [2], 5: [3]}, "L1, then L2": {20: [1.8], 5: [2.9]}}
    both = pd.concat([points(curves), points(curves, "alexnet_32")])
    found = [each.status() for each in CLAIMS["C28"].measure(both).comparisons]
    assert [each.limit for each in found] == [0.10, 0.50] and found[0].mean == pytest.approx(0.15)


def test_only_retrained_l2_curves_may_beat_the_dense_network():
    table = points({name: {20: [0.5, 0.6, 0.5]} for name in ("L2, retrained", "L1, retrained", "L2, not retrained")})
    (found,) = CLAIMS["C14"].measure(table.assign(network="alexnet_32")).comparisons
    assert list(found.values) == ["L2, retrained at 20 %"] and found.status().status == "holds"


def test_the_run_that_all_curves_begin_with_is_one_test_of_several():
    first, second = {60: [0.9, 0.8, 0.95, 0.9, 0.85]}, {20: [1.2, 1.3, 1.1, 1.2, 1.4]}
    shared = points({name: first | second for name in ("L2, retrained", "L2, iterative", "L2, one-shot")})
    shared.loc[shared["density %"] == 20, "change"] += shared["curve"].map({"L2, iterative": 0.01}).fillna(0)
    (found,) = CLAIMS["C14"].measure(shared).comparisons
    once = ["L2, retrained at 60 %", "L2, retrained at 20 %", "L2, iterative at 20 %"]
    assert list(found.values) == once  # the one-shot curve of these numbers is the retrained one
    assert found.values[once[0]].tolist() == pytest.approx([-0.1, -0.2, -0.05, -0.1, -0.15])


def sensitivity(network: str, seed: int, losses: dict[str, int]) -> Record:
    curves = {
        layer: [{"density": d, "errors": e, "images": 1_000} for d, e in ((1.0, 10), (0.5, 10 + lost))]
        for layer, lost in losses.items()
    }
    run = {"network": network, "seed": seed}
    return Record({"key": f"{network}{seed}", "run": run, "metrics": {"sensitivity": curves}})


def test_the_first_layer_has_to_be_the_most_sensitive_in_every_seed():
    good, other = {"conv1": 30, "conv2": 10, "fc1": 1}, {"conv1": 30, "conv2": 31, "fc1": 1}
    runs = [sensitivity("alexnet_32", seed, good) for seed in range(3)]
    (found,) = CLAIMS["C15"].measure(runs).comparisons
    assert found.status().status == "holds" and found.values.iloc[0, :2].tolist() == pytest.approx([-2, -1.9])
    (found,) = CLAIMS["C15"].measure({"alexnet_32": [*runs[:2], sensitivity("alexnet_32", 9, other)]}).comparisons
    assert (found.status().status, found.status().why) == ("undecided", "in 2 of 3 seeds")
    (found,) = CLAIMS["C15"].measure(runs[0]).comparisons
    assert found.status().why == "1 of 3 seeds"


def test_each_other_method_of_table_6_has_a_gap():
    names = ("Magnitude pruning, 1/3", "SVD, 1/3", "Magnitude pruning, 1/9", "Naive cut, 1/9")

    def methods(seed: int, *errors: int) -> dict[str, Record]:
        tests = [{"test": {"errors": e, "images": 1_000}} for e in errors]
        return {name: Record({"run": {"seed": seed}, "metrics": test}) for name, test in zip(names, tests)}

    found = CLAIMS["C27"].measure([methods(100, 10, 12, 30, 40), methods(101, 10, 11, 30, 50)]).comparisons
    assert [each.values.iloc[:, 0].tolist() for each in found] == [pytest.approx([-0.2, -0.1]), pytest.approx([-1, -2])]
    (svd, cut) = CLAIMS["C27"].measure([methods(100, 10, 12, 30, 40)]).comparisons
    assert svd.values.index.tolist() == [100] and cut.status().why == "1 of 3 seeds"


def test_loss_is_read_between_the_points_of_a_curve():
    curve = [{"density": d, "errors": e, "images": 100} for d, e in ((1.0, 10), (0.6, 12), (0.4, 20), (0.1, 80))]
    assert networks.loss_at(curve, 0.5) == pytest.approx(6)
    assert networks.loss_at(curve, 1.0) == 0
    assert networks.loss_at(curve, 0.1) == pytest.approx(70) and math.isnan(networks.loss_at(curve, 0.09))


def test_two_peaks_with_a_gap_are_told_from_one():
    generator = torch.Generator().manual_seed(0)
    sides = torch.randint(2, (20_000,), generator=generator) * 2 - 1
    two = sides * (0.05 + 0.01 * torch.randn(20_000, generator=generator))
    one = 0.05 * torch.randn(20_000, generator=generator)
    found = networks.modes(two)
    assert found["left"] == pytest.approx(-0.05, abs=0.006) and found["right"] == pytest.approx(0.05, abs=0.006)
    assert found["middle"] < 0.05 and networks.modes(one)["middle"] > 0.8
    assert networks.modes(2 * one)["range"] == pytest.approx(2 * networks.modes(one)["range"], rel=1e-4)


def test_the_range_of_the_largest_layers_is_of_all_their_weights():
    weights = torch.cat([torch.zeros(2**24), torch.linspace(-1, 1, 2**23)])
    assert networks.modes(weights)["range"] == pytest.approx(1 - 2 * 3 * 0.005, abs=1e-3)  # a third is not zero


@pytest.mark.parametrize("name", ["smoke", "laptop", "full"])
@pytest.mark.parametrize("network", comparisons.SWEEPS)
def test_every_curve_starts_dense_and_has_its_densities(name: str, network: str):
    profile = profiles.get(name)
    curves, asked = comparisons.curves(network, 100, profile), comparisons.SWEEPS[network].densities
    assert tuple(curves) == comparisons.CURVES
    for curve, (start, *runs) in curves.items():
        assert start.pruning is None and all(run.pruning for run in runs)
        assert curve == "L2 iterative" or all(run.parent == start for run in runs)
        densities = [run.pruning.density for run in runs]
        assert densities == sorted(densities, reverse=True) and set(densities) <= set(asked)
        assert len(runs) == len(asked) or not profile.meaningful
    assert curves["L1"][0].training.l1 > 0 == curves["L2"][0].training.l1 == curves["L1 then L2"][1].training.l1
    assert curves["L2 one-shot"][0] == curves["L2 iterative"][0] == curves["L2"][0]
    iterative = {run.pruning.density: run for run in curves["L2 iterative"][1:]}
    for at_once in curves["L2 one-shot"][1:]:
        chain = iterative[at_once.pruning.density]
        since = [phase for run in [*chain.ancestors, chain] if run.pruning for phase in run.phases]
        assert sum(phase.epochs for phase in at_once.phases) == sum(phase.epochs for phase in since)


@pytest.mark.parametrize("name", ["laptop", "full"])
@pytest.mark.parametrize("network", comparisons.SWEEPS)
def test_figure_5_is_retrained_as_the_tables_are(name: str, network: str):
    profile = profiles.get(name)
    found = comparisons.curves(network, 100, profile)
    asked, given = recipes.recipe(network, profile).retraining, found["L2"][1].phases
    faster = [replace(phase, precision=own.precision) for phase, own in zip(asked, given)]  # bfloat16 for speed
    assert given == tuple(faster)
    assert all(run.phases == given for curve in ("L2", "L2 iterative") for run in found[curve][1:])
    densities = [run.pruning.density for run in found["L2 one-shot"][1:]]
    assert len(densities) == (6 if network == "alexnet_32" else 8)
    assert (densities[0], densities[-1]) == (0.6, 0.02)


def test_figure_5_and_table_6_have_the_seeds_that_their_claims_need():
    found = comparisons.all_curves(profiles.get("laptop"))
    assert {network: len(each) for network, each in found.items()} == {
        "lenet_300_100": 5,
        "lenet_5": 5,
        "alexnet_32": 3,
    }
    assert len(comparisons.methods(profiles.get("laptop"))) == 3


@pytest.mark.parametrize("name", ["laptop", "full"])
def test_table_6_has_the_seeds_of_table_4_and_the_retraining_of_one_of_its_rounds(name: str):
    profile = profiles.get(name)
    for chain, methods in zip(recipes.chains("alexnet_32", profile), comparisons.methods(profile), strict=True):
        start, cut = methods.pop("Baseline"), methods.pop("Naive cut, 1/9")
        assert {run.phases for run in methods.values()} == {chain[1].phases}
        assert {run.parent for run in methods.values()} == {start}
        assert {run.seed for run in (start, cut, *methods.values())} == {chain[1].seed}
        assert cut.training == recipes.REFERENCES["alexnet_32"].training and cut.parent is None


def test_figure_6_has_three_seeds_of_each_stand_in():
    found = comparisons.sensitivity(profiles.get("laptop"))
    assert {network: [run.seed for run in runs] for network, runs in found.items()} == {
        "alexnet_32": [0, 102, 103],
        "vgg16_32": [0, 102, 103],
    }
    assert all([run.parent.stage for run in runs] == ["dense"] + 2 * ["dense, longer"] for runs in found.values())


def test_recorded_runs_are_part_of_the_plan():
    profile = profiles.get("laptop")
    planned = {run.key for run in registry.plan(profile)}
    assert planned >= {run.key for run in registry.recorded(profile)}
