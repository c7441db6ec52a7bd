"""The claims of Tables 1 to 5 and of Figures 4, 6 and 7: C01 to C09, C15, C16; our controls of them, K01 to K04."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..networks.accounting import total
from ..networks.registry import NETWORKS, TITLES
from ..runs import Record, comparisons
from ..runs.recipes import LENETS, STAND_INS, Chain, chains, chosen, lengths, other_references, tried
from .rules import Claim, Evidence, Measured, Nest, flat
from .verdicts import Comparison, in_every_seed, summarise

CONTROLS = Evidence("controls", comparisons.controls)
SENSITIVITY = Evidence("sensitivity", comparisons.sensitivity)
CHAINS = {network: Evidence(network, partial(chains, network)) for network in (*LENETS, *STAND_INS.values())}
MOST, KINDS = "largest other layer's loss less the first's", "FC loss less CONV loss"  # of C15
MIDDLE, GROWTH = "middle over the lower mode", "range after over before"  # of C16


def by_seed(found: Sequence[Chain], **columns: Callable[[Record, Record], float]) -> pd.DataFrame:
    """A row per seed, a column for each value of the dense network and the chosen round of a chain (_ for a space)."""
    ends = {chosen(chain).run["seed"]: (chain[0], chosen(chain)) for chain in found}
    values = {name.replace("_", " "): [value(*each) for each in ends.values()] for name, value in columns.items()}
    return pd.DataFrame(values, list(ends))


def _name(found: Sequence[Chain]) -> str:
    return found[0][0].run["network"]


def _top5(record: Record) -> float:
    return 100 * record.metrics["test"]["top5_errors"] / record.metrics["test"]["images"]


def keeps(rate: float, limit: float, error: float | None = None) -> Callable[[Sequence[Chain]], Measured]:
    """C01 to C04: the paired change of the test error is at most `limit` points, the rate at least `rate`.

    error: the largest mean test error (%). On ImageNet, which has one run and top-5 errors, both errors change by at
    most 0.10 points.
    """

    def measure(found: Sequence[Chain]) -> Measured:
        values = by_seed(
            found,
            change_of_error=lambda dense, end: end.error() - dense.error(),
            rate=lambda _, end: end.rate,
            error=lambda _, end: end.error(),
        )
        on_imagenet = "top5_errors" in found[0][0].metrics["test"]
        conditions = {"rate": (">=", rate)} | ({"error": ("<=", error)} if error else {})
        bounds = {"change of error": ("<=", 0.10 if on_imagenet else limit)} | conditions
        compared = [Comparison(_name(found), values, bounds)]
        if on_imagenet:
            top5 = by_seed(found, change_of_top5_error=lambda dense, end: _top5(end) - _top5(dense))
            compared.append(Comparison(_name(found), top5, {"change of top5 error": ("<=", 0.10)}))
        change, times, end = (summarise(values[column]).mean for column in values)
        return Measured(
            compared, f"{end - change:.2f} -> {end:.2f} % error at {times:.1f}x, change {change:+.2f} points"
        )

    return measure


def computation(limit: float) -> Callable[[Sequence[Chain]], Measured]:
    """C05 to C08: the share of the dense FLOPs that pruned weights and zero activations leave, at most `limit` %."""

    def measure(found: Sequence[Chain]) -> Measured:
        values = by_seed(found, FLOP_density=lambda _, end: 100 * total(end.layers).flop_density)
        flop = summarise(values["FLOP density"]).mean
        compared = Comparison(_name(found), values, {"FLOP density": ("<=", limit)}, "%")
        return Measured([compared], f"FLOP {flop:.1f} % ({100 / flop:.1f}x less)")

    return measure


def no_worse(limit: float) -> Callable[[Sequence[Chain], Mapping[str, Sequence[Record]]], Measured]:
    """K01 to K04: the chosen round's test error less that of the dense network trained as long, by seed."""

    def measure(found: Sequence[Chain], controls: Mapping[str, Sequence[Record]]) -> Measured:
        trained = {record.run["seed"]: record for record in controls[_name(found)]}
        both = {chosen(c).run["seed"]: (c[0], chosen(c), trained.get(chosen(c).run["seed"])) for c in found}
        both = {seed: each for seed, each in both.items() if each[2]}
        gap = {seed: less_control(*each) for seed, each in both.items()}
        errors = [np.mean([each[place].error() for each in both.values()]) if both else math.nan for place in (1, 2)]
        values = pd.Series(gap, dtype=float).to_frame("pruned less control")
        ours = f"pruned {errors[0]:.2f} %, dense and trained as long {errors[1]:.2f} % error"
        return Measured([Comparison(_name(found), values, {"pruned less control": ("<=", limit)})], ours)

    return measure


def less_control(dense: Record, end: Record, control: Record) -> float:
    """The change of the test error by pruning less that by training as long and not pruning, in points.

    Each is taken against the dense network that it started from: one and the same, where both were computed here.
    """
    return end.error() - dense.error() - control.change(dense)


def pixel_density(mask: Tensor) -> Tensor:
    """Share of the kept connections of each input pixel: (28, 28), from fc1's mask (outputs, 784)."""
    return mask.float().mean(0).reshape(28, 28)


def centre_density(pixels: Tensor) -> float:
    """Mean over the central 14 x 14 pixels of a (28, 28) map."""
    return pixels[7:21, 7:21].mean().item()


def border_density(pixels: Tensor) -> float:
    """Mean over the border of two pixels of a (28, 28) map."""
    edge = torch.ones_like(pixels, dtype=torch.bool)
    edge[2:-2, 2:-2] = False
    return pixels[edge].mean().item()


def attention(found: Sequence[Chain]) -> Measured:
    """C09: kept fc1 connections of LeNet-300-100 per input pixel, centre over border, at least 4 in every seed."""
    maps = {end.run["seed"]: pixel_density(end.tensors()[1]["fc1"]) for end in map(chosen, found)}
    pixels = pd.DataFrame({"centre": map(centre_density, maps.values()), "border": map(border_density, maps.values())})
    ratios = pixels.centre / pixels.border.clip(lower=1e-12)
    least = "over 1,000x" if ratios.min() > 1_000 else f"{ratios.min():.0f}x"
    centre, border = 100 * pixels.mean()
    values = pd.DataFrame({"centre over border": ratios.to_numpy()}, list(maps))
    compared = Comparison(_name(found), values, {"centre over border": (">=", 4)}, "x", in_every_seed)
    return Measured([compared], f"centre {centre:.1f} %, border {border:.2f} % kept; {least} at least")


def loss_at(curve: list[dict], density: float = 0.5) -> float:
    """Rise of the error (points) where the layer keeps the share `density`, interpolated along its curve; nan where
    the curve ends before."""
    densities = [row["density"] for row in curve]
    errors = [100 * row["errors"] / row["images"] for row in curve]
    return float(np.interp(density, densities[::-1], errors[::-1], left=math.nan)) - errors[0]


def sensitive_layers(found: Nest) -> Measured:
    """C15: the loss of each layer when it alone keeps half of its weights, not retrained; `found` holds every run.

    In points: by how much another layer loses more than the first, at most 0, and FC layers on average more than CONV.
    """
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for record in flat(found):
        losses = pd.Series({layer: loss_at(curve) for layer, curve in record.metrics["sensitivity"].items()})
        conv = losses.index.str.startswith("conv")
        rows.setdefault(record.run["network"], {})[record.run["seed"]] = {
            MOST: losses.iloc[1:].max() - losses.iloc[0],
            KINDS: losses[~conv].mean() - losses[conv].mean(),
            "conv1": losses.iloc[0],
            "CONV": losses[conv].mean(),
            "FC": losses[~conv].mean(),
        }
    compared, parts = [], []
    for network, by_seed in rows.items():
        values = pd.DataFrame.from_dict(by_seed, "index")
        compared.append(Comparison(network, values, {MOST: ("<", 0), KINDS: ("<", 0)}, decide=in_every_seed))
        first, conv, fc = values[["conv1", "CONV", "FC"]].mean()
        parts.append(f"{TITLES[network]}: first CONV layer {first:.2f}, CONV {conv:.2f}, FC {fc:.2f}")
    return Measured(compared, f"points lost at half of a layer's weights: {'; '.join(parts)}")


def fc1_weights(chain: Chain) -> dict[str, Tensor]:
    """Figure 7's three sets of weights: dense, those that the chosen round keeps, and what retraining made of them."""
    before, (after, masks) = chain[0].tensors()[0]["fc1.weight"], chosen(chain).tensors()
    kept = masks["fc1"]
    return {
        "before pruning": before.flatten(),
        "after pruning": before[kept],
        "after retraining": after["fc1.weight"][kept],
    }


def modes(weights: Tensor, bins: int = 61) -> dict[str, float]:
    """The 99 % range of weights (half its width), the highest bin on each side, and how full the middle bin is.

    middle: count of the bin around zero over that of the lower of the two modes; 1 where there is no gap.
    """
    if not len(weights):
        return dict.fromkeys(("range", "left", "right", "middle"), math.nan)
    few = len(weights) <= 2**24  # as many as torch.quantile takes; AlexNet's fc1 has more
    low, high = (float(torch.quantile(weights, q) if few else np.quantile(weights.numpy(), q)) for q in (0.005, 0.995))
    reach = max(-low, high)
    counts, edges = np.histogram(weights.numpy(), bins, (-reach, reach))
    middle, centres = bins // 2, (edges[:-1] + edges[1:]) / 2
    left, right = counts[:middle].argmax(), middle + 1 + counts[middle + 1 :].argmax()
    gap = counts[middle] / max(min(counts[left], counts[right]), 1)
    return {"range": (high - low) / 2, "left": centres[left], "right": centres[right], "middle": float(gap)}


def bimodal(chains: list[Chain]) -> Measured:
    """C16: two modes of opposite sign with a gap around zero, and a wider 99 % range, after retraining fc1."""
    rows = {}
    for chain in chains:
        parts = fc1_weights(chain)
        before, after = modes(parts["after pruning"]), modes(parts["after retraining"])
        shown = {"left": after["left"], "right": after["right"], "before": before["range"], "after": after["range"]}
        rows[chosen(chain).run["seed"]] = {MIDDLE: after["middle"], GROWTH: after["range"] / before["range"]} | shown
    values = pd.DataFrame.from_dict(rows, "index")
    mean = values.mean()
    ours = (
        f"fc1: modes at {mean.left:+.3f} and {mean.right:+.3f}, the middle {100 * mean[MIDDLE]:.0f} % as high as the "
        f"lower one; half the 99 % range {mean.before:.3f} -> {mean.after:.3f}"
    )
    # ours: a gap is a middle bin at most a tenth as high as the lower mode
    bounds = {GROWTH: (">", 1), MIDDLE: ("<=", 0.1)}
    return Measured([Comparison(chains[0][0].run["network"], values, bounds, "x", in_every_seed)], ours)


def _of_table(page: str, network: str, ids: Sequence[str], rate: float, flop: float, **rule) -> list[Claim]:
    """One network's claims: that it keeps its accuracy, that at most `flop` % of the FLOPs are left, the control."""
    stands_for = NETWORKS[network].stands_for or ""
    limit, shared = 0.50 if stands_for else 0.10, {"evidence": CHAINS[network], "networks": (network,)}
    return [
        Claim(ids[0], page, measure=keeps(rate, limit, **rule), instead=stands_for, **shared),
        Claim(ids[1], page, measure=computation(flop), instead=stands_for, **shared),
        Claim(ids[2], "table1_summary", measure=no_worse(limit), beside=CONTROLS, **shared),
    ]


BATCHES = {
    n: Evidence(f"{n} in small batches", partial(comparisons.small_batches, n)) for n in comparisons.SMALL_BATCHES
}
LIMITS = Evidence("limits", comparisons.long_chains)
OTHER_LENGTHS = Evidence("other lengths of retraining", lengths)
TRIED = Evidence("rates that were tried", tried)
REFERENCES = {n: Evidence(f"other references of {n}", partial(other_references, n)) for n in STAND_INS.values()}
CLAIMS = (
    *_of_table("table2_lenet_300_100", "lenet_300_100", ("C01", "C05", "K01"), 12, 10, error=1.64),
    *_of_table("table3_lenet_5", "lenet_5", ("C02", "C06", "K02"), 12, 18, error=0.80),
    *_of_table("table4_alexnet", "alexnet_32", ("C03", "C07", "K03"), 9, 33),
    *_of_table("table5_vgg16", "vgg16_32", ("C04", "C08", "K04"), 13, 23),
    Claim("C09", "figure4_attention", CHAINS["lenet_300_100"], attention, ("lenet_300_100",)),
    Claim("C15", "figure6_sensitivity", SENSITIVITY, sensitive_layers, tuple(STAND_INS.values())),
    Claim("C16", "figure7_weights", CHAINS["alexnet_32"], bimodal, ("alexnet_32",), instead="alexnet"),
)
