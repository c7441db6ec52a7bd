"""The claims of the text, measured on the runs of `variants`: C19 to C24."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import pandas as pd

from .registry import TITLES
from .runs import Record
from .statistics import Summary, error_columns, summarise
from .tradeoff import MARGIN
from .variants import DENSE, KEPT, LONGER, NAMES, RATES, Variants

Measured = tuple[str, Summary, str, dict[str, float], int]  # text, what the interval is of, its unit, measures, seeds
DECAYED = 1e-3  # of the layer's standard deviation: below it a dead neuron's weights count as gone (C23)
SAME = 1e-4  # of the deviation of the logits: outputs this close differ by rounding alone


def errors(each: Variants, name: str) -> pd.Series:
    """Test errors (%) of one variant, by the seed of its set: the dense reference of a stand-in has another."""
    return pd.Series({max(r.run["seed"] for r in named.values()): named[name].error() for named in each})


def difference(each: Variants, first: str, second: str) -> Summary:
    """Error of the first variant less that of the second, in points, paired over seeds."""
    return summarise(errors(each, first) - errors(each, second))


def _seeds(found: Mapping[str, Variants]) -> int:
    return sum(len(each) for each in found.values())


def _gap(summary: Summary) -> str:
    interval = f"95 %: {summary.low:+.2f} to {summary.high:+.2f}" if summary.n > 1 else "one seed"
    return f"{summary.mean:+.2f} ({interval})"


def _better(first: str, second: str) -> Callable[[Mapping[str, Variants]], Measured]:
    """Is the error of the first variant below that of the second, with its whole interval, on every network?

    Networks with one seed are told, and decide nothing.
    """

    def measure(found: Mapping[str, Variants]) -> Measured:
        gaps = {network: difference(each, first, second) for network, each in found.items()}
        text = f"error {first} minus {second}, points: " + "; ".join(f"{TITLES[n]} {_gap(g)}" for n, g in gaps.items())
        known = [gap for gap in gaps.values() if gap.n > 1] or list(gaps.values())  # one seed has no interval
        measures = {"highest": max(gap.high for gap in known), "lowest": max(gap.low for gap in known)}
        return text, next(iter(gaps.values())), f"points, {TITLES[next(iter(gaps))]}", measures, _seeds(found)

    return measure


def in_turn(found: Mapping[str, Variants]) -> Measured:
    """C21: fixing CONV and FC in turn against retraining all of them, as many epochs."""
    gaps = {network: difference(each, "in turn", "joint") for network, each in found.items()}
    text = "error in turn minus joint, points: " + "; ".join(f"{TITLES[n]} {_gap(g)}" for n, g in gaps.items())
    measures = {"excess": max(g.mean - MARGIN[n] for n, g in gaps.items())}
    return text, next(iter(gaps.values())), f"points, {TITLES[next(iter(gaps))]}", measures, _seeds(found)


def choosing(found: Mapping[str, Variants]) -> Measured:
    """C22: pruned by threshold, by chance that grows with |w|, and uniformly at random; all retrained."""
    order, parts = (KEPT, "probabilistic", "uniform random"), []
    steps = []
    for network, each in found.items():
        means = [errors(each, name).mean() for name in order]
        steps += [b - a for a, b in pairwise(means)]
        parts.append(f"{TITLES[network]} " + " < ".join(f"{m:.2f}" for m in means).replace("<", "/"))
    text = "error by threshold / probability / uniform chance, %: " + "; ".join(parts)
    network, each = next(iter(found.items()))
    gap = difference(each, "probabilistic", KEPT)
    unit = f"points, probabilistic minus threshold, {TITLES[network]}"
    return text, gap, unit, {"least_step": min(steps)}, _seeds(found)


def left_over(record: Record, moment: str = "end") -> float:
    """The largest weight left on a dead neuron's other side, in deviations of its layer; moment: "start" or "end"."""
    rows = record.metrics["history"]
    left = rows[-1]["dead"] if moment == "end" and rows else record.metrics["dead_before"]
    return max(kind["largest"] for kind in left.values())


def dead_count(record: Record) -> int:
    """How many neurons the pruning of a run has killed."""
    return sum(sum(kinds.values()) for kinds in record.metrics["dead_units"].values())


def dying(found: Mapping[str, Variants]) -> Measured:
    """C23: what is left of dead neurons' weights after retraining with L2, and what removing the neurons changes."""
    parts, largest, changed, dead = [], 0.0, 0.0, math.inf
    for network, each in found.items():
        ends = {name: [left_over(named[name]) for named in each] for name in NAMES["C23"]}
        start = max(left_over(named[KEPT], "start") for named in each)
        counts = [dead_count(named[KEPT]) for named in each]
        removed = [named[KEPT].metrics["without_dead"].get("largest_difference", math.inf) for named in each]
        largest, changed, dead = max(largest, *ends[KEPT]), max(changed, *removed), min(dead, *counts)
        parts.append(
            f"{TITLES[network]}: {sum(counts) / len(counts):.0f} dead neurons, largest weight left from {start:.2f} to "
            f"{max(ends[KEPT]):.2f} deviations (without L2 {max(ends['no L2']):.2f})"
        )
    text = "; ".join(parts) + f"; removing them moves no output by more than {changed:.0e} deviations"
    summary = Summary(math.nan, math.nan, math.nan, math.nan, 0)
    return text, summary, "", {"largest": largest, "changed": changed, "dead": dead}, _seeds(found)


def rates(found: Mapping[str, Variants]) -> Measured:
    """C24: the paper's learning rate of retraining, a tenth, against the best of RATES."""
    parts, excess, gaps = [], -math.inf, []
    for network, each in found.items():
        means = {rate: errors(each, f"rate {rate:g}").mean() for rate in RATES}
        best = min(means, key=means.get)
        gaps.append(difference(each, "rate 0.1", f"rate {best:g}"))
        excess = max(excess, means[0.1] - means[best] - MARGIN[network])
        parts.append(f"{TITLES[network]} {means[0.1]:.2f} % at 1/10, best {means[best]:.2f} % at {best:g}")
    unit = f"points, at 1/10 minus at the best, {TITLES[next(iter(found))]}"
    return "; ".join(parts), gaps[0], unit, {"excess": excess}, _seeds(found)


TEXT_CLAIMS: dict[str, Callable[[Mapping[str, Variants]], Measured]] = {
    "C19": _better("Dr", "Do"),
    "C20": _better(KEPT, "re-initialised"),
    "C21": in_turn,
    "C22": choosing,
    "C23": dying,
    "C24": rates,
}


def table(claim: str, found: Mapping[str, Variants]) -> pd.DataFrame:
    """One row per network and variant: density, test error before and after retraining, and its change against dense.

    Errors in percent, changes in points (paired over seeds, with a 95 % interval by Student's t).
    """
    rows = []
    for network, each in found.items():
        for name in [n for n in (DENSE, "dense with dropout", LONGER, *each[0]) if n in each[0]]:
            if any(row["variant"] == name and row["network"] == TITLES[network] for row in rows):
                continue
            records = [named[name] for named in each]
            error, rate = summarise(r.error() for r in records), summarise(r.rate for r in records)
            pruned = summarise(_before(r) for r in records)
            base = "dense with dropout" if claim == "C19" and "dense with dropout" in each[0] else DENSE
            change = difference(each, name, base)
            rows.append(
                {"network": TITLES[network], "variant": name, "rate": rate.mean}
                | {"error % not retrained": pruned.mean}
                | error_columns(error, change)
            )
    return pd.DataFrame(rows)


def _before(record: Record) -> float:
    """Test error (%) right after the pruning, nan where nothing was pruned."""
    score = record.metrics.get("before_retraining")
    return 100 * score["errors"] / score["images"] if score else math.nan


def by_seed(claim: str, found: Mapping[str, Variants]) -> pd.DataFrame:
    """The errors behind `table`: network, variant, seed, test error (%)."""
    return pd.DataFrame(
        [
            {"claim": claim, "network": TITLES[network], "variant": name, "seed": seed, "test error %": error}
            for network, each in found.items()
            for name in each[0]
            for seed, error in errors(each, name).items()
        ]
    )


def dead_neurons(found: Mapping[str, Variants]) -> pd.DataFrame:
    """C23 in numbers, means over seeds: dead neurons, the weights left to them before and after, and their removal."""
    rows = []
    for network, each in found.items():
        for name in NAMES["C23"]:
            records = [named[name] for named in each]
            for kind in ("no_input", "no_output"):
                before = [r.metrics["dead_before"][kind] for r in records]
                after = [r.metrics["history"][-1]["dead"][kind] for r in records]
                counts = [sum(kinds[kind] for kinds in r.metrics["dead_units"].values()) for r in records]
                rows.append(
                    {"network": TITLES[network], "retrained": "with L2" if name == KEPT else "without L2"}
                    | {"dead for want of": kind.removeprefix("no_") + "s", "neurons": sum(counts) / len(counts)}
                    | {"weights left": sum(b["weights"] for b in before) / len(before)}
                    | {"largest before": max(b["largest"] for b in before)}
                    | {"largest after": max(a["largest"] for a in after), "counts as gone": f"below {DECAYED:g}"}
                )
    return pd.DataFrame(rows)


def removals(found: Mapping[str, Variants]) -> pd.DataFrame:
    """C23's second half: units and weights that removal takes, and what it changes on the validation images."""
    rows = []
    for network, each in found.items():
        gone = [named[KEPT].metrics["without_dead"] for named in each if named[KEPT].metrics["without_dead"]]
        if gone:
            rows.append(
                {"network": TITLES[network], "neurons removed": sum(sum(g["units"].values()) for g in gone) / len(gone)}
                | {"kept weights removed": sum(g["weights"] for g in gone) / len(gone)}
                | {"answers that differ": sum(g["changed_answers"] for g in gone)}
                | {"largest difference of an output, deviations": max(g["largest_difference"] for g in gone)}
            )
    return pd.DataFrame(rows)
