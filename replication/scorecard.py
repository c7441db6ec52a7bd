"""Every claim of the paper with our measurement, its interval and the verdict by the claim's rule."""

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from . import comparisons, figure_claims, paper, storage_costs, text_claims, tradeoff, variants
from .accounting import dram_energy, total
from .experiments import LENETS, STAND_INS, Chain, chosen, records
from .profiles import Profile
from .registry import TITLES
from .scheduler import compute
from .statistics import Summary, summarise
from .tables import border_density, centre_density, pixel_density

PLACES = {network: f"{TITLES[network]}, CIFAR-10" for network in STAND_INS.values()}
EVERY_NETWORK = "both LeNets and the AlexNet stand-in"


PAGES = {  # where each claim is measured
    "table2_lenet_300_100": ("C01", "C05"),
    "table3_lenet_5": ("C02", "C06"),
    "table4_alexnet": ("C03", "C07"),
    "table5_vgg16": ("C04", "C08"),
    "figure4_attention": ("C09",),
    "figure5_tradeoff": ("C10", "C11", "C12", "C13", "C14", "C28"),
    "figure6_sensitivity": ("C15",),
    "figure7_weights": ("C16",),
    "storage_overhead": ("C17", "C18", "C26"),
    "dropout": ("C19",),
    "survivors": ("C20",),
    "freezing": ("C21",),
    "choosing": ("C22",),
    "dead_neurons": ("C23",),
    "learning_rate": ("C24",),
    "method": ("C25",),
    "table6_methods": ("C27",),
}
PAGES = {claim: page for page, claims in PAGES.items() for claim in claims}


def evidence(profile: Profile) -> dict[str, object]:
    """All that the claims are judged by: chains by network, `curves`, `sensitivity`, `methods`, `storage`; to C24."""
    found: dict[str, object] = {network: records(network, profile) for network in (*LENETS, *STAND_INS.values())}
    if set(profile.curves) == set(tradeoff.MARGIN):  # the claims are about all of them
        found["curves"] = tradeoff.table(tradeoff.records(profile))
    (found["sensitivity"],) = compute([comparisons.sensitivity(profile)])
    methods = comparisons.methods(profile)
    found["methods"] = dict(zip(methods, compute(methods.values())))
    found["storage"] = storage_costs.measure(chains(found), profile)
    trials = {claim: variants.records(claim, profile) for claim in text_claims.TEXT_CLAIMS}
    return found | {claim: each for claim, each in trials.items() if each}


def chains(found: Mapping[str, object]) -> dict[str, Sequence[Chain]]:
    """The chains among the evidence, by network."""
    return {network: found[network] for network in (*LENETS, *STAND_INS.values())}


def scorecard(found: Mapping[str, object], profile: Profile) -> pd.DataFrame:
    """All 28 claims: id, claim, published, ours, interval, seeds, measured_on, verdict, page (of the book).

    found: the evidence, or a part of it. A claim that nothing measures yet, or whose evidence is not there, is
    `not run`.
    """
    rows = []
    for identity, claim in paper.claims().iterrows():
        needed, measure = MEASURES.get(identity, ("", None))
        row = {"id": identity, "claim": claim.claim, "published": claim.published}
        if measure is None or (needed and needed not in found):
            row |= {"ours": "", "interval": "", "seeds": 0, "measured_on": "", "verdict": "not run"}
        else:
            row |= measure(identity, found.get(needed, ()), profile)
        rows.append(row | {"page": PAGES[identity]})
    return pd.DataFrame(rows)


def counts(card: pd.DataFrame) -> pd.DataFrame:
    """How many claims have each verdict, and which."""
    groups = {verdict: card[card.verdict == verdict].id.tolist() for verdict in paper.VERDICTS}
    return pd.DataFrame([{"verdict": v, "claims": len(ids), "which": ", ".join(ids)} for v, ids in groups.items()])


def accuracy(claim: str, chains: Sequence[Chain], profile: Profile) -> dict:
    """C01 to C04: does the network keep its accuracy with so few weights? The interval is of the paired change."""
    pairs = [(chain[0], chosen(chain)) for chain in chains]
    dense, error = summarise(d.error() for d, _ in pairs), summarise(p.error() for _, p in pairs)
    change, rate = summarise(p.error() - d.error() for d, p in pairs), summarise(p.rate for _, p in pairs)
    measures = {"rate": rate.mean, "error": error.mean, "change": change.mean}
    ours = f"{dense.mean:.2f} -> {error.mean:.2f} % error at {rate.mean:.1f}x, change {change.mean:+.2f} points"
    return _row(claim, ours, change, "points", _place(chains), measures, profile)


def computation(claim: str, chains: Sequence[Chain], profile: Profile) -> dict:
    """C05 to C08: the share of the dense FLOPs that pruned weights and zero activations leave."""
    flop = summarise(100 * total(chosen(chain).layers).flop_density for chain in chains)
    ours = f"FLOP {flop.mean:.1f} % ({100 / flop.mean:.1f}x less)"
    return _row(claim, ours, flop, "%", _place(chains), {"flop_density": flop.mean}, profile)


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


def _place(chains: Sequence[Chain]) -> str:
    return PLACES.get(chains[0][0].run["network"], "MNIST")


def _by(measure: Callable[..., figure_claims.Measured], where: str = "") -> Callable[..., dict]:
    """A measurement of another module as a line of the scorecard; where: "" for the networks that were found."""

    def line(claim: str, found: object, profile: Profile) -> dict:
        ours, summary, unit, measures, seeds = measure(found)
        place = where or " and ".join(TITLES[network] for network in found)
        return _row(claim, ours, summary._replace(n=seeds), unit, place, measures, profile)

    return line


def _row(claim: str, ours: str, summary: Summary, unit: str, where: str, measures: dict, profile: Profile) -> dict:
    interval = "" if math.isnan(summary.low) else f"{summary.low:.2f} to {summary.high:.2f} {unit}"
    verdict = paper.verdict(claim, measures, summary.n, profile.meaningful)
    measured_on = where if profile.meaningful or not summary.n else f"{where} ({profile.name}: decides nothing)"
    return {"ours": ours, "interval": interval, "seeds": summary.n, "measured_on": measured_on, "verdict": verdict}


MEASURES: dict[str, tuple[str, Callable[..., dict]]] = {  # by claim: the evidence that it needs, the measurement
    "C01": ("lenet_300_100", accuracy),
    "C02": ("lenet_5", accuracy),
    "C03": ("alexnet_32", accuracy),
    "C04": ("vgg16_32", accuracy),
    "C05": ("lenet_300_100", computation),
    "C06": ("lenet_5", computation),
    "C07": ("alexnet_32", computation),
    "C08": ("vgg16_32", computation),
    "C09": ("lenet_300_100", attention),
    "C25": ("", dram_power),
    "C15": ("sensitivity", _by(figure_claims.sensitive_layers, PLACES["alexnet_32"])),
    "C16": ("alexnet_32", _by(figure_claims.bimodal, PLACES["alexnet_32"])),
    "C17": ("storage", _by(storage_costs.overhead, "AlexNet at true size, random masks; stand-in, real masks")),
    "C18": ("storage", _by(storage_costs.widths, "real masks of both LeNets and both stand-ins")),
    "C26": ("storage", _by(storage_costs.on_chip, "both LeNets; AlexNet, VGG-16 at true size, random masks")),
    "C27": ("methods", _by(figure_claims.other_methods, PLACES["alexnet_32"])),
}
MEASURES |= {claim: ("curves", _by(measure, EVERY_NETWORK)) for claim, measure in figure_claims.CURVE_CLAIMS.items()}
MEASURES |= {claim: (claim, _by(measure)) for claim, measure in text_claims.TEXT_CLAIMS.items()}
