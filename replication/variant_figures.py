"""The figures of the text's claims, C19 to C24, from records only."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .figures import FADED, KEPT, OURS, PAPER
from .registry import TITLES
from .statistics import summarise
from .text_claims import DECAYED, by_seed, errors
from .variants import DENSE, LONGER, NAMES, RATES, Variants

CONTROLS = (DENSE, LONGER, "dense with dropout")


def comparison(claim: str, found: Mapping[str, Variants]) -> tuple[Figure, pd.DataFrame]:
    """Test error of each variant of a claim, one panel per network: every seed, the mean and its 95 % interval."""
    names = [name for name in (*CONTROLS, *NAMES[claim]) if any(name in each[0] for each in found.values())]
    figure, panels = plt.subplots(
        1, len(found), figsize=(1.6 + 3.1 * len(found), 1.3 + 0.36 * len(names)), layout="constrained", squeeze=False
    )
    for axes, (network, each) in zip(panels[0], found.items()):
        for place, name in enumerate(names):
            if name not in each[0]:
                continue
            values = errors(each, name)
            colour = PAPER if name in CONTROLS else OURS
            axes.scatter(values, np.full(len(values), place), s=18, color=colour, alpha=0.35, linewidths=0)
            mean = summarise(values)
            reach = mean.high - mean.mean if mean.n > 1 else 0.0
            axes.errorbar(mean.mean, place, xerr=reach, fmt="o", ms=5, capsize=3, color=colour, lw=1.4)
        axes.axvline(errors(each, DENSE).mean(), color=FADED, lw=1, zorder=0)
        axes.set(title=TITLES[network], xlabel="test error (%)", ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), names if axes is panels[0][0] else [""] * len(names))
        _spread(axes, [errors(each, name) for name in names if name in each[0]])
    return figure, by_seed(claim, found)


def _spread(axes, values: list[pd.Series]) -> None:
    """A logarithmic axis where one variant is worse by far than the others."""
    means = [v.mean() for v in values]
    if max(means) > 6 * min(means):
        axes.set_xscale("log")
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 90) if min(means) / 1.5 < t < max(means) * 1.5]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()


def learning_rates(found: Mapping[str, Variants]) -> tuple[Figure, pd.DataFrame]:
    """C24: test error against the learning rate of retraining: every seed, the mean and its 95 % interval."""
    figure, panels = plt.subplots(1, len(found), figsize=(4.4 * len(found), 3.4), layout="constrained", squeeze=False)
    for axes, (network, each) in zip(panels[0], found.items()):
        means = [summarise(errors(each, f"rate {rate:g}")) for rate in RATES]
        for rate in RATES:
            values = errors(each, f"rate {rate:g}")
            axes.scatter(np.full(len(values), rate), values, s=16, color=OURS, alpha=0.35, linewidths=0)
        reach = [m.high - m.mean if m.n > 1 else 0.0 for m in means]
        axes.errorbar(RATES, [m.mean for m in means], yerr=reach, fmt="-o", ms=5, capsize=3, color=OURS, label="pruned")
        for name, line in ((DENSE, "--"), (LONGER, ":")):
            axes.axhline(errors(each, name).mean(), color=PAPER, ls=line, lw=1.2, label=name)
        axes.axvline(0.1, color=KEPT, lw=1, zorder=0, label="the paper's rate")
        axes.set(xscale="log", title=TITLES[network], xlabel="learning rate of retraining / of training")
        axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axes.minorticks_off()
    panels[0][0].set_ylabel("test error (%)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    return figure, by_seed("C24", found)


def dying(found: Mapping[str, Variants]) -> tuple[Figure, pd.DataFrame]:
    """C23: the largest weight left to dead neurons, epoch by epoch, in deviations of its layer; with and without L2."""
    figure, panels = plt.subplots(1, len(found), figsize=(4.6 * len(found), 3.6), layout="constrained", sharey=True)
    rows = []
    for axes, (network, each) in zip(np.atleast_1d(panels), found.items()):
        for name, colour in zip(NAMES["C23"], (OURS, KEPT)):
            for kind, line in (("no_input", "-"), ("no_output", "--")):
                curves = [_followed(named[name], kind) for named in each]
                label = f"{'with' if colour == OURS else 'without'} L2, {kind.replace('_', ' ')}"
                for seed, curve in enumerate(curves):
                    axes.plot(curve, color=colour, ls=line, lw=1, alpha=0.7, label=None if seed else label)
                    rows += [
                        {"network": TITLES[network], "variant": name, "kind": kind, "epoch": e, "largest": v}
                        | {"seed": each[seed][name].run["seed"]}
                        for e, v in enumerate(curve)
                    ]
        if not any(row["largest"] > 0 for row in rows if row["network"] == TITLES[network]):
            axes.text(0.5, 0.5, "no dead neuron\nhas a weight left", ha="center", transform=axes.transAxes)
        axes.axhline(DECAYED, color=PAPER, ls=":", label="counts as decayed")
        axes.set(yscale="log", title=TITLES[network], xlabel="epochs of retraining", ylim=(DECAYED / 2, None))
    np.atleast_1d(panels)[0].set_ylabel("largest weight left\n(deviations of its layer)")
    handles = np.atleast_1d(panels)[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=9)
    return figure, pd.DataFrame(rows)


def _followed(record, kind: str) -> list[float]:
    """From before retraining to its end; nan where no such neuron has a weight left."""
    left = [record.metrics["dead_before"], *(row["dead"] for row in record.metrics["history"])]
    return [each[kind]["largest"] or np.nan for each in left]
