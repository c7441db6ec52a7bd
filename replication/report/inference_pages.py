"""Times of sparse products for readers: crossing points, a table, a figure, and sentences (see `inference`)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..training.machine import processor
from .figures import LAYER_COLOURS, PAPER

LINES = {"CSR (torch)": "-", "CSR (scipy)": "--"}


def crossover(density: Sequence[float], ratio: Sequence[float]) -> float:
    """The largest density below which sparse is faster, where the ratio crosses 1: interpolated on logarithmic axes.

    density: increasing; nan where sparse is slower already at the smallest, inf where it is faster at the largest.
    """
    x, y = np.log(density), np.log(ratio)
    slower = np.flatnonzero(y >= 0)
    if not slower.size:
        return float("inf")
    first = slower[0]
    if not first:
        return float("nan")
    share = -y[first - 1] / (y[first] - y[first - 1])
    return float(np.exp(x[first - 1] + share * (x[first] - x[first - 1])))


def table(times: pd.DataFrame, density: float) -> pd.DataFrame:
    """By layer and batch: the dense time, and for each sparse way its time ratio at the measured density nearest to
    `density` (0 to 1), and the density below which it is faster."""
    rows, near = [], _near(times, density)
    for (layer, batch), lines in times.groupby(["layer", "batch"], sort=False):
        row = {"layer": layer, "batch": batch, "dense ms": lines[lines.way == "dense"].ms.median()}
        for way in LINES:
            own = lines[lines.way == way].set_index("density %")["time ratio"]
            row |= {f"time ratio at {near:.3g} %, {way}": own[near], f"faster below, {way}": _below(own)}
        rows.append(row)
    return pd.DataFrame(rows)


def _near(times: pd.DataFrame, density: float) -> float:
    """The measured density, in percent, that is nearest to `density` (0 to 1)."""
    return min(times["density %"].unique(), key=lambda percent: abs(np.log(percent / (100 * density))))


def _below(ratio: pd.Series) -> str:
    found = crossover(ratio.index.to_numpy(), ratio.to_numpy())
    return {np.inf: "all measured"}.get(found, "none measured" if np.isnan(found) else f"{found:.3g} %")


def figure(times: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Time of the sparse product over the dense one against density, a panel per batch size; bytes read drawn in."""
    drawing, panels = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True, layout="constrained")
    for axes, (batch, part) in zip(panels, times.groupby("batch")):
        for colour, (layer, lines) in zip(LAYER_COLOURS, part.groupby("layer", sort=False)):
            for way, style in LINES.items():
                own = lines[lines.way == way].set_index("density %")["time ratio"]
                axes.plot(own, style, marker="o", ms=3, lw=1.4, color=colour, label=f"{layer}, {way}")
        read = part[part.way == "CSR (torch)"].groupby("density %")["bytes ratio"].max()
        axes.plot(read, ":", color=PAPER, lw=2, label="bytes of weights read")
        axes.axhline(1, color="black", lw=0.8)
        axes.set(title=f"batch of {batch}", xlabel="weights that are kept (%)", xscale="log", yscale="log")
        for axis, ticks in ((axes.xaxis, (1, 2, 5, 10, 20, 50)), (axes.yaxis, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5))):
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    panels[0].set_ylabel("time of the sparse product / dense")
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return drawing, times


def conditions(times: pd.DataFrame, repetitions: int) -> str:
    """One sentence (Markdown): on which processor and how it was measured."""
    at = ", ".join(f"{density:.3g}" for density in times["density %"].unique())
    return (
        f"*Measured while this page was made*, not read from a record: {processor()}, one thread, torch "
        f"{torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), float32; medians of {repetitions} products, "
        f"dense and sparse in turn, at densities of {at} %. Another run, or a busy machine, gives other times."
    )


def summary(times: pd.DataFrame, density: float) -> str:
    """Sentences (Markdown): what the faster library wins near `density` (0 to 1), beside multiplications and bytes."""
    lines = times[(times["density %"] == _near(times, density)) & (times.way != "dense")]
    best = lines.groupby(["batch", "layer"], sort=False)[["time ratio", "bytes ratio", "density %"]].min()
    parts = []
    for batch, own in best.groupby(level=0):
        won = 1 / own["time ratio"]
        parts.append(f"{won.min():.2g} to {won.max():.2g} times as fast as dense with a batch of {batch}")
    share = best["density %"].iloc[0]
    return (
        f"At a density of {share:.3g} % there are {100 / share:.1f} times fewer multiplications and "
        f"{1 / best['bytes ratio'].max():.1f} times fewer bytes of weights, and the faster of the two libraries is "
        f"{' and '.join(parts)}, over the four layers (below 1: slower)."
    )
