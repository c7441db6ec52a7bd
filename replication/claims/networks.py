"""The claims of Tables 1 to 5 and of Figure 4, on the main chains: C01 to C09."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from ..networks.accounting import total
from ..networks.registry import TITLES
from ..runs import Record
from ..runs.recipes import LENETS, STAND_INS, Chain, chains, chosen
from .rules import Claim, Evidence, Measured, Test
from .statistics import summarise

CHAINS = {network: Evidence(network, partial(chains, network)) for network in (*LENETS, *STAND_INS.values())}
PLACES = {network: f"{TITLES[network]}, CIFAR-10" for network in STAND_INS.values()}


def over_seeds(found: Sequence[Chain], name: str, value: Callable[[Record, Record], float]) -> dict[str, pd.DataFrame]:
    """By network and seed: a value of the dense network and the chosen round of each chain, in the column `name`."""
    values = {end.run["seed"]: value(start, end) for start, end in ((each[0], chosen(each)) for each in found)}
    return {found[0][0].run["network"]: pd.DataFrame({name: values})}


def accuracy(found: Sequence[Chain]) -> Measured:
    """C01 to C04: does the network keep its accuracy with so few weights? The interval is of the paired change."""
    ends = [chosen(chain) for chain in found]
    dense, error = summarise(chain[0].error() for chain in found), summarise(end.error() for end in ends)
    rate, gaps = summarise(end.rate for end in ends), over_seeds(found, "change", lambda a, b: b.error() - a.error())
    (change,) = (summarise(each.change) for each in gaps.values())
    ours = f"{dense.mean:.2f} -> {error.mean:.2f} % error at {rate.mean:.1f}x, change {change.mean:+.2f} points"
    return Measured(ours, {"rate": rate.mean, "error": error.mean, "change": change.mean}, gaps, "points")


def computation(found: Sequence[Chain]) -> Measured:
    """C05 to C08: the share of the dense FLOPs that pruned weights and zero activations leave."""
    gaps = over_seeds(found, "FLOP %", lambda _, end: 100 * total(end.layers).flop_density)
    (flop,) = (summarise(each["FLOP %"]) for each in gaps.values())
    ours = f"FLOP {flop.mean:.1f} % ({100 / flop.mean:.1f}x less)"
    return Measured(ours, {"flop_density": flop.mean}, gaps, "%")


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
    """C09: kept fc1 connections of LeNet-300-100 per input pixel, centre against border."""
    maps = {end.run["seed"]: pixel_density(end.tensors()[1]["fc1"]) for end in map(chosen, found)}
    centre, border = summarise(map(centre_density, maps.values())), summarise(map(border_density, maps.values()))
    ratios = [centre_density(m) / max(border_density(m), 1e-12) for m in maps.values()]
    least = "over 1,000x" if min(ratios) > 1_000 else f"{min(ratios):.0f}x"
    ours = f"centre {100 * centre.mean:.1f} %, border {100 * border.mean:.2f} % kept; {least} at least"
    differences = {seed: 100 * (centre_density(m) - border_density(m)) for seed, m in maps.items()}
    gaps = {"lenet_300_100": pd.DataFrame({"centre minus border": differences})}
    return Measured(ours, {"least_centre_over_border": min(ratios)}, gaps, "points, centre minus border")


def _of_table(page: str, network: str, seeds: int, ids: Sequence[str], keeps: Test, flop: float) -> list[Claim]:
    """The two claims of one network: that it keeps its accuracy, and that it needs at most `flop` % of the FLOPs."""
    place = {"where": PLACES.get(network, "MNIST"), "stand_in": network in PLACES}
    shared = {"page": page, "evidence": CHAINS[network], "seeds": seeds} | place
    return [
        Claim(ids[0], measure=accuracy, holds=keeps, **shared),
        Claim(ids[1], measure=computation, holds=lambda m: m["flop_density"] <= flop, **shared),
    ]


def _keeps(rate: float, change: float, error: float | None = None) -> Test:
    return lambda m: m["rate"] >= rate and (error is None or m["error"] <= error) and m["change"] <= change


def _dense_centre(m: Mapping[str, float]) -> bool:
    return m["least_centre_over_border"] >= 4


CLAIMS = (
    *_of_table("table2_lenet_300_100", "lenet_300_100", 5, ("C01", "C05"), _keeps(12, 0.10, 1.64), 10),
    *_of_table("table3_lenet_5", "lenet_5", 3, ("C02", "C06"), _keeps(12, 0.10, 0.80), 18),
    *_of_table("table4_alexnet", "alexnet_32", 1, ("C03", "C07"), _keeps(9, 0.50), 33),  # as the stand-in's rule says
    *_of_table("table5_vgg16", "vgg16_32", 1, ("C04", "C08"), _keeps(13, 0.50), 23),
    Claim("C09", "figure4_attention", CHAINS["lenet_300_100"], attention, 5, _dense_centre, where="MNIST"),
)
