"""The claims about sparse storage, C17, C18 and C26, from the costs that `storage_pages.measure` returns.

Each function returns ours in words, the summary, its unit, the measures of the claim's rule, and how many seeds.
"""

import math

import pandas as pd

from .networks import TITLES
from .statistics import Summary
from .storage_costs import WIDTHS
from .storage_pages import CHIPS, FOUR, PAPER_WIDTHS, REAL, VALUE, at_paper_widths, encoded, pooled

Measured = tuple[str, Summary, str, dict[str, float], int]


def overhead(costs: pd.DataFrame) -> Measured:
    """C17: indices (5 bits FC, 8 bits CONV) and fillers on AlexNet's layers, in percent of the kept weights."""
    shown = 100 * pooled(at_paper_widths(costs), ["network"])[["total", "index"]] / VALUE
    true, real = shown.loc["alexnet"], shown.loc["alexnet_32"]
    ours = (
        f"{true.total:.1f} % on AlexNet's layers, random masks at Table 4's densities ({true['index']:.1f} % without "
        f"fillers); {real.total:.1f} % on the stand-in's real masks ({real['index']:.1f} %)"
    )
    # ours: judged on AlexNet's own layers; the stand-in holds more of its weights in CONV layers
    return ours, _alone(true.total), "%", {"overhead": true.total}, _seeds(costs)


def by_network(costs: pd.DataFrame) -> pd.DataFrame:
    """C18 on the real masks, one row per network: the best FC width, and what 8 bits cost in CONV beside the best.

    Costs are indices and fillers per kept weight, all layers of a kind together; `with values` adds the 32-bit value.
    """
    own, rows = costs[costs.network.isin(REAL) & costs.width.isin(WIDTHS)], []
    for network, lines in pooled(own, ["network", "kind", "width"]).groupby(level=0, sort=False):
        total, row = lines.total.droplevel(0), {"network": TITLES[network]}
        for kind in total.index.unique("kind"):
            row[f"best {kind} width"] = total[kind].idxmin()
        row["5 bits for FC"] = "holds" if abs(row["best FC width"] - PAPER_WIDTHS["FC"]) <= 1 else "does not"
        if "CONV" in total:
            cost, best = total["CONV"][PAPER_WIDTHS["CONV"]], total["CONV"].min()
            row |= {"CONV at 8 bits": cost, "CONV at best": best, "above best %": 100 * (cost / best - 1)}
            row["with values, above best %"] = 100 * ((VALUE + cost) / (VALUE + best) - 1)
            row["8 bits for CONV"] = "holds" if row["above best %"] <= 10 else "does not"
        rows.append(row)
    return pd.DataFrame(rows)


def widths(costs: pd.DataFrame) -> Measured:
    """C18: the best FC width within 1 bit of 5, and 8 bits in CONV within 10 % of the best, on every network."""
    found = by_network(costs)
    parts = [f"{row.network} {row['best FC width']:.0f}" for _, row in found.iterrows()]
    conv = found.dropna(subset="above best %")
    excess = [f"{row.network} {row['above best %']:+.0f} %" for _, row in conv.iterrows()]
    ours = f"best FC width: {', '.join(parts)} bits; CONV at 8 bits against the best width: {', '.join(excess)}"
    distance = (found["best FC width"] - PAPER_WIDTHS["FC"]).abs().max()
    measures = {"fc_distance": float(distance), "conv_excess": float(conv["above best %"].max())}
    return ours, _alone(distance), "bits", measures, _seeds(costs)


def on_chip(costs: pd.DataFrame) -> Measured:
    """C26: MB of the four encoded networks, and how many of them fit into 10, 32 and 64 MB."""
    sizes = {network: encoded(costs, network) for network in FOUR}
    parts = [f"{TITLES[network]} {size:.3g} MB" for network, size in sizes.items()]
    fits = [f"{sum(size <= chip for size in sizes.values())} into {chip} MB" for chip in CHIPS]
    ours = f"{', '.join(parts)}; of the four fit {', '.join(fits)}"
    return ours, _alone(max(sizes.values())), "MB", {"largest": max(sizes.values())}, _seeds(costs)


def _alone(value: float) -> Summary:
    return Summary(float(value), math.nan, math.nan, math.nan, 0)


def _seeds(costs: pd.DataFrame) -> int:
    """The fewest seeds of any network with real masks."""
    return int(costs[costs.network.isin(REAL)].groupby("network").seed.nunique().min())
