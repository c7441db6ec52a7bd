"""The runs behind the claims of the text, C19 to C24: one dense network per seed, pruned and retrained in many ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..runs.profiles import Profile
from ..runs.recipes import FIRST_SEED, RECIPES, RETRAINING_RATE, dense, limited, pruned, recipe
from ..runs.scheduler import compute
from ..runs.spec import Record, Run
from ..training.loop import Training
from .comparisons import coarse_rule


@dataclass(frozen=True)
class Setting:
    """How the variants of one network are made: retraining epochs, density that is pruned to at once, and precision."""

    epochs: int
    density: float
    precision: str
    batch_size: int


# ours: the variants are pruned once, to the paper's density of the network (1/12 for the LeNets, 1/9 for the stand-in),
# and retrained for 8, 1 and 2 epochs (LeNet-5 in C21: 2), the LeNets in the batches of their first training, so that
# only the rate differs from it; LeNet-5 is retrained in bfloat16, for speed
SETTINGS = {
    "lenet_300_100": Setting(8, 1 / 12, "medium", 256),
    "lenet_5": Setting(1, 1 / 12, "bfloat16", 64),
    "alexnet_32": Setting(2, 1 / 9, "bfloat16", 128),
}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of retraining, over that of training (C24)
# by claim: the networks that its notebook shows
NETWORKS = {
    "C19": ("lenet_300_100", "lenet_5", "alexnet_32"),
    "C20": ("lenet_300_100", "lenet_5"),
    "C21": ("lenet_5", "alexnet_32"),  # LeNet-300-100 has no CONV layers
    "C22": ("lenet_300_100", "lenet_5"),
    "C23": ("lenet_300_100", "lenet_5"),
    "C24": ("lenet_300_100", "lenet_5"),
}
KEPT = "kept"  # survivors keep their values; thresholds by layer; a tenth of the rate; L2: what the others differ from
DENSE, LONGER = "dense", "dense, trained on"
NAMES = {  # by claim: its variants
    "C19": ("Do", "Dr"),
    "C20": (KEPT, "re-initialised", "re-initialised, original rate"),
    "C21": ("joint", "in turn"),
    "C22": (KEPT, "global threshold", "probabilistic", "uniform random"),
    "C23": (KEPT, "no L2"),
    "C24": tuple(f"rate {rate:g}" for rate in RATES),
}
Variants = list[dict[str, Record]]  # one per seed, by name


def networks(claim: str, profile: Profile) -> list[str]:
    """The networks of a claim that have seeds at this profile."""
    return [network for network in NETWORKS[claim] if profile.trials[network]]


def seeds(network: str, profile: Profile) -> range:
    """The seeds of the variants; the stand-in has one dense reference, and as many retrainings."""
    return range(FIRST_SEED, FIRST_SEED + profile.trials[network])


def phase(network: str, profile: Profile, rate: float = RETRAINING_RATE, **changes) -> Training:
    """One phase of retraining at `rate` times the learning rate of the first training."""
    own, setting = RECIPES[network].training, SETTINGS[network]
    same = {"epochs": setting.epochs, "batch_size": setting.batch_size, "precision": setting.precision, "warmup": 0.0}
    changes = same | changes
    return limited(replace(own, learning_rate=own.learning_rate * rate, **changes), profile)


def variants(claim: str, network: str, seed: int, profile: Profile) -> dict[str, Run]:
    """The runs of one claim (a key of NAMES) on one network and seed, by variant; dense networks included."""
    start = dense(network, seed, profile, recipe(network, profile))
    rule, usual = coarse_rule(network, profile, SETTINGS[network].density), phase(network, profile)

    def retrained(*phases: Training, start: Run = start, **changes) -> Run:
        return pruned(start, seed, phases or [usual], replace(rule, **changes))

    together = phase(network, profile, shrink_dropout=True, epochs=max(usual.epochs, 2))

    def at(rate: float) -> Training:
        return phase(network, profile, rate)

    made = {
        "C19": lambda: _dropout(network, seed, profile, retrained, start, usual),
        "C20": lambda: {
            "re-initialised": retrained(reinitialise=True),
            "re-initialised, original rate": retrained(at(1.0), reinitialise=True),
        },
        "C21": lambda: {"joint": retrained(together), "in turn": retrained(*_in_turn(together))},
        "C22": lambda: {
            "global threshold": retrained(method="global"),
            "probabilistic": retrained(method="probabilistic"),
            "uniform random": retrained(method="uniform"),
        },
        "C23": lambda: {"no L2": retrained(replace(usual, weight_decay=0.0))},
        "C24": lambda: {f"rate {rate:g}": retrained(at(rate)) for rate in RATES},
    }[claim]()
    controls = {DENSE: start, LONGER: pruned(start, seed, [usual], None)}
    if KEPT in NAMES[claim]:
        made[KEPT] = retrained()
    return controls | {name: made[name] for name in (*NAMES[claim], *(set(made) - set(NAMES[claim])))}


def _dropout(network: str, seed: int, profile: Profile, retrained, start: Run, usual: Training) -> dict[str, Run]:
    """C19: retrained with the dropout rate of the first training, and with that of the paper's rule."""
    if network != "alexnet_32":  # the LeNets get dropout for this, from the start
        start = replace(
            start, network=f"{network}_dropout", training=replace(start.training, precision=usual.precision)
        )
    found = {"Do": retrained(start=start), "Dr": retrained(replace(usual, shrink_dropout=True), start=start)}
    return found if network == "alexnet_32" else found | {"dense with dropout": start}


def _in_turn(whole: Training) -> list[Training]:
    """C21: the same number of epochs, the first half of them on fixed CONV layers, the other on fixed FC layers."""
    first = (whole.epochs + 1) // 2
    return [
        replace(whole, epochs=first, freeze="conv"),
        replace(whole, epochs=max(whole.epochs - first, 1), freeze="fc"),
    ]


def all_variants(profile: Profile, claims: Sequence[str] = tuple(NAMES)) -> list[Run]:
    """Every run of these claims, network by network, seed by seed."""
    return [
        run
        for network in SETTINGS
        for seed in seeds(network, profile)
        for claim in claims
        if network in networks(claim, profile)
        for run in variants(claim, network, seed, profile).values()
    ]


def flat(found: Mapping[str, Variants]) -> list[Record]:
    """Every record among them, each once."""
    return list({r.key: r for each in found.values() for named in each for r in named.values()}.values())


def records(claim: str, profile: Profile, jobs: int = 0) -> dict[str, Variants]:
    """The records of one claim by network, computed where they are missing (see `scheduler.compute`)."""
    plan = {n: [variants(claim, n, seed, profile) for seed in seeds(n, profile)] for n in networks(claim, profile)}
    flat = [run for each in plan.values() for named in each for run in named.values()]
    found = {run.key: record for run, record in zip(flat, compute(flat, jobs))}
    return {n: [{name: found[run.key] for name, run in named.items()} for named in each] for n, each in plan.items()}
