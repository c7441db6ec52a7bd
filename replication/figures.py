"""One function per figure, from records only: each returns the figure and the numbers that it shows."""

import math
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from . import paper
from .experiments import STAND_INS, Chain, chosen
from .pages import VERDICT_MARKS

PAPER, OURS, KEPT, FADED = "#7a7a7a", "#0072b2", "#d55e00", "#c8c8c8"  # told apart by colour-blind readers
LAYER_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "figure.dpi": 110,
    "legend.frameon": False,
}
plt.rcParams.update(STYLE)


def log_ticks(axes: Axes, ticks: Sequence[float], sign: str = "") -> None:
    """A logarithmic x axis with these ticks and no others; sign: what stands behind each number, as in 10x."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}{sign}" for tick in ticks])
    axes.minorticks_off()


def rounds(network: str, chains: Sequence[Chain]) -> tuple[Figure, pd.DataFrame]:
    """Error against compression rate, round by round, one line per seed; the paper's two points beside them."""
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    lines = [
        pd.DataFrame(
            {"seed": chain[0].run["seed"], "stage": r.stage, "rate": r.rate, "test error %": r.error()}
            | {"chosen": r is chosen(chain)}
            for r in chain
        )
        for chain in chains
    ]
    for line in lines:
        label = "ours, one line per seed" if line is lines[0] else None
        axes.plot(line["rate"], line["test error %"], "-o", color=OURS, ms=3, lw=0.9, alpha=0.6, label=label)
    points = pd.concat(lines, ignore_index=True)
    picks, ring = points[points.chosen], {"s": 70, "facecolor": "none", "edgecolor": KEPT, "zorder": 3}
    axes.scatter(picks["rate"], picks["test error %"], **ring, label="chosen on the validation split")
    published = paper.network_rows(network)
    if network in STAND_INS.values():  # the paper's errors are those of other images
        axes.axvline(published.compression_rate.max(), color=PAPER, ls="--", label="paper's rate")
    else:
        axes.plot([1, published.compression_rate.max()], published.top1_error_pct, "s--", color=PAPER, label="paper")
    axes.set(xlabel="compression rate (all weights / kept weights)", ylabel="test error (%)")
    log_ticks(axes, (1, 2, 5, 10, 20, 50), "x")
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure, points


def sensitivity(chains: Sequence[Chain]) -> tuple[Figure, pd.DataFrame]:
    """Sensitivity of each layer of the dense network: validation error with that layer alone pruned, not retrained."""
    table = pd.DataFrame(
        {"seed": chain[0].run["seed"], "layer": layer}
        | row
        | {"validation error %": 100 * row["errors"] / row["images"], "density %": 100 * row["density"]}
        for chain in chains
        for layer, curve in chain[1].metrics["sensitivity"].items()
        for row in curve
    )
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
    for axes, x in zip(panels, ("quality", "density %")):
        for colour, (layer, lines) in zip(LAYER_COLOURS, table.groupby("layer", sort=False)):
            for seed, line in lines.groupby("seed"):
                label = layer if seed == table.seed.min() else None
                axes.plot(line[x], line["validation error %"], color=colour, lw=1, alpha=0.7, label=label)
        axes.set(xlabel=f"{x} of the one pruned layer", yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    panels[1].invert_xaxis()
    panels[0].set_ylabel("validation error, not retrained (%)")
    panels[0].legend()
    return figure, table


def verdicts(card: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """All claims at a glance: each with its number, what it says, and its verdict by colour and word.

    card: as `claims.scorecard` returns it.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10, 0.33 * math.ceil(len(card) / 2) + 0.7), layout="constrained")
    for axes, part in zip(panels, (card.iloc[: math.ceil(len(card) / 2)], card.iloc[math.ceil(len(card) / 2) :])):
        for place, row in enumerate(part.itertuples()):
            colour, sign = VERDICT_MARKS[row.verdict]
            axes.add_patch(plt.Rectangle((0, place - 0.42), 0.13, 0.84, color=colour, lw=0))
            axes.text(0.065, place, f"{row.id} {sign}", color="white", ha="center", va="center", fontsize=8.5)
            axes.text(0.145, place, textwrap.fill(row.claim, 62), va="center", fontsize=8)
        axes.set(xlim=(0, 1), ylim=(math.ceil(len(card) / 2) - 0.4, -0.6))
        axes.axis("off")
    found = [verdict for verdict in VERDICT_MARKS if (card.verdict == verdict).any()]
    handles = [plt.Rectangle((0, 0), 1, 1, color=VERDICT_MARKS[verdict][0]) for verdict in found]
    labels = [f"{VERDICT_MARKS[verdict][1]} {verdict}: {(card.verdict == verdict).sum()}" for verdict in found]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(found), fontsize=9)
    return figure, card[["id", "claim", "verdict"]]
