"""Figure 5: density against accuracy, curve by curve, and the claims that the paper reads off it: C10 to C14, C28."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from ..networks.registry import TITLES
from ..runs import Record, comparisons
from ..runs.profiles import Profile
from ..runs.spec import paired
from .rules import Claim, Evidence, Measured
from .verdicts import FAILS, HOLDS, SIGNS, UNDECIDED, Comparison, by_some_column

Curves = Mapping[str, Sequence[Mapping[str, Sequence[Record]]]]  # by network, one per seed, by curve
RETRAINED = {
    "L2": "L2, retrained",
    "L1": "L1, retrained",
    "L1 then L2": "L1, then L2",
    "L2 iterative": "L2, iterative",
    "L2 one-shot": "L2, one-shot",  # retrained for as many epochs in all as the iterative chain by that density
}
BEFORE, AFTER, _, _, ITERATIVE, ONE_SHOT = "L2, not retrained", *RETRAINED.values()
OWN_START = ("L2 iterative", "L2 one-shot")  # curves that are measured against the dense network that they start from
# ours: "without loss" is a change of the test error within the margin that Table 1's claims have
MARGIN = {"lenet_300_100": 0.10, "lenet_5": 0.10, "alexnet_32": 0.50}  # points; of C21 and C24 as well
NEAR = 0.5  # points of density: a search ends so near to the density that it was asked for


def table(curves: Curves, kind: str = "errors") -> pd.DataFrame:
    """Figure 5's points: network, curve, seed, point (its place on the curve), density (%), test error and its change.

    kind: which count of a record's test metrics, "errors" (top-1) or "top5_errors" (on ImageNet alone).
    The change, in points, is that against the curve's own dense network; for those that start from an L1-trained one,
    against the L2-trained network of the same seed.
    """
    rows = []
    for network, each in curves.items():
        for by_curve in each:
            for name, (_, *points) in by_curve.items():
                start = paired(by_curve[name if name in OWN_START else "L2"])[0]
                base = _percent(start.metrics["test"], kind)
                for number, point in enumerate(points):
                    shown = {RETRAINED[name]: _percent(point.metrics["test"], kind)}
                    if name in ("L2", "L1"):
                        shown[f"{name}, not retrained"] = _percent(point.metrics["before_retraining"], kind)
                    rows += [
                        {"network": network, "curve": curve, "seed": point.run["seed"], "point": number}
                        | {"density %": 100 / point.rate, "error %": error, "change": error - base}
                        for curve, error in shown.items()
                    ]
    return pd.DataFrame(rows)


def _percent(score: Mapping[str, float], kind: str) -> float:
    return 100 * score[kind] / score["images"]


def lossless(curve: pd.DataFrame, margin: float) -> tuple[float, bool]:
    """The smallest density (%) without loss on one seed's curve, and whether the curve ends there.

    curve: its points, density % and change. Without loss is a change of at most `margin` points. Between two densities,
    and between the dense network (100 %, no change) and the first, the change is a straight line over the logarithm of
    the density. A curve that loses nothing at its last density says only that the smallest is not above it.
    """
    points = curve.sort_values("density %")
    place, change = np.log([*points["density %"], 100]), [*points.change, 0]
    first = next(number for number, each in enumerate(change) if SIGNS["<="](each, margin))
    if first == 0:
        return float(np.exp(place[0])), True
    steps = [change[first], change[first - 1]]  # rising, as np.interp asks
    return float(np.exp(np.interp(margin, steps, [place[first], place[first - 1]]))), False


def mean_error(curve: pd.DataFrame, low: float, high: float) -> float:
    """Mean test error (%) of one seed's curve over its densities from `low` to `high` %; nan where it ends before.

    The mean is over the curve's own densities in this range and both ends of it; where it has no point within NEAR
    points of an end, its error there lies on a straight line over the logarithm of the density.
    """
    points = curve.sort_values("density %")
    density = points["density %"].to_numpy()
    if density[0] > low + NEAR or density[-1] < high - NEAR:
        return math.nan
    inside = density[(density > low + NEAR) & (density < high - NEAR)]
    ends = [_nearest(density, end) for end in (low, high)]
    return float(np.interp(np.log([*ends, *inside]), np.log(density), points["error %"]).mean())


def _nearest(densities: np.ndarray, end: float) -> float:
    """The density within NEAR points of an end of the range, the end itself where there is none."""
    nearest = densities[np.abs(densities - end).argmin()]
    return nearest if abs(nearest - end) <= NEAR else end


def _curves(points: pd.DataFrame, network: str, names: Sequence[str]) -> dict[int, list[pd.DataFrame]]:
    """One network's curves of these names, by seed; a seed that lacks one is left out."""
    own = points[points.network == network]
    found = {seed: [part[part.curve == name] for name in names] for seed, part in own.groupby("seed")}
    return {seed: each for seed, each in found.items() if all(map(len, each))}


def compared(first: str, second: str, low: float, high: float, margin: bool = False) -> Callable[..., Measured]:
    """C11, C12, C28: the mean error of the curve `first` from `low` to `high` % density is at most that of `second`.

    margin: the limit is MARGIN instead of 0.
    """
    name = f"error of {first} less {second}"

    def measure(points: pd.DataFrame) -> Measured:
        found = []
        for network in points.network.unique():
            means = {
                seed: [mean_error(curve, low, high) for curve in each]
                for seed, each in _curves(points, network, (first, second)).items()
            }
            gaps = pd.DataFrame({name: {seed: a - b for seed, (a, b) in means.items()}}, dtype=float)
            limit = MARGIN[network] if margin else 0
            barred = {UNDECIDED: f"no densities from {low} to {high} %"} if gaps[name].isna().any() else {}
            found.append(Comparison(network, gaps, {name: ("<=", limit)}, barred=barred))
        return Measured(found)

    return measure


def reaching(
    first: str, second: str, name: str, gap: Callable[[float, float], float], unit: str, lacking: str = ""
) -> Callable[[pd.DataFrame], Measured]:
    """C10, C13: what each seed's smallest densities without loss on two curves say of a claim.

    gap: of those densities (%), not above zero where the claim is right; it falls with the first and rises with the
    second; name, unit: of the gap; lacking: why there is none, where a curve is missing. Where a curve ends without
    loss its density is an upper limit: a status that a smaller one might turn is undecided.
    """

    def on(points: pd.DataFrame, network: str) -> Comparison:
        each = _curves(points, network, (first, second))
        ends = {seed: [lossless(curve, MARGIN[network]) for curve in curves] for seed, curves in each.items()}
        rows = {seed: {name: gap(a, b), first: a, second: b} for seed, ((a, _), (b, _)) in ends.items()}
        values = pd.DataFrame.from_dict(rows, "index", columns=[name, first, second], dtype=float)
        barred = {UNDECIDED: lacking} if lacking and not rows else {}
        for place, status in enumerate((HOLDS, FAILS)):
            if any(both[place][1] for both in ends.values()):
                barred[status] = "a curve ends without loss"
        return Comparison(network, values, {name: ("<=", 0)}, unit, barred=barred)

    def measure(points: pd.DataFrame) -> Measured:
        found = [on(points, network) for network in points.network.unique()]
        means = {TITLES[each.network]: each.values[[first, second]].mean() for each in found if len(each.values)}
        told = [f"{title} {mean[first]:.1f} and {mean[second]:.1f} %" for title, mean in means.items()]
        head = f"smallest density without loss, {first} and {second}"
        return Measured(found, f"{head}: {'; '.join(told)}" if told else "")

    return measure


def better_than_dense(points: pd.DataFrame) -> Measured:
    """C14: the paired changes at each density of the retrained L2 curves, all curves of a network together.

    The curves begin with one and the same run, which counts once.
    """
    found = []
    for network in points.network.unique():
        own = points[(points.network == network) & points.curve.isin([AFTER, ITERATIVE, ONE_SHOT])]
        if own.empty:
            continue
        names = {
            (curve, number): f"{curve} at {part['density %'].mean():.3g} %"
            for (curve, number), part in own.groupby(["curve", "point"], sort=False)
        }
        wide, density = (own.pivot(index="seed", columns=["curve", "point"], values=v) for v in ("change", "density %"))
        again = pd.concat([wide, density]).T.duplicated().to_numpy()
        values = pd.DataFrame({names[column]: wide[column] for column in wide.columns[~again]})
        bounds = {column: ("<", 0) for column in values}
        found.append(Comparison(network, values, bounds, decide=by_some_column))
    return Measured(found)


def _claim(claim: str, measure: Callable) -> Claim:
    return Claim(claim, "figure5_tradeoff", CURVES, measure, tuple(MARGIN))


def _made(records: Curves, profile: Profile) -> pd.DataFrame | None:
    return table(records) if records else None


def _two_curves(profile: Profile) -> dict:
    """The runs of the L2 and the L1 curve, retrained and not, which C11 and C12 are about."""
    found = comparisons.all_curves(profile)
    return {n: [{name: by_curve[name] for name in ("L2", "L1")} for by_curve in each] for n, each in found.items()}


CURVES = Evidence("curves", comparisons.all_curves, _made)
TWO_CURVES = Evidence("two curves", _two_curves, _made)
cliff = reaching(
    BEFORE, AFTER, "2 x retrained less not retrained", lambda before, after: 2 * after - before, "% of the weights"
)
iterating = reaching(
    ONE_SHOT,
    ITERATIVE,
    "1.3 x rate of one-shot less iterative",
    lambda once, again: 130 / once - 100 / again,
    "x",
    "no one-shot curve of equal budget",
)
CLAIMS = (
    _claim("C10", cliff),
    _claim("C11", compared("L1, not retrained", BEFORE, 10, 30)),
    _claim("C12", compared(AFTER, RETRAINED["L1"], 5, 20)),
    _claim("C13", iterating),
    _claim("C14", better_than_dense),
    _claim("C28", compared(AFTER, RETRAINED["L1 then L2"], 5, 20, margin=True)),
)
