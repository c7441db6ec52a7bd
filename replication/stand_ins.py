"""Figures 6 and 7 as measured on the stand-ins."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .experiments import Chain
from .figure_claims import fc1_weights, loss_at, modes
from .figures import KEPT, OURS, PAPER
from .runs import Record

PAPER_RANGES = {"before pruning": 0.015, "after pruning": 0.015, "after retraining": 0.025}  # Figure 7, AlexNet's fc1


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
