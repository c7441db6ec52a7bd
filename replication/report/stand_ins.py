"""Tables 4 to 6 and Figures 6 and 7 as measured on the stand-ins, the true networks' counts beside them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..claims import paper
from ..claims.figure_claims import fc1_weights, loss_at, modes
from ..runs.recipes import STAND_INS, Chain, chosen
from ..runs.spec import Record
from . import tables, true_size
from .figures import KEPT, OURS, PAPER

PAPER_RANGES = {"before pruning": 0.015, "after pruning": 0.015, "after retraining": 0.025}  # Figure 7, AlexNet's fc1


def table(network: str, chains: Sequence[Chain]) -> pd.DataFrame:
    """Table 4 or 5 (network: alexnet or vgg16): counts at true size, densities as the paper prints and ours.

    chains: of the stand-in; the densities are those of its chosen rounds.
    """
    counts = true_size.table(network)[["layer", "paper weights", "ours weights", "paper FLOP", "ours FLOP"]]
    densities = tables.layers(STAND_INS[network], chains).drop(columns=["weights", "FLOP"])
    return counts.merge(densities, on="layer")


def sensitivity(record: Record) -> tuple[Figure, pd.DataFrame]:
    """Figure 6: accuracy lost on the validation images with one layer pruned alone; CONV left, FC right."""
    curves, rows = record.metrics["sensitivity"], []
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, sharex=True, layout="constrained")
    for axes, title, is_conv in zip(panels, ("CONV layers", "FC layers"), (True, False)):
        layers = [layer for layer in curves if layer.startswith("conv") == is_conv]
        for shade, layer in zip(np.linspace(0, 0.92, len(layers)), layers):
            first = curves[layer][0]
            density = [100 * row["density"] for row in curves[layer]]
            change = [-100 * (row["errors"] - first["errors"]) / row["images"] for row in curves[layer]]
            axes.plot(density, change, "-o", ms=3, lw=1.3, color=plt.cm.turbo(shade), label=layer)
            rows += [
                {"layer": layer, "density %": d, "change of accuracy": c, "quality": row["quality"]}
                for d, c, row in zip(density, change, curves[layer])
            ]
        axes.axvline(50, color=PAPER, lw=0.8, ls=":")
        axes.set(title=title, xlabel="weights of the one pruned layer that are kept (%)")
        axes.legend(fontsize=8, ncols=2 if len(layers) > 6 else 1)
    panels[0].invert_xaxis()
    panels[0].set_ylabel("change of accuracy (points)")
    return figure, pd.DataFrame(rows)


def losses(record: Record, density: float) -> pd.DataFrame:
    """Figure 6 in numbers: points of accuracy lost where a layer alone keeps the share `density` of its weights."""
    curves = record.metrics["sensitivity"]
    lost = [loss_at(curve, density) for curve in curves.values()]
    return pd.DataFrame({"layer": list(curves), f"change of error at {100 * density:g} % of the weights": lost})


def weights(chain: Chain) -> tuple[Figure, pd.DataFrame]:
    """Figure 7: fc1's weights before pruning, after pruning and after retraining; the paper's ranges drawn in."""
    parts, rows = fc1_weights(chain), []
    reach = 1.05 * max(modes(part)["range"] for part in parts.values()) * 1.25
    edges = np.linspace(-reach, reach, 161)
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", sharex=True)
    for axes, colour, (title, part) in zip(panels, (PAPER, OURS, KEPT), parts.items()):
        counts, _ = np.histogram(part.numpy(), edges)
        axes.stairs(counts, edges, fill=True, color=colour)
        for sign in (-1, 1):
            axes.axvline(
                sign * modes(part)["range"], color="black", lw=1, label="ours: 99 % range" if sign > 0 else None
            )
            place = sign * PAPER_RANGES[title]
            axes.axvline(place, color=PAPER, ls="--", lw=1, label="paper: range" if sign > 0 else None)
        axes.set(title=f"{title}: {len(part):,}", xlabel="weight of fc1")
        rows += [{"panel": title, "from": a, "to": b, "weights": int(n)} for a, b, n in zip(edges, edges[1:], counts)]
    panels[0].set_ylabel("number of weights")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure, pd.DataFrame(rows)


def ranges(chain: Chain) -> pd.DataFrame:
    """Figure 7 in numbers: how many weights, half their 99 % range (the paper's as drawn), the modes and the middle."""
    rows = []
    for title, part in fc1_weights(chain).items():
        found = modes(part)
        rows.append(
            {"fc1": title, "weights": len(part), "paper range ±": PAPER_RANGES[title], "ours range ±": found["range"]}
            | {"left mode": found["left"], "right mode": found["right"], "middle / lower mode": found["middle"]}
        )
    return pd.DataFrame(rows)


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
