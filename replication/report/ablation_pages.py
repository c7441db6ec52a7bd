"""What the pages of C19 to C24 share: the table, the figure and the sentence that compare the variants of a claim."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..claims.ablations import CONTROLS, DENSE, Found, Variants, errors
from ..claims.verdicts import Summary, summarise
from ..networks.registry import TITLES
from ..runs.recipes import STAND_INS
from ..runs.spec import Record
from .figures import FADED, OURS, PAPER, Drawn, log_ticks
from .tables import error_columns


def difference(each: Variants, first: str, second: str) -> Summary:
    """Error of the first variant less that of the second, in points, paired over seeds."""
    return summarise(errors(each, first) - errors(each, second))


def table(found: Found) -> pd.DataFrame:
    """One row per network and variant: density, test error before and after retraining, and its change against dense.

    Errors in percent, changes in points (paired over seeds, with a 95 % interval by Student's t) against the dense
    network that all others start from.
    """
    rows = []
    for network, each in found.items():
        for name in each[0]:
            records = [named[name] for named in each]
            rows.append(
                {"network": TITLES[network], "variant": name, "rate": summarise(r.rate for r in records).mean}
                | {"error % not retrained": summarise(map(_before, records)).mean}
                | error_columns(summarise(r.error() for r in records), difference(each, name, DENSE))
            )
    return pd.DataFrame(rows)


def _before(record: Record) -> float:
    """Test error (%) right after the pruning, nan where nothing was pruned."""
    score = record.metrics.get("before_retraining")
    return 100 * score["errors"] / score["images"] if score else np.nan


def by_seed(claim: str, found: Found) -> pd.DataFrame:
    """The errors behind `table`: claim, network, variant, seed, test error (%)."""
    rows = [
        {"claim": claim, "network": TITLES[network], "variant": name, "seed": seed, "test error %": error}
        for network, each in found.items()
        for name in each[0]
        for seed, error in errors(each, name).items()
    ]
    return pd.DataFrame(rows)


def comparison(claim: str, found: Found, labels: Mapping[str, str] = {}) -> Drawn:
    """Test error of each variant of a claim, one panel per network: every seed, the mean and its 95 % interval.

    labels: of variants, for readers.
    """
    there = dict.fromkeys(name for each in found.values() for name in each[0])
    names = [*(c for c in CONTROLS if c in there), *(name for name in there if name not in CONTROLS)]
    size = (7.4 if len(found) > 1 else 5.5, 1 + 0.34 * len(names))
    figure, panels = plt.subplots(1, len(found), figsize=size, layout="constrained", squeeze=False)
    for axes, (network, each) in zip(panels[0], found.items()):
        values = {name: errors(each, name) for name in names if name in each[0]}
        for name, errs in values.items():
            place, colour, mean = names.index(name), PAPER if name in CONTROLS else OURS, summarise(errs)
            axes.scatter(errs, np.full(len(errs), place), s=18, color=colour, alpha=0.35, linewidths=0)
            axes.errorbar(mean.mean, place, xerr=mean.reach, fmt="o", ms=5, capsize=3, color=colour, lw=1.6)
        axes.axvline(values[DENSE].mean(), color=FADED, lw=1, zorder=0)
        axes.set(title=TITLES[network], xlabel="test error (%)", ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), [labels.get(name, name) for name in names])
        axes.tick_params(labelleft=axes is panels[0][0])
        means = [errs.mean() for errs in values.values()]
        if max(means) > 6 * min(means):  # one variant is worse by far than the others
            log_ticks(axes, [t for t in (0.5, 1, 2, 5, 10, 20, 50, 90) if min(means) / 1.5 < t < max(means) * 1.5])
    return figure, by_seed(claim, found), _in_words(found, names, labels)


def _in_words(found: Found, names: Sequence[str], labels: Mapping[str, str]) -> str:
    """What `comparison` draws: the mean error of each variant, network by network."""
    parts = []
    for network, each in found.items():
        means = {labels.get(name, name): errors(each, name).mean() for name in names if name in each[0]}
        parts.append(f"{TITLES[network]}: " + ", ".join(f"{name} {mean:.2f} %" for name, mean in means.items()))
    return f"Mean test error of each variant, with every seed and the 95 % interval. {'; '.join(parts)}."


def effect(found: Found, first: str, second: str) -> str:
    """By network: whether the first variant's error lies below or above the second's with its whole 95 % interval."""
    parts = []
    for network, each in found.items():
        gap = difference(each, first, second)
        if gap.high < 0:
            told = f"it lowers the test error by {-gap.mean:.2f} points"
        elif gap.low > 0:
            told = f"it raises the test error by {gap.mean:.2f} points"
        elif gap.n < 2:
            told = f"one seed differs by {gap.mean:+.2f} points, which decides nothing"
        else:
            told = f"no effect is seen in {gap.n} seeds ({gap.low:+.2f} to {gap.high:+.2f} points)"
        parts.append(f"on {'the ' * (network in STAND_INS.values())}{TITLES[network]} {told}")
    return "; ".join(parts)
