"""The claims of Figure 5, on its curves: C10 to C14 and C28."""

import math
from collections.abc import Callable

import pandas as pd

from ..profiles import Profile
from ..registry import TITLES
from . import curve_points
from .comparisons import all_curves
from .rules import Claim, Evidence, Measured, Nest, Test


def _points(curves: Nest, profile: Profile) -> pd.DataFrame | None:
    """Figure 5's points; None where the profile has not all of the networks that the claims are about."""
    return curve_points.table(curves) if set(profile.curves) == set(curve_points.MARGIN) else None


CURVES = Evidence("curves", all_curves, _points)


def _by_network(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Figure 5's points, network by network."""
    return dict(list(points.groupby("network", sort=False)))


def _lossless(points: pd.DataFrame, network: str, curves: tuple[str, str]) -> list[float]:
    """The smallest density (%) without loss on each of two curves, of the means of these points."""
    shown = curve_points.means(points)
    return [curve_points.lossless(shown, network, curve) for curve in curves]


Two = Callable[[float, float], float | str]


def reach(curves: tuple[str, str], told: Two, gap: Two) -> Callable[[pd.DataFrame], Measured]:
    """C10, C13: how much sparser than the first curve the second gets without loss, on every network.

    told: the two densities (%) in words; gap: of those of one seed, what the claim says is not above zero.
    """

    def measure(points: pd.DataFrame) -> Measured:
        found = {network: _lossless(part, network, curves) for network, part in _by_network(points).items()}
        gaps = {
            network: pd.DataFrame(
                {"gap": {s: gap(*_lossless(each, network, curves)) for s, each in part.groupby("seed")}}
            )
            for network, part in _by_network(points).items()
        }
        text = "; ".join(f"{TITLES[network]}: {told(*densities)}" for network, densities in found.items())
        return Measured(text, {"least_ratio": min(a / b for a, b in found.values())}, gaps)

    return measure


def compared(first: str, second: str, low: float, high: float) -> Callable[[pd.DataFrame], Measured]:
    """Whether the error of the curve `first` is below that of `second` at every density, on every network."""

    def measure(points: pd.DataFrame) -> Measured:
        parts, worst, averages, gaps = [], -math.inf, [], {}
        for network, part in _by_network(points).items():
            by_point = curve_points.gap(points, network, (first, second), low, high)
            means = by_point.groupby("point").mean()
            worst = max(worst, means.max())
            averages.append(by_point.mean())
            by_seed = by_point.groupby("seed").mean().reindex(part.seed.unique())  # nan where no density lies between
            gaps[network] = by_seed.to_frame(f"{first} minus {second}")
            parts.append(f"{TITLES[network]}: {means.min():+.2f} to {means.max():+.2f}")
        text = f"error, {first} minus {second}, in points by density: " + "; ".join(parts)
        most = max(gaps, key=lambda network: len(gaps[network]))
        measures = {"largest_gap": worst, "largest_mean_gap": max(averages)}
        return Measured(text, measures, gaps, f"points, mean on {TITLES[most]}")

    return measure


def better_than_dense(points: pd.DataFrame) -> Measured:
    """C14: densities at which the pruned network beats its dense one, the whole 95 % interval below zero."""
    shown, gaps = curve_points.means(points), {}
    found = curve_points.below_dense(shown)
    for network, part in _by_network(points).items():
        rows = shown[(shown.network == network) & shown.curve.isin(curve_points.RETRAINED.values())]
        best = rows.loc[rows["interval to"].fillna(rows["change mean"]).idxmin()]
        at = part[(part.curve == best.curve) & (part.point == best.point)].set_index("seed")
        gaps[network] = at[["change"]]
    text = f"{len(found)} points of the curves beat their dense network"
    if not len(found):
        return Measured(text, {"densities_below": 0}, gaps)
    best = found.loc[found["interval to"].idxmin()]
    where = f"{TITLES[best.network]}, {best.curve}, at {best['density %']:.0f} %"
    text += f"; {where}: {best['change mean']:+.2f} points"
    return Measured(text, {"densities_below": len(found)}, gaps, "points", best.network)


def _claim(claim: str, measure: Callable, holds: Test, seeds: int = 1) -> Claim:
    where = "both LeNets and the AlexNet stand-in"
    return Claim(claim, "figure5_tradeoff", CURVES, measure, seeds, holds, where=where, stand_in=True)


BEFORE, RETRAINED, ITERATIVE = "L2, not retrained", "L2, retrained", "L2, iterative"
cliff = reach((BEFORE, RETRAINED), lambda a, b: f"{a:.0f} % -> {b:.0f} % of the weights", lambda a, b: 2 * b - a)
iterating = reach(
    (RETRAINED, ITERATIVE), lambda a, b: f"{100 / a:.1f}x -> {100 / b:.1f}x", lambda a, b: 1.3 * 100 / a - 100 / b
)
CLAIMS = (
    _claim("C10", cliff, lambda m: m["least_ratio"] >= 2),
    _claim("C11", compared("L1, not retrained", BEFORE, 10, 30), lambda m: m["largest_gap"] < 0),
    _claim("C12", compared(RETRAINED, "L1, retrained", 5, 20), lambda m: m["largest_gap"] < 0),
    _claim("C13", iterating, lambda m: m["least_ratio"] >= 1.3),
    _claim("C14", better_than_dense, lambda m: m["densities_below"] >= 1, seeds=2),
    _claim("C28", compared(RETRAINED, "L1, then L2", 5, 20), lambda m: m["largest_mean_gap"] <= 0),
)
