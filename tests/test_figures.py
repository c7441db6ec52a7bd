"""The figures that several pages share, and those of single pages, on made-up records whose numbers are known."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from pages import functions

from replication.claims import summarise
from replication.report import figures, show
from replication.runs import Record


def made(rate: float, errors: int, network: str = "lenet_5", stage: str = "round 1") -> Record:
    """A run of `network` at this compression rate, with so many errors on 10,000 test and validation images."""
    layers = [{"layer": "fc1", "weights": 1_000, "weight_density": 1 / rate}]
    score = {"errors": errors, "images": 10_000}
    metrics = {"test": score, "validation": score, "layers": layers}
    return Record({"key": f"{rate}", "run": {"seed": 100, "network": network}, "stage": stage, "metrics": metrics})


def test_the_limit_is_the_last_rate_before_the_error_leaves_the_margin():
    page = functions("limits")
    chain = [made(rate, errors) for rate, errors in ((1, 100), (5, 105), (10, 125), (20, 108), (50, 200))]
    text = page.summary("lenet_5", page.by_round({"lenet_5": [chain]}))
    assert "1 seed: the test error is at most 0.10 points above the dense network's (1.00 %) up to 5x;" in text
    other = [made(rate, errors) for rate, errors in ((1, 100), (5, 111), (10, 90), (20, 104), (50, 200))]
    two = page.by_round({"lenet_5": [chain, other]})  # at 5x +0.05 and +0.11, a mean of 0.08 with a wide interval
    assert "2 seeds" in page.summary("lenet_5", two)
    assert "up to 1x by its whole 95 % interval, up to 20x by its mean;" in page.summary("lenet_5", two)
    ten_more = [[made(1, 138), made(5, 148), made(10, 200)]] * 2
    text = page.summary("lenet_5", page.by_round({"lenet_5": ten_more}))
    assert "up to 5x by its whole 95 % interval, up to 5x by its mean" in text


def test_published_limits_are_beside_the_papers_own_line():
    rows = functions("limits").published(["lenet_300_100", "lenet_5"])
    assert isinstance(rows, pd.DataFrame) and (rows.groupby("network")["rate"].max() > 50).all()
    assert (rows.method == "Han et al. (this paper)").sum() == 2
    assert set(show.for_readers(rows).year) >= {"2015", "2017"}


def test_half_an_interval_is_none_for_a_single_value():
    assert summarise([1.0]).reach == 0
    several = summarise([1.0, 2.0, 3.0])
    assert several.reach == pytest.approx(4.302653 / 3**0.5)  # Student's t with 2 degrees of freedom
    assert several.reach == pytest.approx(several.mean - several.low)


def test_ticks_of_rates_are_written_out():
    axes = plt.figure().subplots()
    figures.log_ticks(axes, (1, 2.5, 100), "x")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1x", "2.5x", "100x"]
    assert axes.get_xscale() == "log" and not axes.xaxis.get_minorticklocs().size
    plt.close(axes.figure)


def test_the_chosen_round_of_every_seed_is_marked():
    chains = [[made(rate, errors) for rate, errors in ((1, 100), (5, 100), (10, 300))] for _ in range(2)]
    drawing, points, alt = figures.rounds("lenet_5", chains)
    assert "1.00 % dense, 1.00 % at 5.0x in the chosen rounds, 3.00 % at 10.0x in the last" in alt
    assert points.chosen.tolist() == [False, True, False] * 2
    assert points["test error %"].tolist() == [1.0, 1.0, 3.0] * 2 and points.rate.tolist() == [1, 5, 10] * 2
    (axes,), (ring,) = drawing.axes, drawing.axes[0].collections
    assert ring.get_offsets().tolist() == [[5, 1]] * 2
    assert axes.lines[-1].get_xdata().tolist() == [1, 12]  # the paper's rate
    plt.close(drawing)


def test_changes_of_the_curves_stand_by_density():
    rows = [
        {"network": "lenet_5", "curve": curve, "seed": seed, "point": point, "density %": density, "error %": 1.0}
        | {"change": change + seed}
        for curve, points in {"L2, retrained": {50: 0.0, 10: 1.0}, "L2, iterative": {49.96: 0.5, 30: 2.0}}.items()
        for point, (density, change) in enumerate(points.items())
        for seed in (0, 1)
    ]
    table = functions("figure5_tradeoff").by_density(pd.DataFrame(rows), "lenet_5")
    assert table["density %"].tolist() == pytest.approx([49.98, 30, 10])
    assert table["change: L2, retrained mean"].tolist() == pytest.approx([0.5, np.nan, 1.5], nan_ok=True)
    assert table["change: L2, iterative mean"].tolist() == pytest.approx([1.0, 2.5, np.nan], nan_ok=True)
    assert table["change: L2, retrained sd"].iloc[0] == pytest.approx(0.5**0.5)
    assert len(table.columns) == 5


def test_figure_5_shows_accuracy_against_what_is_pruned_away():
    rows = [
        {"network": "lenet_5", "curve": "L1, retrained", "seed": seed, "point": point, "density %": density}
        | {"error %": 1.0, "change": change + seed}
        for point, (density, change) in enumerate(((20, 1.0), (50, 0.0)))
        for seed in (0, 2)
    ]
    drawing, points, _ = functions("figure5_tradeoff").figure5(pd.DataFrame(rows))
    (axes,), place = drawing.axes, "L1, retrained"
    (bars,) = [container for container in axes.containers if container.get_label() == place]
    assert bars.lines[0].get_xydata().tolist() == [[80, -2], [50, -1]]
    assert len(points) == 4 and axes.get_title() == "LeNet-5"
    assert not [line for line in axes.lines if line.get_label().startswith("paper")]  # AlexNet's curve
    plt.close(drawing)


def test_figure_5_says_how_far_each_network_goes_without_loss():
    ends = {"lenet_300_100": {"L2, not retrained": 50, "L2, retrained": 20}}
    ends["lenet_5"] = {"L2, not retrained": 25, "L2, retrained": 10, "L2, iterative": 5}
    rows = [
        {"network": network, "curve": curve, "seed": seed, "point": 0, "density %": density, "change": 0.0}
        for network, curves in ends.items()
        for curve, density in curves.items()
        for seed in (0, 1)
    ]
    page = functions("figure5_tradeoff")
    kept = "20 % (LeNet-300-100), 10 % (LeNet-5) of their weights"
    said = f"Without loss, retrained networks keep down to {kept}; without retraining 50, 25 %."
    assert page.reach(pd.DataFrame(rows)) == said
    shares = page.without_loss(pd.DataFrame(rows)).set_index("network")
    assert shares.loc["LeNet-5", ["in iterations % mean", "in iterations % sd"]].tolist() == pytest.approx([5, 0])
    assert math.isnan(shares.loc["LeNet-300-100", "in iterations % mean"])
    rows += [rows[0] | {"curve": "L2, iterative", "density %": 8}]
    assert page.reach(pd.DataFrame(rows)) == said.replace("25 %.", "25 %; in iterations 8, 5 %.")


def test_figure_6_parts_the_layers_and_shows_the_mean_and_the_range_of_seeds():
    def run(errors: int) -> Record:
        steps = ((1.0, 10, 0.0), (0.5, errors, 1.0))
        curve = [{"density": d, "errors": e, "images": 200, "quality": q} for d, e, q in steps]
        flat = [row | {"errors": 10} for row in curve]
        return Record({"metrics": {"sensitivity": {"conv1": curve, "fc1": flat, "fc2": curve}}})

    found = {"alexnet_32": [run(14), run(16)], "vgg16_32": [run(12)]}
    drawing, points, alt = functions("figure6_sensitivity").figure6(found)
    assert "AlexNet stand-in: conv1 2.5, fc1 0.0, fc2 2.5; VGG-16 stand-in: conv1 1.0" in alt
    first = points[points.network == "alexnet_32"]
    assert first["change of accuracy"].tolist() == pytest.approx([0, -2.5, 0, 0, 0, -2.5])
    assert first["density %"].tolist() == [100, 50] * 3 and first.seeds.tolist() == [2] * 6
    assert (first.lowest.iloc[1], first.highest.iloc[1]) == pytest.approx((-3, -2))
    shown = [sorted(text.get_text() for text in axes.texts) for axes in drawing.axes]
    assert shown == 2 * [["conv1"], ["fc1", "fc2"]]
    plt.close(drawing)
    lost = functions("figure6_sensitivity").losses(found, 0.75)
    assert lost.lost[:3].tolist() == pytest.approx([1, 0, 1]) and set(lost.end) == {0.5}  # half of 4 of 200
    assert functions("figure6_sensitivity").losses(found, 0.4).lost.isna().all()  # no curve goes so far


def test_a_range_that_does_not_grow_is_not_said_to_widen():
    page, weights = functions("figure7_weights"), torch.linspace(-1, 1, 1_001)
    parts = {"after pruning": weights, "after retraining": 2 * weights}
    assert page.spread(parts).startswith("**Retraining widens the weights of fc1: from ±0.990 to ±1.980**")
    parts["after retraining"] = 0.5 * weights
    assert "does not widen the weights of fc1: from ±0.990 to ±0.495" in page.spread(parts)
