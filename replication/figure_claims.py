"""The claims of Figures 5 to 7 and of Table 6, measured: C10 to C16, C27, C28."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from . import tradeoff
from .experiments import Chain, chosen
from .registry import TITLES
from .runs import Record
from .statistics import Summary

NOTHING = Summary(math.nan, math.nan, math.nan, math.nan, 0)
Measured = tuple[str, Summary, str, dict[str, float], int]  # text, what the interval is of, its unit, measures, seeds


def _by_network(points: pd.DataFrame) -> dict[str, int]:
    """How many seeds Figure 5 has, by network."""
    return points.groupby("network", sort=False).seed.nunique().to_dict()


def cliff(points: pd.DataFrame) -> Measured:
    """C10: smallest density without loss, L2, with retraining against without, on every network."""
    shown, found = tradeoff.means(points), {}
    for network in _by_network(points):
        found[network] = [tradeoff.lossless(shown, network, curve) for curve in ("L2, not retrained", "L2, retrained")]
    text = "; ".join(f"{TITLES[n]}: {a:.0f} % -> {b:.0f} % of the weights" for n, (a, b) in found.items())
    least = min(a / b for a, b in found.values())
    return text, NOTHING, "", {"least_ratio": least}, sum(_by_network(points).values())


def iterating(points: pd.DataFrame) -> Measured:
    """C13: largest rate without loss, iterative against one-shot, on every network."""
    shown, found = tradeoff.means(points), {}
    for network in _by_network(points):
        found[network] = [
            100 / tradeoff.lossless(shown, network, curve) for curve in ("L2, retrained", "L2, iterative")
        ]
    text = "; ".join(f"{TITLES[n]}: {a:.1f}x -> {b:.1f}x" for n, (a, b) in found.items())
    least = min(b / a for a, b in found.values())
    return text, NOTHING, "", {"least_ratio": least}, sum(_by_network(points).values())


def _compared(first: str, second: str, low: float, high: float) -> Callable[[pd.DataFrame], Measured]:
    """Whether the error of the curve `first` is below that of `second` at every density, on every network."""

    def measure(points: pd.DataFrame) -> Measured:
        parts, worst, most = [], -math.inf, max(_by_network(points), key=_by_network(points).get)
        averages = []
        for network in _by_network(points):
            gaps = tradeoff.gap(points, network, (first, second), low, high)
            by_density = gaps.groupby("point").mean()
            worst = max(worst, by_density.max())
            averages.append(gaps.mean())
            parts.append(f"{TITLES[network]}: {by_density.min():+.2f} to {by_density.max():+.2f}")
        interval = tradeoff.summary_of(tradeoff.gap(points, most, (first, second), low, high))
        text = f"error, {first} minus {second}, in points by density: " + "; ".join(parts)
        measures = {"largest_gap": worst, "largest_mean_gap": max(averages)}
        return text, interval, f"points, mean on {TITLES[most]}", measures, sum(_by_network(points).values())

    return measure


def better_than_dense(points: pd.DataFrame) -> Measured:
    """C14: densities at which the pruned network beats its dense one, the whole 95 % interval below zero."""
    found = tradeoff.below_dense(tradeoff.means(points))
    text = f"{len(found)} points of the curves beat their dense network"
    interval = NOTHING
    if len(found):
        best = found.loc[found["interval to"].idxmin()]
        where = f"{TITLES[best.network]}, {best.curve}, at {best['density %']:.0f} %"
        text += f"; {where}: {best['change mean']:+.2f} points"
        interval = Summary(*best[["change mean", "change sd", "interval from", "interval to", "seeds"]])
    return text, interval, "points", {"densities_below": len(found)}, sum(_by_network(points).values())


def loss_at(curve: list[dict], density: float = 0.5) -> float:
    """Rise of the error (points) where the layer keeps the share `density`, interpolated along its curve."""
    densities = [row["density"] for row in curve]
    errors = [100 * row["errors"] / row["images"] for row in curve]
    return float(np.interp(density, densities[::-1], errors[::-1])) - errors[0]


def sensitive_layers(record: Record) -> Measured:
    """C15: the loss of each layer when it alone keeps half of its weights, not retrained."""
    losses = {layer: loss_at(curve) for layer, curve in record.metrics["sensitivity"].items()}
    conv = [loss for layer, loss in losses.items() if layer.startswith("conv")]
    fc = [loss for layer, loss in losses.items() if not layer.startswith("conv")]
    most = max(losses, key=losses.get)
    text = (
        f"at half of a layer's weights, points lost: conv1 {losses['conv1']:.2f}, CONV on average {np.mean(conv):.2f}, "
        f"FC {np.mean(fc):.2f}; most: {most} {losses[most]:.2f}"
    )
    measures = {"conv1_first": float(most == "conv1"), "conv_minus_fc": float(np.mean(conv) - np.mean(fc))}
    return text, NOTHING, "", measures, 1


def fc1_weights(chain: Chain, layer: str = "fc1") -> dict[str, Tensor]:
    """Figure 7's three sets of weights: dense, those that the chosen round keeps, and what retraining made of them."""
    last = chosen(chain)
    before, (after, masks) = chain[0].tensors()[0][f"{layer}.weight"], last.tensors()
    kept = masks[layer]
    return {
        "before pruning": before.flatten(),
        "after pruning": before[kept],
        "after retraining": after[f"{layer}.weight"][kept],
    }


def modes(weights: Tensor, bins: int = 61) -> dict[str, float]:
    """The 99 % range of weights (half its width), the highest bin on each side, and how full the middle bin is.

    middle: count of the bin around zero over that of the lower of the two modes; 1 where there is no gap.
    """
    if not len(weights):
        return dict.fromkeys(("range", "left", "right", "middle"), math.nan)
    low, high = (torch.quantile(weights[: 2**24], q).item() for q in (0.005, 0.995))
    reach = max(-low, high)
    counts, edges = np.histogram(weights.numpy(), bins, (-reach, reach))
    middle, centres = bins // 2, (edges[:-1] + edges[1:]) / 2
    left, right = counts[:middle].argmax(), middle + 1 + counts[middle + 1 :].argmax()
    gap = counts[middle] / max(min(counts[left], counts[right]), 1)
    return {"range": (high - low) / 2, "left": centres[left], "right": centres[right], "middle": float(gap)}


def bimodal(chains: list[Chain]) -> Measured:
    """C16: two modes of opposite sign with a gap around zero, and a wider 99 % range, after retraining fc1."""
    parts = fc1_weights(chains[0])
    pruned, retrained = modes(parts["after pruning"]), modes(parts["after retraining"])
    text = (
        f"fc1 of the stand-in: modes at {retrained['left']:+.3f} and {retrained['right']:+.3f}, the middle "
        f"{100 * retrained['middle']:.0f} % as high as the lower one; half the 99 % range "
        f"{pruned['range']:.3f} -> {retrained['range']:.3f}"
    )
    measures = {"middle": retrained["middle"], "growth": retrained["range"] / pruned["range"]}
    return text, NOTHING, "", measures, len(chains)


def other_methods(methods: Mapping[str, Record]) -> Measured:
    """C27: magnitude pruning against a naive cut and an SVD of the same size, on the stand-in."""
    errors = {name: record.error() for name, record in methods.items()}
    pruned = (errors["Magnitude pruning, 1/3"], errors["Magnitude pruning, 1/9"])
    others = (errors["SVD, 1/3"], errors["Naive cut, 1/9"])
    text = (
        f"error at 1/3 of the weights: pruned {pruned[0]:.2f} %, SVD {others[0]:.2f} %; "
        f"at 1/9: pruned {pruned[1]:.2f} %, naive cut {others[1]:.2f} %"
    )
    return text, NOTHING, "", {"largest_gap": max(a - b for a, b in zip(pruned, others))}, 1


CURVE_CLAIMS: dict[str, Callable[[pd.DataFrame], Measured]] = {
    "C10": cliff,
    "C11": _compared("L1, not retrained", "L2, not retrained", 10, 30),
    "C12": _compared("L2, retrained", "L1, retrained", 5, 20),
    "C13": iterating,
    "C14": better_than_dense,
    "C28": _compared("L2, retrained", "L1, then L2", 5, 20),
}
