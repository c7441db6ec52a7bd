"""Figures 1 to 3: energy, the three steps, and what pruning does to a small network; all drawn by code."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..pruning.masks import prune
from . import tables
from .figures import FADED, KEPT, OURS


def energy() -> tuple[Figure, pd.DataFrame]:
    """Figure 1: energy of one operation in a 45 nm process, on a logarithmic axis."""
    table = tables.operations()
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    bars = axes.barh(table.operation, table["energy pJ"], color=[OURS] * (len(table) - 1) + [KEPT])
    axes.bar_label(bars, [f"{e:g} pJ  ({r:,.0f}x)" for e, r in zip(table["energy pJ"], table.relative)], padding=3)
    axes.set(
        xscale="log",
        xlim=(0.05, 2e4),
        xlabel="energy of one operation (pJ); in brackets: relative to an integer addition",
    )
    axes.invert_yaxis()
    return figure, table


def pipeline() -> tuple[Figure, pd.DataFrame]:
    """Figure 2: the three steps, the last two repeated."""
    steps = pd.DataFrame(
        {"step": ["train connectivity", "prune connections", "retrain weights"], "learns": ["which", "-", "how strong"]}
    )
    figure, axes = plt.subplots(figsize=(7, 1.9), layout="constrained")
    for i, step in enumerate(steps.step):
        box = {"boxstyle": "round,pad=0.6", "facecolor": "#e8f1f8", "edgecolor": OURS}
        axes.text(i, 0, step.replace(" ", "\n"), ha="center", va="center", bbox=box)
    arrow = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
    for start in (0, 1):
        axes.annotate("", (start + 0.68, 0), (start + 0.32, 0), arrowprops=arrow)
    axes.annotate("", (1, -0.42), (2, -0.42), arrowprops=arrow | {"connectionstyle": "arc3,rad=-0.35"})
    axes.text(1.5, -0.98, "repeat: each round prunes what the last one left", ha="center", va="center", color=OURS)
    axes.set(xlim=(-0.45, 2.45), ylim=(-1.15, 0.55))
    axes.axis("off")
    return figure, steps


def synapses(seed: int = 4, quality: float = 1.2) -> tuple[Figure, pd.DataFrame]:
    """Figure 3: a small random network before and after pruning by `prune`; neurons left without connections go too."""
    sizes, generator = (5, 6, 4), torch.Generator().manual_seed(seed)
    weights = {f"fc{i + 1}": torch.randn(b, a, generator=generator) for i, (a, b) in enumerate(pairwise(sizes))}
    masks = prune(weights, {name: quality for name in weights})
    figure, panels = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for axes, title, kept in zip(
        panels, ("before pruning", "after pruning"), ({n: w != 0 for n, w in weights.items()}, masks)
    ):
        _draw_network(axes, sizes, weights, kept)
        axes.set_title(f"{title}: {sum(int(m.sum()) for m in kept.values())} synapses")
    rows = [
        (n, int(i), int(o), float(w[o, i]), bool(masks[n][o, i]))
        for n, w in weights.items()
        for o, i in np.ndindex(*w.shape)
    ]
    return figure, pd.DataFrame(rows, columns=["layer", "input", "output", "weight", "kept"])


def _draw_network(
    axes, sizes: Sequence[int], weights: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor]
) -> None:
    """Neurons as circles in columns, kept connections as lines; a neuron without any is drawn hollow and dashed."""
    height = [[(j - (n - 1) / 2) for j in range(n)] for n in sizes]
    alive = [np.zeros(n, bool) for n in sizes]
    for layer, (name, mask) in enumerate(kept.items()):
        for out, into in np.argwhere(mask.numpy()):
            alive[layer][into] = alive[layer + 1][out] = True
            width = 0.4 + abs(float(weights[name][out, into]))
            axes.plot([layer, layer + 1], [height[layer][into], height[layer + 1][out]], color=OURS, lw=width, zorder=1)
    for layer, heights in enumerate(height):
        for j, y in enumerate(heights):
            look = (
                {"facecolor": "white", "edgecolor": KEPT}
                if alive[layer][j]
                else {"facecolor": "none", "edgecolor": FADED}
            )
            axes.scatter(layer, y, s=170, zorder=2, lw=1.5, ls="-" if alive[layer][j] else ":", **look)
    axes.axis("off")
