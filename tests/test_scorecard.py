"""The scorecard's files: every status follows from the gaps by seed, for claims that hold, fail and are unclear."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from test_figure_claims import points, sensitivity
from test_storage_pages import costs
from test_text_claims import dying, made

from replication import claims
from replication.claims import CLAIMS, tradeoff
from replication.runs import Record, profiles

LENETS, STAND_INS = ("lenet_300_100", "lenet_5"), ("alexnet_32", "vgg16_32")
SEEDS = dict.fromkeys(LENETS, 5) | dict.fromkeys(STAND_INS, 3)
PLACES = {  # by claim: how each variant's error moves where the claim fails
    "C19": {"Dr": 1, "Do": 0},
    "C20": {"kept": 1, "re-initialised": 0},
    "C21": {"in turn": 1, "joint": 0},
    "C22": {"kept": 1, "probabilistic": 0, "uniform random": -1},
    "C24": {"rate 0.01": 0, "rate 0.03": 0, "rate 0.1": 1, "rate 0.3": 0, "rate 1": 0},
}
METHODS = ("Magnitude pruning, 1/3", "SVD, 1/3", "Magnitude pruning, 1/9", "Naive cut, 1/9")
CURVES = ("L2, not retrained", "L1, not retrained", *tradeoff.RETRAINED.values())


class Drawn(Record):
    """A record whose fc1 is drawn from its seed: its image's centre is kept, retraining parts its weights."""

    def tensors(self) -> tuple[dict, dict]:
        generator = torch.Generator().manual_seed(self.run["seed"])
        mask, centre = torch.rand(50, 28, 28, generator=generator) < self.values["edge"], torch.zeros(28, 28).bool()
        centre[7:21, 7:21] = True
        mask |= centre & (torch.rand(50, 28, 28, generator=generator) < 0.4)
        weight = torch.randn(50, 784, generator=generator) * 0.01
        parted = weight + self.values["parted"] * weight.sign()
        return {"fc1.weight": parted}, {"fc1": mask.reshape(50, 784)}


def stage(network: str, seed: int, errors: int, density: float, edge: float = 0.0, parted: float = 0.0) -> Record:
    scores = {split: {"errors": errors, "images": 10_000} for split in ("test", "validation")}
    layers = [{"layer": "fc1", "weights": 1_000, "weight_density": density, "flop": 2_000, "neurons": 10}]
    layers[0] |= {"activation_density": 0.5, "flop_density": density * 0.9}
    metrics = scores | {"layers": layers}
    run = {"network": network, "seed": seed}
    about = {"key": f"{network}{seed}{density}", "edge": edge, "parted": parted}
    return Drawn(about | {"run": run, "metrics": metrics})


def evidence(lean: int) -> dict[str, object]:
    """All that the claims are judged by, made up so that most of them hold (lean -1), fail (1) or are unclear (0)."""
    chance, found = np.random.default_rng(lean + 1), {"controls": {}}

    def errors(network: str, place: int) -> list[int]:
        return (100 + 80 * place + chance.integers(-4, 5, SEEDS[network]) * (1 if lean else 10)).tolist()

    def some(network: str, good: float, bad: float) -> list[float]:
        return [good if lean < 0 or (lean == 0 and n % 2) else bad for n in range(SEEDS[network])]

    for network, count in SEEDS.items():
        densities = 1 / ({-1: 16, 0: 11.9, 1: 8}[lean] + chance.normal(0, 0.3, count))
        drawn = some(network, 0.03, 0.3), some(network, 0.05, 0.0)
        ends = map(stage, [network] * count, range(count), errors(network, lean), densities, *drawn)
        found[network] = [[stage(network, seed, 100, 1.0), end] for seed, end in enumerate(ends)]
        found["controls"][network] = [stage(network, s, e, 1.0) for s, e in enumerate(errors(network, 0))]
    moved, spread = ("L1, not retrained", "L2, retrained", "L2, iterative"), 0.05 if lean else 1.0
    found["curves"] = pd.concat(
        points({c: {d: shift(c in moved, lean, spread, SEEDS[n], chance) for d in (50, 20, 10, 5)} for c in CURVES}, n)
        for n in tradeoff.MARGIN
    )
    for claim, places in PLACES.items():
        networks = CLAIMS[claim].networks
        found[claim] = {n: made(**{name: errors(n, lean * at) for name, at in places.items()}) for n in networks}
    found["C23"] = {n: [dying(end, seed=s) for s, end in enumerate(some(n, 1e-5, 0.5))] for n in LENETS}
    tests = {name: errors("alexnet_32", lean * name.startswith("Magnitude")) for name in METHODS}
    found["methods"] = [{n: stage("alexnet_32", s, e[s], 0.3) for n, e in tests.items()} for s in range(3)]
    found["sensitivity"] = [
        sensitivity(n, s, {"conv1": first, "conv2": 30, "fc1": 15})
        for n in STAND_INS
        for s, first in enumerate(some(n, 40, 20))
    ]
    return found | {"storage": costs(fc_best=6 + (lean > 0), conv_at_8=0.0 if lean < 0 else 2.0)}


def shift(moved: bool, lean: int, spread: float, count: int, chance: np.random.Generator) -> list[float]:
    """Errors (%) of one point of a curve by seed; the dense network has 1 %."""
    return (1.5 + moved * (0.9 * lean - 0.5) + chance.normal(0, spread, count)).tolist()


LIMITS = {"C01": 0.1, "C02": 0.1, "C03": 0.5, "C04": 0.5, "C05": 10, "C06": 18, "C07": 33, "C08": 23} | {
    claim: 0.0 for claim in ("C10", "C11", "C12", "C13", "C19", "C20", "C22", "C27")
}
# C21, C24 and C28: 0.10 points, 0.50 on a stand-in
LIMITS |= {"K01": 0.1, "K02": 0.1, "K03": 0.5, "K04": 0.5}
LEAST_RATE = {"C01": 12, "C02": 12, "C03": 9, "C04": 13}
MOST_ERROR = {"C01": 1.64, "C02": 0.80}


EVERY = {
    "C09": lambda wide: wide["centre over border"] >= 4,
    "C15": lambda wide: (
        (wide["largest other layer's loss less the first's"] < 0) & (wide["FC loss less CONV loss"] < 0)
    ),
    "C16": lambda wide: (wide["middle over the lower mode"] <= 0.1) & (wide["range after over before"] > 1),
}


def interval(values: pd.Series) -> tuple[float, float]:
    reach = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - reach, values.mean() + reach


def again(row: pd.Series, gaps: pd.DataFrame) -> str:
    """The status of a row of the scorecard's statuses, from the gaps beside it and the rule of claims.csv."""
    wide = gaps.pivot(index="seed", columns="comparison", values="gap")
    if row.id == "C17":
        return "holds" if wide["distance from 15.6 %"].item() <= 1 else "fails"
    if row.id == "C18":
        conv = wide.get("CONV at 8 bits above its best, %", pd.Series([0.0])).item()
        return "holds" if wide["FC bits from 5"].item() <= 1 and conv <= 10 else "fails"
    if row.id == "C25":
        return "holds" if wide["power"].item() == 12.8 else "fails"
    if row.id == "C26":
        return "undecided"
    if len(wide) < SEEDS[row.network]:
        return "undecided"
    if row.id == "C23":
        gone = (wide["largest weight left"] < 1e-3) & (wide["change by removal"] < 1e-4)
        return "holds" if gone.all() else "fails"
    if row.id in EVERY:
        within = EVERY[row.id](wide)
        return "holds" if within.all() else "undecided" if within.any() else "fails"
    if row.id == "C14":
        rising = sorted(stats.ttest_1samp(wide[c], 0, alternative="less").pvalue for c in wide)
        if any(p * len(rising) < 0.05 for p in rising[:1]):
            return "holds"
        return "fails" if all(interval(wide[c])[0] > 0 for c in wide) else "undecided"
    limit = LIMITS.get(row.id, 0.5 if row.network in STAND_INS else 0.1)
    low, high = interval(wide[row.comparison])
    missed, doubtful = low > limit, high > limit
    if row.id in LEAST_RATE:
        missed |= interval(wide["rate"])[1] < LEAST_RATE[row.id]
        doubtful |= wide["rate"].mean() < LEAST_RATE[row.id]
    if row.id in MOST_ERROR:
        missed |= interval(wide["error"])[0] > MOST_ERROR[row.id]
        doubtful |= wide["error"].mean() > MOST_ERROR[row.id]
    found = "fails" if missed else "undecided" if doubtful else "holds"
    return "undecided" if row.why == "a curve ends without loss" and row.id in ("C10", "C13") else found


FILES = ("statuses", "gaps")
# either decided by one figure or by rule, or with one density or rate in all that is made up
PARTLY = {"C04", "C05", "C06", "C07", "C08", "C17", "C18", "C23", "C25", "C26"}


def test_every_status_follows_from_the_files_beside_the_scorecard(tmp_path):
    seen = set()
    for lean in (-1, 0, 1):
        judged = claims.judged(evidence(lean), profiles.get("laptop"))
        for name, table in (("statuses", claims.statuses(judged)), ("gaps", claims.gaps(judged))):
            table.to_csv(tmp_path / f"{name}.csv", index=False)
        statuses, gaps = (pd.read_csv(tmp_path / f"{name}.csv").fillna({"network": "", "why": ""}) for name in FILES)
        for _, row in statuses.iterrows():
            own = gaps[(gaps.id == row.id) & (gaps.network == row.network)]
            assert row.status == again(row, own), (lean, dict(row))
            seen.add((row.id, row.status))
        assert {each.id for each in judged} == set(statuses.id) == set(CLAIMS)
        assert all(each.verdict == claims.verdict(each.statuses, each.id == "C17") for each in judged)
    every = {(claim, status) for claim in CLAIMS for status in ("holds", "fails", "undecided")}
    assert {claim for claim, _ in every - seen} == PARTLY


@pytest.mark.parametrize("lean", (-1, 0, 1))
def test_what_we_measured_is_one_short_sentence(lean: int):
    for each in claims.judged(evidence(lean), profiles.get("laptop")):
        assert len(each.ours.split()) <= 40 and "nan" not in each.ours
