"""The page on how far magnitude pruning goes: tables and the figure, from the records of `limits`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import paper
from .experiments import Chain
from .figures import FADED, OURS, PAPER
from .networks import TITLES
from .statistics import error_columns, summarise

TICKS = (1, 2, 5, 10, 20, 50, 100, 200)


def table(found: Mapping[str, Sequence[Chain]]) -> pd.DataFrame:
    """By network and round: rate, test error (mean, deviation) and its change against dense, with a 95 % interval."""
    rows = []
    for network, chains in found.items():
        for stage in zip(*chains):
            error, rate = summarise(r.error() for r in stage), summarise(r.rate for r in stage)
            change = summarise(r.error() - each[0].error() for r, each in zip(stage, chains))
            rows.append(
                {"network": TITLES[network], "stage": stage[0].stage, "rate": rate.mean} | error_columns(error, change)
            )
    return pd.DataFrame(rows)


def published(networks: Sequence[str] = ("lenet_300_100", "lenet_5")) -> pd.DataFrame:
    """What later papers report for these networks, and this paper's own line."""
    parts = []
    for network in networks:
        own = paper.network_rows(network).iloc[-1]
        parts.append(
            pd.DataFrame([{"network": own.network, "method": "Han et al. (this paper)", "year": 2015}]).assign(
                error_pct=own.top1_error_pct, rate=own.compression_rate
            )
        )
        parts.append(paper.later_methods(network))
    return pd.concat(parts, ignore_index=True).rename(columns={"error_pct": "error %"})


def figure(found: Mapping[str, Sequence[Chain]]) -> tuple[Figure, pd.DataFrame]:
    """Rate against test error: ours by seed, with mean and 95 % interval; later methods as single points."""
    figure, panels = plt.subplots(1, len(found), figsize=(5.2 * len(found), 4), layout="constrained", squeeze=False)
    shown, others = table(found), published(list(found))
    for axes, (network, chains) in zip(panels[0], found.items()):
        for each in chains:
            axes.plot([r.rate for r in each], [r.error() for r in each], color=OURS, lw=0.7, alpha=0.3)
        rows = shown[shown.network == TITLES[network]]
        spread, means = [summarise(r.error() for r in stage) for stage in zip(*chains)], rows["test error % mean"]
        reach = [each.high - each.mean if each.n > 1 else 0.0 for each in spread]
        axes.errorbar(
            rows.rate, means, yerr=reach, fmt="-o", ms=4, capsize=3, color=OURS, label="ours, plain magnitude"
        )
        axes.axhline(means.iloc[0], color=FADED, lw=1, zorder=0)
        for marker, line in zip("sD^vP*", others[others.network == TITLES[network]].itertuples()):
            axes.plot(line.rate, line._4, marker, color=PAPER, ms=6, ls="", label=f"{line.method} ({line.year})")
        axes.set(xscale="log", title=TITLES[network], xlabel="compression rate (all weights / kept weights)")
        axes.set_xticks(TICKS, [f"{t}x" for t in TICKS])
        axes.minorticks_off()
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    panels[0][0].set_ylabel("test error (%)")
    return figure, shown


def summary(found: Mapping[str, Sequence[Chain]]) -> str:
    """Per network, in words: where it is no worse than dense, and how it stands beside the sparsest later method."""
    parts = []
    for network, chains in found.items():
        rows = table({network: chains})
        free = rows[(rows["change of error"] <= 0.10).cummin()].iloc[-1]  # the last before the first that is worse
        best = paper.later_methods(network).sort_values("rate").iloc[-1]
        near = rows.loc[(np.log(rows.rate) - np.log(best.rate)).abs().idxmin()]
        parts.append(
            f"**{TITLES[network]}**, mean of {int(rows.seeds.iloc[0])} seeds: up to {free.rate:.0f}x the test error is "
            f"within 0.10 points of the dense network's ({rows['test error % mean'].iloc[0]:.2f} %); at "
            f"{near.rate:.0f}x it is {near['test error % mean']:.2f} %, where {best.method} reports "
            f"{best.error_pct:.2f} % at {best.rate:.0f}x."
        )
    return " ".join(parts)


def layers(found: Mapping[str, Sequence[Chain]]) -> pd.DataFrame:
    """Kept weights by layer in the last round (mean over seeds), and the layer's density in percent."""
    rows = []
    for network, chains in found.items():
        last = pd.concat([each[-1].layers for each in chains])
        for layer, group in last.groupby("layer", sort=False):
            kept = summarise(group.weights * group.weight_density)
            rows.append(
                {"network": TITLES[network], "layer": layer, "weights": group.weights.iloc[0], "kept mean": kept.mean}
                | {"kept sd": kept.sd, "density %": 100 * group.weight_density.mean()}
            )
    return pd.DataFrame(rows)
