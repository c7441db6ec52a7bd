"""Every claim of the paper with our measurement, its interval and the verdict by the claim's rule."""

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from . import paper
from .accounting import dram_energy, total
from .experiments import Chain, chosen
from .profiles import Profile
from .statistics import Summary, summarise
from .tables import border_density, centre_density, pixel_density

Chains = Mapping[str, Sequence[Chain]]


def scorecard(chains: Chains, profile: Profile) -> pd.DataFrame:
    """All 28 claims: id, claim, published, ours, interval, seeds, measured_on, verdict.

    chains: by network, one chain per seed. A claim that nothing measures yet, or whose network is not among the
    chains, is `not run`.
    """
    rows = []
    for identity, claim in paper.claims().iterrows():
        network, measure = MEASURES.get(identity, ("", None))
        row = {"id": identity, "claim": claim.claim, "published": claim.published}
        if measure is None or (network and network not in chains):
            row |= {"ours": "", "interval": "", "seeds": 0, "measured_on": "", "verdict": "not run"}
        else:
            row |= measure(identity, chains.get(network, ()), profile)
        rows.append(row)
    return pd.DataFrame(rows)


def counts(card: pd.DataFrame) -> pd.DataFrame:
    """How many claims have each verdict, and which."""
    groups = {verdict: card[card.verdict == verdict].id.tolist() for verdict in paper.VERDICTS}
    return pd.DataFrame([{"verdict": v, "claims": len(ids), "which": ", ".join(ids)} for v, ids in groups.items()])


def headline(card: pd.DataFrame) -> str:
    """The measured claims of Table 1, and how many claims have which verdict, in a few sentences (Markdown)."""
    lines = card[card.id.isin(["C01", "C02"]) & (card.verdict != "not run")]
    found = [
        f"- {line.claim}: paper {line.published}; ours {line.ours} (**{line.verdict}**)." for line in lines.itertuples()
    ]
    tally = ", ".join(f"{row.claims} {row.verdict}" for row in counts(card).itertuples() if row.claims)
    return "\n".join([*found, f"- Of the paper's {len(card)} claims: {tally} ([scorecard](scorecard.html))."])


def accuracy(claim: str, chains: Sequence[Chain], profile: Profile) -> dict:
    """C01, C02: does the network keep its accuracy with 12x fewer weights? The interval is of the paired change."""
    pairs = [(chain[0], chosen(chain)) for chain in chains]
    dense, error = summarise(d.error() for d, _ in pairs), summarise(p.error() for _, p in pairs)
    change, rate = summarise(p.error() - d.error() for d, p in pairs), summarise(p.rate for _, p in pairs)
    measures = {"rate": rate.mean, "error": error.mean, "change": change.mean}
    ours = f"{dense.mean:.2f} -> {error.mean:.2f} % error at {rate.mean:.1f}x, change {change.mean:+.2f} points"
    return _row(claim, ours, change, "points", "MNIST", measures, profile)


def computation(claim: str, chains: Sequence[Chain], profile: Profile) -> dict:
    """C05, C06: the share of the dense FLOPs that pruned weights and zero activations leave."""
    flop = summarise(100 * total(chosen(chain).layers).flop_density for chain in chains)
    ours = f"FLOP {flop.mean:.1f} % ({100 / flop.mean:.1f}x less)"
    return _row(claim, ours, flop, "%", "MNIST", {"flop_density": flop.mean}, profile)


def attention(claim: str, chains: Sequence[Chain], profile: Profile) -> dict:
    """C09: kept fc1 connections of LeNet-300-100 per input pixel, centre against border."""
    maps = [pixel_density(chosen(chain).tensors()[1]["fc1"]) for chain in chains]
    centre, border = summarise(map(centre_density, maps)), summarise(map(border_density, maps))
    ratios = [centre_density(m) / max(border_density(m), 1e-12) for m in maps]
    ours = f"centre {100 * centre.mean:.1f} %, border {100 * border.mean:.2f} % kept; {_times(min(ratios))} at least"
    measures = {"least_centre_over_border": min(ratios)}
    difference = summarise(100 * (centre_density(m) - border_density(m)) for m in maps)
    return _row(claim, ours, difference, "points, centre minus border", "MNIST", measures, profile)


def _times(ratio: float) -> str:
    return "over 1,000x" if ratio > 1_000 else f"{ratio:.0f}x"


def dram_power(claim: str, chains: Sequence[Chain], profile: Profile) -> dict:
    """C25: 20 Hz x 1 G connections x the table's energy of one DRAM access."""
    watt = dram_energy(20 * 1e9, paper.energy()["32 bit DRAM Memory"])
    exact = Summary(watt, math.nan, math.nan, math.nan, 0)
    return _row(claim, f"{watt:.1f} W", exact, "W", "arithmetic", {"watt": watt}, profile)


def _row(claim: str, ours: str, summary: Summary, unit: str, where: str, measures: dict, profile: Profile) -> dict:
    interval = "" if math.isnan(summary.low) else f"{summary.low:.2f} to {summary.high:.2f} {unit}"
    verdict = paper.verdict(claim, measures, summary.n, profile.meaningful)
    measured_on = where if profile.meaningful or not summary.n else f"{where} ({profile.name}: decides nothing)"
    return {"ours": ours, "interval": interval, "seeds": summary.n, "measured_on": measured_on, "verdict": verdict}


MEASURES: dict[str, tuple[str, Callable[[str, Sequence[Chain], Profile], dict]]] = {  # the network, the measurement
    "C01": ("lenet_300_100", accuracy),
    "C02": ("lenet_5", accuracy),
    "C05": ("lenet_300_100", computation),
    "C06": ("lenet_5", computation),
    "C09": ("lenet_300_100", attention),
    "C25": ("", dram_power),
}
