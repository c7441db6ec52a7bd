"""Tables 4 to 6 as measured on the stand-ins, the true networks' counts beside them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import paper, tables, true_size
from .experiments import STAND_INS, Chain, chosen
from .figures import PAPER
from .runs import Record


def table(network: str, chains: Sequence[Chain]) -> pd.DataFrame:
    """Table 4 or 5 (network: alexnet or vgg16): counts at true size, densities as the paper prints and ours.

    chains: of the stand-in; the densities are those of its chosen rounds.
    """
    counts = true_size.table(network)[["layer", "paper weights", "ours weights", "paper FLOP", "ours FLOP"]]
    densities = tables.layers(STAND_INS[network], chains).drop(columns=["weights", "FLOP"])
    return counts.merge(densities, on="layer")


def methods(found: Mapping[str, Record], chain: Chain) -> pd.DataFrame:
    """Table 6, our rows: weights, rate, test error and its change against the dense network, smallest rate first.

    found: the records of `comparisons.methods`; chain: Table 4's, its chosen round is the paper's own method.
    """
    base, last = found["Baseline"], chosen(chain)
    rows = [_method_row(name, record, base) for name, record in found.items()]
    return pd.DataFrame([*rows, _method_row(f"Magnitude pruning, iterative ({last.stage})", last, chain[0])])


def _method_row(name: str, record: Record, base: Record) -> dict:
    kept = tables.kept_weights(record)
    rate = tables.kept_weights(base) / kept if kept else np.nan  # the smoke profile may leave nothing
    row = {"method": name, "weights": kept, "rate": rate, "test error %": record.error()}
    return row | {"change of error": record.error() - base.error()}


def published_methods() -> pd.DataFrame:
    """Table 6 as printed, with the change of the top-1 error against its baseline."""
    printed = paper.table(6)
    columns = {"method": "method", "parameters": "parameters", "compression_rate": "rate"}
    columns |= {"top1_error_pct": "top-1 error %", "top5_error_pct": "top-5 error %"}
    shown = printed.rename(columns=columns)[list(columns.values())]
    return shown.assign(**{"change of top-1 error": shown["top-1 error %"] - shown["top-1 error %"].iloc[0]})


def methods_figure(found: Mapping[str, Record], chain: Chain) -> tuple[Figure, pd.DataFrame]:
    """Table 6 as a picture: rate against change of error, the paper's methods on AlexNet, ours on the stand-in."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    printed, ours = published_methods(), methods(found, chain)
    for axes, rows, column, title in (
        (panels[0], printed, "change of top-1 error", "paper: AlexNet on ImageNet"),
        (panels[1], ours, "change of error", "ours: the stand-in on CIFAR-10"),
    ):
        kinds = [name.split(",")[0] for name in rows.method]
        for colour, kind in zip(plt.cm.tab10.colors, dict.fromkeys(kinds)):
            part = rows[[k == kind for k in kinds]].sort_values("rate")
            axes.plot(part["rate"], part[column], "-o", color=colour, lw=1, ms=6, label=kind)
        axes.axhline(0, color=PAPER, lw=0.8)
        axes.set(title=title, xlabel="compression rate (weights)", xscale="log")
        axes.set_xticks([1, 2, 3, 5, 9, 15], [f"{x}x" for x in (1, 2, 3, 5, 9, 15)])
        axes.minorticks_off()
        axes.legend(fontsize=8)
    # equal steps up to 5 points, logarithmic beyond: uniform chance lies far above all others
    panels[0].set_yscale("symlog", linthresh=5)
    ticks = (-1, 0, 1, 2, 3, 4, 5, 10, 20, 50)
    panels[0].set_yticks(ticks, [f"{tick:+}" if tick else "0" for tick in ticks])
    changes = pd.concat([printed["change of top-1 error"], ours["change of error"]])
    panels[0].set_ylim(min(-2.0, changes.min() - 1), max(6.0, 1.5 * changes.max()))
    panels[0].set_ylabel("change of top-1 error (points)")
    return figure, ours
