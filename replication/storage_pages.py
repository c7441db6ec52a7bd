"""What sparse storage costs on the pruned networks: section 5's overhead by index width, bytes by format, and claims.

Real masks are those of the chosen rounds; AlexNet and VGG-16 at true size have random masks at the densities that
Tables 4 and 5 print. Costs are bits per kept weight beside its 32-bit value, or percent of that value. MB: 10^6 bytes.
"""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from . import networks, paper, storage, storage_costs
from .experiments import STAND_INS, Chain, chosen
from .figures import FADED, KEPT, OURS, PAPER
from .networks import TITLES
from .profiles import Profile

REAL = ("lenet_300_100", "lenet_5", "alexnet_32", "vgg16_32")
TRUE = tuple(STAND_INS)
FOUR = ("lenet_300_100", "lenet_5", *TRUE)  # the paper's networks: two measured, two at true size
VALUE = 32  # bits of a stored value
PUBLISHED = 15.6  # paper: section 5, percent
PAPER_WIDTHS = {"CONV": 8, "FC": 5}  # paper: section 5
COLOURS = {"CONV": KEPT, "FC": OURS}
CHIPS = (10, 32, 64)  # MB, by the rule of C26
SMOKE_SAMPLE = 50_000  # weights of each layer at true size where numbers mean nothing
MASKS = {network: "real" for network in REAL} | dict.fromkeys(TRUE, "random, printed densities")
LABELS = {
    "dense": "dense",
    "torch.save": "torch.save of the dense network",
    "gzip": "gzip of the dense bytes",
    "zstd": "zstd of the dense bytes",
    "coo": "COO, 32-bit indices",
    "csr": "CSR, 32-bit indices",
    "npz": "CSR, compressed (npz)",
    "bitmask": "bitmask",
    "relative, paper's bits": "relative index, 5 and 8 bits",
    "relative": "relative index, cheapest widths",
    "rice": "Rice codes",
}


def measure(chains: Mapping[str, Sequence[Chain]], profile: Profile, seed: int = 0) -> pd.DataFrame:
    """What every layer's index costs at widths 1 to 16: the chosen rounds of `chains`, and both networks at true size.

    chains: by network, of REAL; seed: of the random masks. Columns: network, seed, layer, kind (CONV or FC), weights,
    kept, bound (H(d)/d) and, from `storage_costs.mask_cost`, width, index, fillers, total in bits per kept weight.
    """
    frames = []
    for network, each in chains.items():
        for chain in each:
            masks = chosen(chain).tensors()[1]
            frames += [_costs(network, chain[0].run["seed"], name, mask, mask.numel()) for name, mask in masks.items()]
    generator = torch.Generator().manual_seed(seed)
    for network in TRUE:
        sizes = {name: shape.numel() for name, shape in storage_costs.shapes(network).items()}
        drawn = storage_costs.uniform_masks(network, generator, 0 if profile.meaningful else SMOKE_SAMPLE)
        frames += [_costs(network, seed, name, mask, sizes[name]) for name, mask in drawn]
    return pd.concat(frames, ignore_index=True)


def _costs(network: str, seed: int, layer: str, mask: Tensor, weights: int) -> pd.DataFrame:
    density = max(int(mask.count_nonzero()), 1) / mask.numel()  # an empty layer counts as one kept weight
    about = {"network": network, "seed": seed, "layer": layer, "kind": "CONV" if mask.dim() > 2 else "FC"}
    about |= {"weights": weights, "kept": density * weights, "bound": storage_costs.entropy_bound(density)}
    costs = storage_costs.mask_cost(mask, range(1, 17), VALUE)
    return pd.DataFrame(about, index=costs.index).join(costs)


def pooled(costs: pd.DataFrame, by: Iterable[str]) -> pd.DataFrame:
    """The costs per kept weight of all layers and seeds of a group together, weighted by what they keep.

    by: the columns that make a group. Returns weights, kept (sums) and bound, index, fillers, total by group.
    """
    bits = ["bound", "index", "fillers", "total"]
    sums = costs.assign(**{b: costs[b] * costs.kept for b in bits}).groupby(list(by), sort=False)
    sums = sums[["weights", "kept", *bits]].sum()
    return sums.assign(**{b: sums[b] / sums.kept for b in bits})


def at_paper_widths(costs: pd.DataFrame) -> pd.DataFrame:
    """The rows of `costs` at 8 bits for CONV and 5 for FC layers."""
    return costs[costs.width == costs.kind.map(PAPER_WIDTHS)]


def groups(costs: pd.DataFrame) -> pd.DataFrame:
    """One row per network and kind of layer: index and filler bits at the paper's width, and the best of 2 to 10."""
    within = costs[costs.width.isin(storage_costs.WIDTHS)]
    rows = []
    for (network, kind), lines in pooled(within, ["network", "kind", "width"]).groupby(level=[0, 1], sort=False):
        lines = lines.droplevel([0, 1])
        own, best = lines.loc[PAPER_WIDTHS[kind]], lines.total.idxmin()
        row = {"network": TITLES[network], "masks": MASKS[network], "layers": kind}
        row |= {"kept %": 100 * own.kept / own.weights, "entropy bound": own.bound, "paper's width": PAPER_WIDTHS[kind]}
        row |= {"index bits": own["index"], "filler bits": own.fillers, "overhead %": 100 * own.total / VALUE}
        row |= {
            "best width": best,
            "index bits at best": lines["index"][best],
            "filler bits at best": lines.fillers[best],
        }
        rows.append(row | {"overhead at best %": 100 * lines.total[best] / VALUE})
    return pd.DataFrame(rows)


def overhead_figure(costs: pd.DataFrame, widest: int = 10) -> tuple[Figure, pd.DataFrame]:
    """Overhead against index width, 2 to `widest`: a panel per network, thin lines per layer, thick ones pooled."""
    costs = costs[costs.width.between(2, widest)]
    figure, panels = plt.subplots(2, 3, figsize=(10, 6.6), sharex=True, sharey=True, layout="constrained")
    for axes, network in zip(panels.flat, ("lenet_300_100", "alexnet_32", "alexnet", "lenet_5", "vgg16_32", "vgg16")):
        own = costs[costs.network == network]
        for kind, lines in own.groupby("kind", sort=False):
            _draw(axes, kind, lines)
        axes.axhline(PUBLISHED, color=PAPER, ls="--", lw=1, zorder=0)
        axes.set(title=f"{TITLES[network]}, {'random masks' if network in TRUE else 'real masks'}", yscale="log")
    axes.set(ylim=(3, 1_000), xticks=range(2, widest + 1))
    axes.set_yticks([5, 10, 20, 50, 100, 200, 500], ["5", "10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    for axes in panels[1]:
        axes.set_xlabel("index width (bits)")
    figure.supylabel("index and fillers (% of the kept weights' 32 bits)", fontsize=10)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, fontsize=9)
    table = pooled(costs, ["network", "layer", "kind", "width"]).reset_index()
    return figure, table.assign(**{"overhead %": 100 * table.total / VALUE, "bound %": 100 * table.bound / VALUE})


def _draw(axes: plt.Axes, kind: str, lines: pd.DataFrame) -> None:
    """One kind of layer of one network in its panel."""
    for _, line in pooled(lines, ["layer", "width"]).groupby(level=0, sort=False):
        axes.plot(line.index.get_level_values(1), 100 * line.total / VALUE, color=COLOURS[kind], lw=0.7, alpha=0.45)
    whole = 100 * pooled(lines, ["width"])[["total", "bound"]] / VALUE
    axes.plot(whole.index, whole.total, color=COLOURS[kind], lw=2.2)
    axes.plot(whole.index, whole.bound, color=COLOURS[kind], lw=1.3, ls=":")
    axes.plot(whole.total.idxmin(), whole.total.min(), "o", color=COLOURS[kind], ms=7)
    if PAPER_WIDTHS[kind] in whole.index:
        width = PAPER_WIDTHS[kind]
        axes.plot(width, whole.total[width], "s", mfc="white", mec=COLOURS[kind], ms=7, zorder=3)


def _legend() -> list[Line2D]:
    drawn = [Line2D([], [], color=colour, lw=2.2, label=f"{kind} layers") for kind, colour in COLOURS.items()]
    drawn.append(Line2D([], [], color=FADED, lw=0.8, label="single layers"))
    drawn.append(Line2D([], [], color="black", lw=1.3, ls=":", label="entropy bound H(d)/d"))
    drawn.append(Line2D([], [], color="black", ls="", marker="o", ms=7, label="cheapest width"))
    drawn.append(Line2D([], [], color="black", ls="", marker="s", mfc="white", ms=7, label="paper's width"))
    return [*drawn, Line2D([], [], color=PAPER, ls="--", lw=1, label="paper: 15.6 %")]


def steps(costs: pd.DataFrame) -> pd.DataFrame:
    """What 15.6 % counts and leaves out: overhead in percent of the kept weights, AlexNet and VGG-16.

    The CONV indices alone are counted at 8 bits, the fillers with index and value, then all at each layer's best width.
    """
    columns = {}
    for network in (*TRUE, *STAND_INS.values()):
        own = costs[costs.network == network]
        paper_way = at_paper_widths(own)
        index, fillers = pooled(paper_way, ["network"])[["index", "fillers"]].iloc[0]
        best = own.loc[own.groupby(["seed", "layer"], sort=False).total.idxmin()]
        bits = [PAPER_WIDTHS["FC"], index, index + fillers, *pooled(best, ["network"])[["total", "bound"]].iloc[0]]
        columns[f"{TITLES[network]} %"] = 100 * np.array(bits) / VALUE
    what = ["FC indices, 5 bits each: 5/32", "and CONV indices, 8 bits each", "and filler zeros"]
    return pd.DataFrame(
        {"counted": [*what, "all of it, each layer at its best width", "entropy bound H(d)/d"]} | columns
    )


def formats(chains: Mapping[str, Sequence[Chain]], samples: Mapping[str, int], seed: int = 0) -> pd.DataFrame:
    """Bytes by format (rows, as `storage_costs.formats` names them) and network (columns).

    chains: by network; the chosen round of the first seed is stored, biases included, -0 as 0. samples: for each
    network at true size, how many weights of a layer are drawn and stored, scaled to the whole layer (0: all).
    """
    columns = {}
    for network, each in chains.items():
        state, _ = chosen(each[0]).tensors()
        state = {name: storage.unsigned(tensor) for name, tensor in state.items()}
        columns[network] = storage_costs.formats(state)["bytes"]
    generator = torch.Generator().manual_seed(seed)
    for network, most in samples.items():
        sizes, total = storage_costs.shapes(network), 4 * biases(network)
        for name, weight in storage_costs.uniform(network, generator, most):
            whole = sizes[name.removesuffix(".weight")].numel() / weight.numel()
            total = total + whole * storage_costs.formats({name: weight})["bytes"]
        columns[network] = total
    return pd.DataFrame(columns)


def biases(network: str) -> int:
    """How many biases a network has; they stay dense."""
    with torch.device("meta"):
        return sum(layer.bias.numel() for layer in networks.layers(networks.build(network)).values())


def format_table(sizes: pd.DataFrame, share: bool = False) -> pd.DataFrame:
    """`formats` for readers, in MB, or as a share of dense in percent."""
    sizes = sizes.loc[[name for name in LABELS if name in sizes.index]]
    shown = 100 * sizes / sizes.loc["dense"] if share else sizes / 1e6
    shown.columns = [f"{TITLES[network]} {'%' if share else 'MB'}" for network in shown]
    return shown.rename(LABELS).rename_axis("format").reset_index()


def rates(costs: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Compression by counting weights (the paper's and ours) beside compression in bytes of the files."""
    rows = []
    for network, own in sizes.items():
        counted = costs[(costs.network == network) & (costs.width == 1)]
        if network in REAL:  # files are stored for the first seed
            counted = counted[counted.seed == counted.seed.iloc[0]]
        row = {"network": TITLES[network], "masks": MASKS[network]}
        row["paper rate"] = paper.network_rows(network).compression_rate.max()
        row["ours rate"] = counted.weights.sum() / counted.kept.sum()
        row["5 and 8 bits: byte rate"] = own["dense"] / own["relative, paper's bits"]
        row["cheapest widths: byte rate"] = own["dense"] / own["relative"]
        rows.append(
            row | {"Rice: byte rate": own["dense"] / own["rice"], "gzip: byte rate": own["dense"] / own["gzip"]}
        )
    return pd.DataFrame(rows)


def encoded(costs: pd.DataFrame, network: str) -> float:
    """MB of a network in the relative index at each layer's best width, dense layers and biases included (mean over
    seeds); without the file's header."""
    own = costs[costs.network == network]
    words = own.assign(bytes=own.kept * (VALUE + own.total) / 8).groupby(["seed", "layer"])
    stored = np.minimum(words["bytes"].min(), words.weights.first() * VALUE / 8)
    return (stored.sum() / own.seed.nunique() + biases(network) * VALUE / 8) / 1e6


def chip(costs: pd.DataFrame) -> pd.DataFrame:
    """Which of the four networks fit into 10, 32 and 64 MB once encoded."""
    rows = [{"network": TITLES[n], "masks": MASKS[n], "encoded MB": encoded(costs, n)} for n in FOUR]
    fits = {f"fits {size} MB": ["yes" if row["encoded MB"] <= size else "no" for row in rows] for size in CHIPS}
    return pd.DataFrame(rows).assign(**fits)
