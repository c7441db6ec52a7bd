"""Figure 5: density against accuracy, curve by curve, and the claims that the paper reads off it."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ..profiles import Profile
from ..runs import Record
from ..scheduler import compute
from ..statistics import Summary, summarise
from . import comparisons

Curves = Mapping[str, Sequence[Mapping[str, Sequence[Record]]]]  # by network, one per seed, by curve
RETRAINED = {"L2": "L2, retrained", "L1": "L1, retrained", "L1 then L2": "L1, then L2", "L2 iterative": "L2, iterative"}
# ours: "without loss" is a mean change of the test error within the margin that Table 1's claims have
MARGIN = {"lenet_300_100": 0.10, "lenet_5": 0.10, "alexnet_32": 0.50}  # points; of C21 and C24 as well


def records(profile: Profile, jobs: int = 0) -> Curves:
    """The records of Figure 5's runs, computed where they are missing."""
    plan = {
        n: [comparisons.curves(n, seed, profile) for seed in comparisons.curve_seeds(n, profile)]
        for n in profile.curves
    }
    flat = [run for each in plan.values() for by_curve in each for runs in by_curve.values() for run in runs]
    found = {run.key: record for run, record in zip(flat, compute(flat, jobs))}
    return {
        network: [{name: [found[run.key] for run in runs] for name, runs in by_curve.items()} for by_curve in each]
        for network, each in plan.items()
    }


def flat(curves: Curves) -> list[Record]:
    """Every record of the curves, each once."""
    each = [r for seeds in curves.values() for by_curve in seeds for runs in by_curve.values() for r in runs]
    return list({record.key: record for record in each}.values())


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
                base = _percent(_base(by_curve[name if name == "L2 iterative" else "L2"]), kind)
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


def _base(curve: Sequence[Record]) -> Mapping[str, float]:
    """Test score of the dense network that the curve starts from: of that very one, should it be trained anew here."""
    start, first = curve[:2]
    return first.metrics["parent"]["test"] if "parent" in first.metrics else start.metrics["test"]


def means(points: pd.DataFrame) -> pd.DataFrame:
    """By network, curve and point: mean density, and the change of the error as mean, deviation and 95 % interval."""
    rows = []
    for (network, curve, point), group in points.groupby(["network", "curve", "point"], sort=False):
        change = summarise(group.change)
        rows.append(
            {"network": network, "curve": curve, "point": point, "density %": group["density %"].mean()}
            | {"error %": group["error %"].mean(), "change mean": change.mean, "change sd": change.sd}
            | {"interval from": change.low, "interval to": change.high, "seeds": change.n}
        )
    return pd.DataFrame(rows)


def lossless(shown: pd.DataFrame, network: str, curve: str) -> float:
    """The smallest mean density, 0 to 100, at which the curve's mean change is within MARGIN (100: none is)."""
    part = shown[(shown.network == network) & (shown.curve == curve)]
    return min([100.0, *part[part["change mean"] <= MARGIN[network]]["density %"]])


def gap(points: pd.DataFrame, network: str, curves: tuple[str, str], low: float, high: float) -> pd.Series:
    """Error of the first curve less that of the second, by density (`low` to `high` %) and seed, on one network."""
    part = points[(points.network == network) & points["density %"].between(low - 0.5, high + 0.5)]
    first, second = (part[part.curve == c].set_index(["point", "seed"])["error %"] for c in curves)
    return first - second


def below_dense(shown: pd.DataFrame) -> pd.DataFrame:
    """Points whose mean change lies below zero with its whole 95 % interval: better than the dense network."""
    retrained = shown[shown.curve.isin(RETRAINED.values())]
    return retrained[(retrained["change mean"] < 0) & (retrained["interval to"] < 0)]


def summary_of(differences: pd.Series) -> Summary:
    """Mean over densities for each seed, then over seeds."""
    return summarise(differences.groupby("seed").mean())
