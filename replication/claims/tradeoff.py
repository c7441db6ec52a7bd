"""The claims of Figure 5, on its curves: C10 to C14 and C28."""

import math
from collections.abc import Callable

import pandas as pd

from .. import tradeoff
from ..networks import TITLES
from ..profiles import Profile
from .comparisons import all_curves
from .rules import Claim, Evidence, Measured, Nest


def _points(curves: Nest, profile: Profile) -> pd.DataFrame | None:
    """Figure 5's points; None where the profile has not all of the networks that the claims are about."""
    return tradeoff.table(curves) if set(profile.curves) == set(tradeoff.MARGIN) else None


CURVES = Evidence("curves", all_curves, _points)


def _by_network(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Figure 5's points, network by network."""
    return dict(list(points.groupby("network", sort=False)))


def _lossless(points: pd.DataFrame, network: str, curve: str) -> pd.Series:
    """The smallest density (%) without loss of one network and curve, by seed."""
    each = points[points.network == network].groupby("seed")
    return pd.Series({seed: tradeoff.lossless(tradeoff.means(part), network, curve) for seed, part in each})


def cliff(points: pd.DataFrame) -> Measured:
    """C10: smallest density without loss, L2, with retraining against without, on every network."""
    shown, found, gaps = tradeoff.means(points), {}, {}
    for network in _by_network(points):
        curves = ("L2, not retrained", "L2, retrained")
        found[network] = [tradeoff.lossless(shown, network, curve) for curve in curves]
        before, after = (_lossless(points, network, curve) for curve in curves)
        gaps[network] = pd.DataFrame({"twice the density retrained, minus not retrained": 2 * after - before})
    text = "; ".join(f"{TITLES[n]}: {a:.0f} % -> {b:.0f} % of the weights" for n, (a, b) in found.items())
    return Measured(text, {"least_ratio": min(a / b for a, b in found.values())}, gaps)


def iterating(points: pd.DataFrame) -> Measured:
    """C13: largest rate without loss, iterative against one-shot, on every network."""
    shown, found, gaps = tradeoff.means(points), {}, {}
    for network in _by_network(points):
        curves = ("L2, retrained", "L2, iterative")
        found[network] = [100 / tradeoff.lossless(shown, network, curve) for curve in curves]
        once, iterative = (100 / _lossless(points, network, curve) for curve in curves)
        gaps[network] = pd.DataFrame({"1.3 times the rate at once, minus iterative": 1.3 * once - iterative})
    text = "; ".join(f"{TITLES[n]}: {a:.1f}x -> {b:.1f}x" for n, (a, b) in found.items())
    return Measured(text, {"least_ratio": min(b / a for a, b in found.values())}, gaps)


def compared(first: str, second: str, low: float, high: float) -> Callable[[pd.DataFrame], Measured]:
    """Whether the error of the curve `first` is below that of `second` at every density, on every network."""

    def measure(points: pd.DataFrame) -> Measured:
        parts, worst, averages, gaps = [], -math.inf, [], {}
        for network in _by_network(points):
            by_point = tradeoff.gap(points, network, (first, second), low, high)
            means = by_point.groupby("point").mean()
            worst = max(worst, means.max())
            averages.append(by_point.mean())
            gaps[network] = by_point.groupby("seed").mean().to_frame(f"{first} minus {second}")
            parts.append(f"{TITLES[network]}: {means.min():+.2f} to {means.max():+.2f}")
        text = f"error, {first} minus {second}, in points by density: " + "; ".join(parts)
        most = max(gaps, key=lambda network: len(gaps[network]))
        measures = {"largest_gap": worst, "largest_mean_gap": max(averages)}
        return Measured(text, measures, gaps, f"points, mean on {TITLES[most]}")

    return measure


def better_than_dense(points: pd.DataFrame) -> Measured:
    """C14: densities at which the pruned network beats its dense one, the whole 95 % interval below zero."""
    shown, gaps = tradeoff.means(points), {}
    found = tradeoff.below_dense(shown)
    for network, part in _by_network(points).items():
        rows = shown[(shown.network == network) & shown.curve.isin(tradeoff.RETRAINED.values())]
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


_FIGURE5 = {
    "page": "figure5_tradeoff",
    "evidence": CURVES,
    "where": "both LeNets and the AlexNet stand-in",
    "stand_in": True,
}
_L2_AGAINST_L1 = compared("L2, retrained", "L1, retrained", 5, 20)
CLAIMS = (
    Claim("C10", measure=cliff, seeds=1, holds=lambda m: m["least_ratio"] >= 2, **_FIGURE5),
    Claim(
        "C11",
        measure=compared("L1, not retrained", "L2, not retrained", 10, 30),
        seeds=1,
        holds=lambda m: m["largest_gap"] < 0,
        **_FIGURE5,
    ),
    Claim("C12", measure=_L2_AGAINST_L1, seeds=1, holds=lambda m: m["largest_gap"] < 0, **_FIGURE5),
    Claim("C13", measure=iterating, seeds=1, holds=lambda m: m["least_ratio"] >= 1.3, **_FIGURE5),
    Claim("C14", measure=better_than_dense, seeds=2, holds=lambda m: m["densities_below"] >= 1, **_FIGURE5),
    Claim(
        "C28",
        measure=compared("L2, retrained", "L1, then L2", 5, 20),
        seeds=1,
        holds=lambda m: m["largest_mean_gap"] <= 0,
        **_FIGURE5,
    ),
)
