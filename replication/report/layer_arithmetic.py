"""The numbers of Tables 1 to 5 that follow from others of them, or from the networks: each as a check."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch

from .. import networks
from ..claims import paper, storage_costs
from ..networks import accounting
from . import true_size
from .rounding import Range, agree, exact, last_digit, last_digit_of_count, printed, reach

NETWORKS = {2: "lenet_300_100", 3: "lenet_5", 4: "alexnet", 5: "vgg16"}  # by table
OTHERWISE = {500: 100, 3_200_000: 1e3, 200_000_000: 1e8}  # paper: Tables 3 and 5 print 0.5K, 3200K, 0.2B
COLUMNS = ("weights", "flop", "activation_density_pct", "weight_density_pct", "flop_density_pct")


class Check(NamedTuple):
    """One printed number and what its sources give; how: from what; why: what explains a difference."""

    group: str
    what: str
    where: str
    unit: str
    printed: Range
    recomputed: Range
    how: str
    why: str = ""

    @property
    def agrees(self) -> bool:
        return agree(self.printed, self.recomputed)


@cache
def counted(number: int) -> pd.DataFrame:
    """The network of Table 2 to 5, counted layer by layer at its true size (see `accounting.account`)."""
    network = NETWORKS[number]
    if network in true_size.SIDES:
        return true_size.counted(network)
    return accounting.account(networks.NETWORKS[network](), torch.zeros(1, 1, 28, 28))


def count(value: float) -> Range:
    """A count of weights or FLOPs as the paper prints it."""
    return printed(value, last_digit_of_count(value, OTHERWISE))


def decimal(value: float) -> Range:
    """A percentage, a rate or an energy as the paper prints it."""
    return printed(value, last_digit(value))


def parameters(network: int) -> tuple[Range, Range]:
    """Table 1's parameters of its network number 0 to 3, before and after pruning."""
    before, after = paper.table(1).parameters[2 * network : 2 * network + 2]
    return count(before), count(after)


class Layers:
    """Table 2 to 5: the printed columns as ranges (COLUMNS), layer by layer, their total, and the layers' true sizes.

    sizes, flops: counted, since the paper rounds 2.36M weights to 2M, too coarse to weight a mean.
    """

    def __init__(self, number: int):
        rows, true = paper.table(number), counted(number)
        self.number, self.names, self.title = number, rows.layer[:-1].tolist(), networks.TITLES[NETWORKS[number]]
        columns = {name: [(count if name in COLUMNS[:2] else decimal)(v) for v in rows[name]] for name in COLUMNS}
        self.columns = {name: values[:-1] for name, values in columns.items()}
        self.total = {name: values[-1] for name, values in columns.items()}
        self.sizes, self.flops = ([exact(int(n)) for n in true[name]] for name in ("weights", "flop"))
        self.neurons = [exact(int(n)) for n in true.neurons]
        self.biases = sum(shape[0] for shape in storage_costs.shapes(NETWORKS[number]).values())
        self.inputs = [exact(100), *self.columns["activation_density_pct"][:-1]]  # percent; the image counts as dense

    def kept(self) -> Range:
        """The weights that the column of densities leaves."""
        densities = self.columns["weight_density_pct"]
        return reach(lambda *x: _dot(x) / 100, [*self.sizes, *densities])

    def computation(self) -> Range:
        """How many times fewer FLOPs the columns give: the dense ones over those left, layer by layer."""
        n, total = len(self.names), sum(each.value for each in self.flops)

        def fewer(*x: float) -> float:
            return 1e4 * total / sum(f.value * w * a for f, w, a in zip(self.flops, x[:n], x[n:]))

        return reach(fewer, [*self.columns["weight_density_pct"], *self.inputs])


def _dot(x: Sequence[float]) -> float:
    half = len(x) // 2
    return sum(a * b for a, b in zip(x[:half], x[half:]))


def mean(values: Sequence[Range], weights: Sequence[Range]) -> Range:
    """The mean of `values`, weighted."""
    return reach(lambda *x: _dot(x) / sum(x[: len(weights)]), [*weights, *values])


def ratio(one: Range, other: Range, factor: float = 1) -> Range:
    """factor x one / other."""
    return reach(lambda a, b: factor * a / b, [one, other])


def fewer(percent: Range) -> Range:
    """How many times less is left: 100 % over the percentage."""
    return ratio(exact(100), percent)


def totals(t: Layers) -> Iterator[Check]:
    """The last line of Table 2 to 5: sums of its columns, means of its densities, and the sums as counted."""
    for name, unit, true in (("weights", "weights", t.sizes), ("flop", "FLOPs", t.flops)):
        what, where = f"{t.title}: total of {unit}", f"Table {t.number}, total"
        added, counts = (reach(lambda *x: sum(x), each) for each in (t.columns[name], true))
        yield Check("totals", what, where, unit, t.total[name], added, "sum of the printed column")
        why = f"The exact sum is {counts.value:,}; it would round to the printed one from {t.total[name].low:,.0f} on."
        yield Check("totals", f"{what}, exact", where, unit, t.total[name], counts, "sum over the true layers", why)
    for name, weights, how in zip(COLUMNS[2:], (t.neurons, t.sizes, t.flops), ("neurons", "weights", "FLOPs")):
        what = f"{t.title}: {name.split('_')[0].replace('flop', 'FLOP')} density"
        how = f"mean of the column by {how}" + (" after pooling" if how == "neurons" else "")
        yield Check("totals", what, where, "%", t.total[name], mean(t.columns[name], weights), how)


def layers(t: Layers) -> Iterator[Check]:
    """The other lines of Table 2 to 5: weights and FLOPs of each layer as counted, and its FLOP density."""
    for i, name in enumerate(t.names):
        what, where, size, flops = f"{t.title} {name}", f"Table {t.number}, {name}", t.sizes[i], t.flops[i]
        number = t.columns["weights"][i]
        why = f"The layer has {size.value:,} weights{_slip(number, size, t.columns['weights'][i - 1])}."
        yield Check("weights by layer", f"{what}: weights", where, "weights", number, size, "the true layer", why)
        how = f"2 x {size.value:,} weights x {flops.value // (2 * size.value):,} output positions"
        yield Check("FLOPs by layer", f"{what}: FLOPs", where, "FLOPs", t.columns["flop"][i], flops, how)
        density = reach(lambda a, b: a * b / 100, [t.columns["weight_density_pct"][i], t.inputs[i]])
        number, how = t.columns["flop_density_pct"][i], "weight density x activation density of the layer before"
        yield Check("FLOP density by layer", f"{what}: FLOP density", where, "%", number, density, how)


def _slip(number: Range, size: Range, before: Range) -> str:
    """What else the printed size of a layer may be, if it is not the rounded one."""
    if number.value == size.value // number.digit * number.digit:
        return ", cut off here where the paper rounds elsewhere"
    return "; the printed figure is twice that of the layer before" if number.value == 2 * before.value else ""


def table_1(tables: Sequence[Layers]) -> Iterator[Check]:
    """Table 1's parameters and rates, from the tables of the layers and from each other."""
    for i, t in enumerate(tables):
        where, number, (before, after) = f"Table 1, {t.title}", f"Table {t.number}", parameters(i)
        size = sum(each.value for each in t.sizes)
        why = f"{size:,} weights and {t.biases:,} biases: Table 1 counts the biases, {number} does not."
        true = exact(size + t.biases)
        for what, value, recomputed, how in (
            ("before", before, t.total["weights"], f"{number}, total"),
            ("before, with biases", before, true, "the true network"),
            ("after", after, t.kept(), f"{number}: weight densities of the true layers"),
        ):
            yield Check("Table 1", f"{t.title}: parameters {what}", where, "weights", value, recomputed, how, why)
        rate, left = decimal(paper.table(1).compression_rate[2 * i + 1]), mean(t.columns["weight_density_pct"], t.sizes)
        yield Check("Table 1", f"{t.title}: rate", where, "x", rate, ratio(before, after), "before / after")
        how = f"{number}: weight densities of the true layers"
        yield Check("Table 1", f"{t.title}: rate by layers", where, "x", rate, fewer(left), how)
