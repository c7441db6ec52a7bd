"""The paper's networks counted at their true size, layer by layer, beside what Tables 4 and 5 print."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from ..data import paper
from ..networks import accounting
from ..networks.registry import NETWORKS, TITLES, outline
from . import tables
from .figures import FADED, OURS, PAPER, Drawn


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


def shares(network: str) -> Drawn:
    """Where weights and FLOPs lie: each layer's share of the dense network, and what the paper's densities leave.

    A dot for the dense layer, another for what is left, and a line between: what pruning takes.
    """
    rows = _with_densities(network)
    figure, panels = plt.subplots(1, 2, figsize=(7.4, 1 + 0.23 * len(rows)), sharey=True, layout="constrained")
    places, columns = np.arange(len(rows)), {}
    for axes, column, left in zip(panels, ("weights", "flop"), ("weight_density", "flop_density")):
        dense = 100 * rows[column] / rows[column].sum()
        kept = dense * rows[left]
        axes.hlines(places, kept, dense, color=FADED, lw=3)
        axes.plot(dense, places, "o", color=PAPER, ms=5, label="dense")
        axes.plot(kept, places, "o", color=OURS, ms=6, label="left by pruning")
        axes.set(title=f"{column.replace('flop', 'FLOPs')} (% of the dense network's)", xlim=(-1, 1.08 * dense.max()))
        axes.set_yticks(places, rows.layer)
        columns |= {f"{column} share %": dense, f"{column} share left %": kept}
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    table = pd.DataFrame({"layer": rows.layer} | columns)
    return figure, table, _shares_in_words(network, table)


def _shares_in_words(network: str, table: pd.DataFrame) -> str:
    in_fc, parts = table.layer.str.startswith("fc"), []
    for column, name in (("weights", "weights"), ("flop", "FLOPs")):
        fc, total = table[f"{column} share %"][in_fc].sum(), table[f"{column} share left %"].sum()
        parts.append(f"the FC layers hold {fc:.0f} % of the dense {name}, and pruning leaves {total:.0f} % of all")
    return f"Share of weights and FLOPs by layer of {TITLES[network]}, dense and left by pruning: {'; '.join(parts)}."
