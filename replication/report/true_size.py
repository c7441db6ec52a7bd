"""The paper's networks counted at their true size, layer by layer, beside what Tables 4 and 5 print."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..claims import paper
from ..networks import accounting
from ..networks.registry import NETWORKS, outline
from . import tables
from .figures import KEPT, OURS, PAPER


@cache
def counted(network: str) -> pd.DataFrame:
    """Weights, FLOPs and neurons of `network` by layer, as `accounting.account` counts them."""
    net, image = outline(network), torch.zeros(1, *NETWORKS[network].input_size)
    # its weights are left as they come: sizes alone are counted
    return accounting.account(net.to_empty(device="cpu"), image)


def table(network: str) -> pd.DataFrame:
    """Table 4 or 5: weights and FLOPs as counted here beside the printed ones, and the printed densities.

    `ours FLOP %` is the printed weight density times the printed activation density of the layer before.
    """
    ours = tables.with_total(_with_densities(network))
    printed = paper.layer_table(network).set_index("layer").loc[ours.layer].reset_index()
    return pd.DataFrame(
        {
            "layer": ours.layer,
            "paper weights": printed.weights,
            "ours weights": ours.weights,
            "paper FLOP": printed.flop,
            "ours FLOP": ours.flop,
            "activation % (paper)": printed.activation_density_pct,
            "weight % (paper)": printed.weight_density_pct,
            "paper FLOP %": printed.flop_density_pct,
            "ours FLOP %": 100 * ours.flop_density,
        }
    )


def _with_densities(network: str) -> pd.DataFrame:
    """The true counts with the paper's printed densities, 0 to 1, and the FLOP density that follows from them."""
    rows, printed = counted(network).copy(), paper.layer_table(network).query("layer != 'total'")
    rows["activation_density"] = printed.activation_density_pct.to_numpy() / 100
    rows["weight_density"] = printed.weight_density_pct.to_numpy() / 100
    rows["flop_density"] = rows.weight_density * [1, *rows.activation_density[:-1]]
    return rows


def summary(network: str) -> str:
    """Sentences (Markdown): totals at true size, and the rate and computation that the printed densities give."""
    rows, printed = _with_densities(network), paper.layer_table(network).iloc[-1]
    total = accounting.total(rows)
    kept = total.weights * total.weight_density
    return (
        f"At true size: {total.weights:,} weights and {total.flop / 1e9:.3f}G FLOPs. With the densities that the paper "
        f"prints, {kept / 1e6:.2f}M weights are left, a rate of **{1 / total.weight_density:.1f}x**; activations "
        f"{100 * total.activation_density:.1f} % (printed {printed.activation_density_pct:g}), FLOPs "
        f"{100 * total.flop_density:.1f} % (printed {printed.flop_density_pct:g}), "
        f"**{1 / total.flop_density:.1f}x** less computation."
    )


def shares(network: str) -> tuple[Figure, pd.DataFrame]:
    """Where weights and FLOPs lie: each layer's share of the dense network, and what the paper's densities leave."""
    rows = _with_densities(network)
    figure, panels = plt.subplots(1, 2, figsize=(8, 0.9 + 0.26 * len(rows)), sharey=True, layout="constrained")
    places, columns = np.arange(len(rows)), {}
    for axes, column, left in zip(panels, ("weights", "flop"), ("weight_density", "flop_density")):
        dense = 100 * rows[column] / rows[column].sum()
        axes.barh(places - 0.2, dense, 0.4, color=PAPER, label="dense")
        axes.barh(
            places + 0.2, dense * rows[left], 0.4, color=KEPT if column == "flop" else OURS, label="left by pruning"
        )
        axes.set(title=f"share of the dense network's {column.replace('flop', 'FLOPs')} (%)", yticks=places)
        axes.set_yticklabels(rows.layer)
        axes.legend()
        columns |= {f"{column} share %": dense, f"{column} share left %": dense * rows[left]}
    panels[0].invert_yaxis()
    return figure, pd.DataFrame({"layer": rows.layer} | columns)
