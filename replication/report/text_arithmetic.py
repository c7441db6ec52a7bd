"""The numbers in the paper's text, captions, Table 6 and Figure 1 that follow from its tables: each as a check."""

import math
from collections.abc import Iterator, Sequence

from ..claims import paper
from .layer_arithmetic import Check, Layers, count, decimal, fewer, mean, parameters, ratio
from .rounding import Range, below, exact, printed, reach

BEFORE_AFTER = "Table 1: before / after"


def said(name: str, group: str, recomputed: Range, how: str, why: str = "", of: str = "") -> Check:
    """The check of a number in the paper's text or captions, by its id in stated.csv; of: what, where it is several."""
    line = paper.stated().loc[name]
    what = f"{line.statement} ({of})" if of else line.statement
    return Check(group, what, line["where"], line.unit, given(name), recomputed, how, why)


def given(name: str) -> Range:
    """A number in the paper's text, by its id in stated.csv, within its rounding."""
    line = paper.stated().loc[name]
    if line.precision == "exact":
        return exact(line.value)
    return (below if line.precision == "below" else printed)(line.value, line.digit)


def captions(tables: Sequence[Layers]) -> Iterator[Check]:
    """Rates of weights in abstract, captions and text; and how much less computation they say."""
    group, ratios = "rates of weights", [ratio(*parameters(i)) for i in range(4)]
    for i, t in enumerate(tables):
        how = f"100 % / total density of Table {t.number}"
        why = f"Table 1 prints {paper.table(1).compression_rate[2 * i + 1]:.0f}x for the same network."
        yield said(f"table{t.number}_weights", group, fewer(t.total["weight_density_pct"]), how, why)
    for name, i in (
        ("abstract_alexnet_rate", 2),
        ("abstract_vgg16_rate", 3),
        ("alexnet_ninth", 2),
        ("iterative_rate", 2),
        ("conclusion_least_rate", 2),
        ("conclusion_largest_rate", 3),
    ):
        yield said(name, group, ratios[i], BEFORE_AFTER)
    for i, title in enumerate(("LeNet-300-100", "LeNet-5")):
        yield said("mnist_rate", group, ratios[i], BEFORE_AFTER, of=title)
    yield said("table1_least_rate", group, min(ratios), f"{BEFORE_AFTER}, the smallest")
    yield said("table1_largest_rate", group, max(ratios), f"{BEFORE_AFTER}, the largest")
    yield said("order_of_magnitude", group, reach(math.log10, [min(ratios)]), f"log10 of {BEFORE_AFTER}", of="weights")
    yield said("vgg16_left", group, ratio(*reversed(parameters(3)), 100), "Table 1: after / before")
    yield said("vgg16_smaller", group, fewer(given("vgg16_left")), "100 % / the percentage beside it")
    for layer in ("fc6", "fc7"):
        density = tables[3].columns["weight_density_pct"][tables[3].names.index(layer)]
        yield said("vgg16_fc_left", group, density, f"Table 5, {layer}", of=layer)


def computation(tables: Sequence[Layers]) -> Iterator[Check]:
    """How much less computation captions and text say, from the total FLOP densities and from the columns."""
    group, rates = "rates of computation", {t.number: fewer(t.total["flop_density_pct"]) for t in tables}
    for t in tables:
        name, total, columns = f"table{t.number}_computation", rates[t.number], t.computation()
        how = f"100 % / total FLOP density of Table {t.number}"
        yield said(name, group, total, how, of="total")
        why = (
            f"The layers give at least {columns.low:.2f}x however their densities were rounded. The total of the FLOP "
            f"column has fewer digits and allows {total.low:.1f}x to {total.high:.1f}x."
        )
        how = f"Table {t.number}: weight x activation densities, by true FLOPs"
        yield said(name, group, columns, how, why, of="columns")
    yield said("alexnet_computation", group, rates[4], "100 % / total FLOP density of Table 4")
    least, how = reach(math.log10, [min(rates.values())]), "log10 of the smallest rate, Tables 2 to 5"
    yield said("order_of_magnitude", group, least, how, of="computation")


def methods() -> Iterator[Check]:
    """Table 6: each rate from the parameters, and what its caption says."""
    group, rows = "Table 6", paper.table(6).set_index("method")
    rates = {name: ratio(count(rows.parameters.iloc[0]), count(value)) for name, value in rows.parameters.items()}
    for name, rate in list(rows.compression_rate.items())[1:]:
        how = "baseline's parameters / the method's"
        yield Check(group, f"{name}: rate", "Table 6", "x", decimal(rate), rates[name], how)
    yield said("data_free_rate", group, rates["Data-free pruning"], "Table 6: parameters")
    for name in ("Fastfood-32-AD", "Fastfood-16-AD"):
        yield said("fastfood_rate", group, rates[name], "Table 6: parameters", of=name)
    yield said("collins_rate", group, rates["Collins & Kohli"], "Table 6: parameters")
    errors = [printed(rows.top1_error_pct[name], 0.01) for name in ("Naive Cut", "Baseline Caffemodel")]
    yield said("naive_loss", group, reach(lambda a, b: a - b, errors), "Table 6: difference of top-1 errors")


def energy() -> Iterator[Check]:
    """Figure 1's relative costs, and what caption and introduction make of them."""
    group, rows = "energy", paper.read("figure1_energy").set_index("operation")
    costs = {name: decimal(value) for name, value in rows.energy_pj.items()}
    for name, relative in list(rows.relative_cost.items())[1:]:
        how = "energy / that of 32 bit int ADD"
        cost = ratio(costs[name], costs["32 bit int ADD"])
        yield Check(group, f"{name}: relative cost", "Figure 1", "x", decimal(relative), cost, how)
    dram = costs["32 bit DRAM Memory"]
    power = [given("dram_rate"), given("dram_connections"), exact(dram.value)]  # the text takes 640 pJ as it stands
    how = "rate x connections x energy of a DRAM access"
    yield said("dram_power", group, reach(lambda *x: math.prod(x) / 1e12, power), how)
    simple = [cost for name, cost in costs.items() if "ADD" in name or "MULT" in name]
    orders = reach(lambda a, *x: math.log10(a) - sum(map(math.log10, x)) / len(x), [dram, *simple])
    yield said("memory_orders", group, orders, "Figure 1: DRAM over the mean of additions and multiplications")


def text(tables: Sequence[Layers]) -> Iterator[Check]:
    """Sizes, errors and numbers of layers that the text repeats."""
    group, lines = "sizes and errors in the text", paper.table(1)
    for i, network in ((2, "alexnet"), (3, "vgg16")):
        for when, size in zip(("before", "after"), parameters(i)):
            yield said(f"abstract_{network}_{when}", group, size, "Table 1")
    yield said("alexnet_parameters", group, tables[2].total["weights"], "Table 4, total")
    why = "Section 1 speaks of the network that won in 2012; Table 1 counts Caffe's model of it."
    yield said("intro_alexnet", group, parameters(2)[0], "Table 1, AlexNet", why)
    yield said("intro_lenet5", group, parameters(1)[0], "Table 1, LeNet-5")
    yield said("lenet300_error", group, printed(lines.top1_error_pct[0], 0.01), "Table 1")
    yield said("lenet5_error", group, printed(lines.top1_error_pct[2], 0.01), "Table 1")
    for name, column in (("alexnet_top1", "top1_error_pct"), ("alexnet_top5", "top5_error_pct")):
        accuracy = reach(lambda error: 100 - error, [printed(lines[column][4], 0.01)])
        yield said(name, group, accuracy, "Table 1: 100 % - error")
    for name, i, kind in (("alexnet_conv", 2, "conv"), ("alexnet_fc", 2, "fc"), ("vgg16_fc", 3, "fc")):
        found = exact(sum(layer.startswith(kind) for layer in tables[i].names))
        yield said(name, group, found, f"Table {tables[i].number}: lines that begin with {kind}")
    sides = (("fc1_inputs", "fc1_outputs"), ("fc1_outputs", "fc2_outputs"))
    for layer, number, names in zip(("fc1", "fc2"), tables[0].columns["weights"], sides):
        size, what = reach(lambda a, b: a * b, [given(name) for name in names]), f"LeNet-300-100 {layer}: weights"
        yield Check(group, what, f"Table 2, {layer}", "weights", number, size, "section 4.1: inputs x outputs")
    pixels = reach(lambda a, b: a * b, [given("bands"), given("band_width")])
    yield said("fc1_inputs", group, pixels, "bands x width of a band")


def storage(tables: Sequence[Layers]) -> Iterator[Check]:
    """Section 5's overhead of the indices, for the fully connected layers and for whole networks."""
    bits, word = {"conv": given("conv_bits"), "fc": given("fc_bits")}, given("weight_bits")
    alone = ratio(bits["fc"], word, 100)
    yield said("overhead", "storage", alone, "FC: bits of an index / bits of a weight", of="FC layers")
    for t in tables[2:]:
        kinds = ["conv" if name.startswith("conv") else "fc" for name in t.names]
        kept = [reach(lambda a, b: a * b, pair) for pair in zip(t.sizes, t.columns["weight_density_pct"])]
        indices = ratio(mean([bits[kind] for kind in kinds], kept), word, 100)
        conv = mean([exact(100 * (kind == "conv")) for kind in kinds], kept).value
        why = (
            f"{bits['fc'].value:g}/{word.value:g} = {alone.value:.1f} % is the FC layers alone. CONV layers hold "
            f"{conv:.0f} % of the kept weights, at {bits['conv'].value:g} bits; zeros for long gaps come on top."
        )
        yield said("overhead", "storage", indices, f"Table {t.number}: index bits of all kept weights", why, t.title)


def curves() -> Iterator[Check]:
    """Figure 5 as the text describes it."""
    group = "Figure 5"
    for lunch, loss in (("free_lunch", "loss_without_retraining"), ("retrained_lunch", "loss_with_retraining")):
        why = (
            f"Loss is said to begin at 1/{given(loss).value:g} of the connections, and {given(lunch).value:g}x to be "
            "free of it: a last free point and a first lossy one, or two readings of one curve."
        )
        yield said(lunch, group, given(loss), "the sentence before: where accuracy drops", why, of="against the drop")
    yield said("retrained_lunch", group, ratio(*parameters(2)), BEFORE_AFTER, of="against Table 1")
    start = fewer(reach(lambda pruned: 100 - pruned, [given("green_point")]))
    yield said("green_rate", group, start, "100 % / what is left")
    yield said("one_shot_rate", group, start, "section 5: what the starting point leaves")
    pruned = printed(paper.read("figure5_iterative_digitised").parameters_pruned_pct.iloc[0], 1)
    leftmost = fewer(reach(lambda pruned: 100 - pruned, [pruned]))
    yield said("leftmost_rate", group, leftmost, "Figure 5, read off by others: 100 % / what is left")
