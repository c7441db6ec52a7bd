"""Every claim of the paper with our measurement, its interval and the verdict by the claim's rule."""

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch

from . import paper
from .accounting import dram_energy, total
from .experiments import Chain, chosen
from .profiles import Profile
from .statistics import Summary, summarise

Chains = Mapping[str, Sequence[Chain]]


def scorecard(chains: Chains, profile: Profile) -> pd.DataFrame:
    """All 28 claims: id, claim, published, ours, interval, seeds, measured_on, verdict.

    chains: by network, one chain per seed. Claims that nothing measures yet are `not run`.
    """
    rows = []
    for identity, claim in paper.claims().iterrows():
        row = {"id": identity, "claim": claim.claim, "published": claim.published}
        empty = {"ours": "", "interval": "", "seeds": 0, "measured_on": "", "verdict": "not run"}
        rows.append(row | (MEASURES[identity](identity, chains, profile) if identity in MEASURES else empty))
    return pd.DataFrame(rows)


def accuracy(network: str) -> Callable:
    """C01, C02: does the network keep its accuracy with 12x fewer weights? The interval is that of the paired change."""

    def measure(claim: str, chains: Chains, profile: Profile) -> dict:
        pairs = [(chain[0], chosen(chain)) for chain in chains[network]]
        dense, error = summarise(d.error() for d, _ in pairs), summarise(p.error() for _, p in pairs)
        change, rate = summarise(p.error() - d.error() for d, p in pairs), summarise(p.rate for _, p in pairs)
        measures = {"rate": rate.mean, "error": error.mean, "change": change.mean}
        ours = f"{dense.mean:.2f} -> {error.mean:.2f} % error at {rate.mean:.1f}x"
        return _row(claim, ours, change, "points", "MNIST", measures, profile)

    return measure


def computation(network: str) -> Callable:
    """C05, C06: the share of the dense FLOPs that pruned weights and zero activations leave."""

    def measure(claim: str, chains: Chains, profile: Profile) -> dict:
        flop = summarise(100 * total(chosen(chain).layers).flop_density for chain in chains[network])
        ours = f"FLOP {flop.mean:.1f} % ({100 / flop.mean:.1f}x)"
        return _row(claim, ours, flop, "%", "MNIST", {"flop_density": flop.mean}, profile)

    return measure


def attention(claim: str, chains: Chains, profile: Profile) -> dict:
    """C09: kept fc1 connections of LeNet-300-100 per input pixel, centre against border."""
    maps = [pixel_density(chosen(chain).tensors()[1]["fc1"]) for chain in chains["lenet_300_100"]]
    centre, border = summarise(centre_density(m) for m in maps), summarise(border_density(m) for m in maps)
    ratios = summarise(centre_density(m) / max(border_density(m), 1e-12) for m in maps)
    least = min(centre_density(m) / max(border_density(m), 1e-12) for m in maps)
    ours = f"centre {100 * centre.mean:.1f} %, border {100 * border.mean:.2f} % kept, {_times(least)} or more in every seed"
    return _row(claim, ours, ratios, "x", "MNIST", {"least_centre_over_border": least}, profile)


def _times(ratio: float) -> str:
    return "over 1,000x" if ratio > 1_000 else f"{ratio:.0f}x"


def pixel_density(mask: torch.Tensor) -> torch.Tensor:
    """Share of the kept connections of each input pixel: (28, 28), from fc1's mask (outputs, 784)."""
    return mask.float().mean(0).reshape(28, 28)


def centre_density(pixels: torch.Tensor) -> float:
    """Mean over the central 14 x 14 pixels of a (28, 28) map."""
    return pixels[7:21, 7:21].mean().item()


def border_density(pixels: torch.Tensor) -> float:
    """Mean over the border of two pixels of a (28, 28) map."""
    edge = torch.ones_like(pixels, dtype=torch.bool)
    edge[2:-2, 2:-2] = False
    return pixels[edge].mean().item()


def dram_power(claim: str, chains: Chains, profile: Profile) -> dict:
    """C25: 20 Hz x 1 G connections x the table's energy of one DRAM access."""
    watt = dram_energy(20 * 1e9, paper.energy()["32 bit DRAM Memory"])
    exact = Summary(watt, math.nan, math.nan, math.nan, 0)
    return _row(claim, f"{watt:.1f} W", exact, "W", "arithmetic", {"watt": watt}, profile)


def _row(claim: str, ours: str, summary: Summary, unit: str, where: str, measures: dict, profile: Profile) -> dict:
    interval = "" if math.isnan(summary.low) else f"{summary.low:.2f} to {summary.high:.2f} {unit}"
    verdict = paper.verdict(claim, measures, summary.n, profile.meaningful)
    measured_on = where if profile.meaningful or not summary.n else f"{where} ({profile.name}: decides nothing)"
    return {"ours": ours, "interval": interval, "seeds": summary.n, "measured_on": measured_on, "verdict": verdict}


MEASURES: dict[str, Callable[[str, Chains, Profile], dict]] = {
    "C01": accuracy("lenet_300_100"),
    "C02": accuracy("lenet_5"),
    "C05": computation("lenet_300_100"),
    "C06": computation("lenet_5"),
    "C09": attention,
    "C25": dram_power,
}
