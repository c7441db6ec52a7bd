"""The claims of the text, C19 to C24, and of Table 6, C27: networks of one seed that differ in one thing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ..networks.registry import TITLES
from ..runs import Record, Run
from ..runs.comparisons import coarse_rule, methods
from ..runs.profiles import Profile
from ..runs.recipes import RECIPES, RETRAINING_RATE, dense, limited, pruned, recipe
from ..training import Training
from .rules import Claim, Evidence, Measured
from .tradeoff import MARGIN
from .verdicts import Comparison, without_exception

# ours: the variants are pruned once, to the paper's density of the network (1/12 for the LeNets, 1/9 for the stand-in),
# and retrained for 10, 4 and 8 epochs (one round of Tables 2 and 3; of Table 4 the phase of the whole network), the
# LeNets in the batches of their first training, so that only the rate differs from it, the stand-in in half of its
# training's, so that a tenth of the rate is a fifth for each image; LeNet-5 is retrained in bfloat16, for speed
SETTINGS = {
    "lenet_300_100": {"epochs": 10, "batch_size": 256, "precision": "medium"},
    "lenet_5": {"epochs": 4, "batch_size": 64, "precision": "bfloat16"},
    "alexnet_32": {"epochs": 8, "batch_size": 128, "precision": "bfloat16"},
}
DENSITIES = {"lenet_300_100": 1 / 12, "lenet_5": 1 / 12, "alexnet_32": 1 / 9}  # that they are pruned to
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of retraining, over that of training (C24)
DECAYED = 1e-3  # of the layer's standard deviation: below it a dead neuron's weights count as gone (C23)
UNCHANGED = 1e-4  # of an output's deviation: what removing dead neurons may change (C23)
KEPT = "kept"  # survivors keep their values; thresholds by layer; a tenth of the rate; L2: what the others differ from
FROM_SCRATCH = "re-initialised, as long as both trainings"  # C20: at the original rate
DENSE, LONGER = CONTROLS = "dense", "dense, trained on"
Variants = list[dict[str, Record]]  # one per seed, by name
Found = Mapping[str, Variants]  # by network


@dataclass(frozen=True)
class Subject:
    """One network and seed that a claim is tried on; the stand-in has one dense reference, and many retrainings."""

    network: str
    seed: int
    profile: Profile

    @property
    def start(self) -> Run:
        """The dense network."""
        return dense(self.network, self.seed, self.profile, recipe(self.network, self.profile))

    @property
    def with_dropout(self) -> Run:
        """The dense network with dropout, which the stand-in has anyway."""
        if self.network == "alexnet_32":
            return self.start
        training = replace(self.start.training, precision=self.phase().precision)
        return replace(self.start, network=f"{self.network}_dropout", training=training)

    def phase(self, rate: float = RETRAINING_RATE, **changes) -> Training:
        """One phase of retraining at `rate` times the learning rate of the first training."""
        own, changes = RECIPES[self.network].training, {"warmup": 0.0} | SETTINGS[self.network] | changes
        return limited(replace(own, learning_rate=own.learning_rate * rate, **changes), self.profile)

    def retrained(self, *phases: Training, start: Run | None = None, **rule) -> Run:
        """The dense network pruned to its density and retrained; rule: changes of the pruning."""
        usual = coarse_rule(self.network, self.profile, DENSITIES[self.network])
        return pruned(start or self.start, self.seed, phases or [self.phase()], replace(usual, **rule))

    def controls(self, start: Run) -> dict[str, Run]:
        """The dense network `start`, and the same trained on for as long as the others are retrained."""
        return {DENSE: start, LONGER: pruned(start, self.seed, [self.phase()], None)}


def dropout(subject: Subject) -> dict[str, Run]:
    """C19: retrained with the dropout rate of the first training, and with that of the paper's rule."""
    start, by_rule = subject.with_dropout, subject.phase(shrink_dropout=True)
    return {"Do": subject.retrained(start=start), "Dr": subject.retrained(by_rule, start=start)}


def survivors(subject: Subject) -> dict[str, Run]:
    """C20: retrained from the weights that survive, and from fresh ones: those at the original rate as well, and for as
    long as the first training and the retraining together."""
    first, again = RECIPES[subject.network].training, SETTINGS[subject.network]["epochs"]
    as_long = subject.phase(1.0, epochs=first.epochs + again, warmup=first.warmup)
    return {
        KEPT: subject.retrained(),
        "re-initialised": subject.retrained(reinitialise=True),
        "re-initialised, original rate": subject.retrained(subject.phase(1.0), reinitialise=True),
        FROM_SCRATCH: subject.retrained(as_long, reinitialise=True),
    }


def freezing(subject: Subject) -> dict[str, Run]:
    """C21: all layers together, or half of the epochs on fixed CONV layers and the other half on fixed FC layers."""
    whole = subject.phase(shrink_dropout=True, epochs=max(subject.phase().epochs, 2))
    first = (whole.epochs + 1) // 2
    in_turn = (
        replace(whole, epochs=first, freeze="conv"),
        replace(whole, epochs=max(whole.epochs - first, 1), freeze="fc"),
    )
    return {"joint": subject.retrained(whole), "in turn": subject.retrained(*in_turn)}


def choosing(subject: Subject) -> dict[str, Run]:
    """C22: the same number of weights chosen by a threshold for each layer, by one for all, and by chance."""
    return {
        KEPT: subject.retrained(),
        "global threshold": subject.retrained(method="global"),
        "probabilistic": subject.retrained(method="probabilistic"),
        "uniform random": subject.retrained(method="uniform"),
    }


def dying(subject: Subject) -> dict[str, Run]:
    """C23: retrained with L2 and without."""
    return {KEPT: subject.retrained(), "no L2": subject.retrained(replace(subject.phase(), weight_decay=0.0))}


def rates(subject: Subject) -> dict[str, Run]:
    """C24: retrained at each of RATES."""
    return {f"rate {rate:g}": subject.retrained(subject.phase(rate)) for rate in RATES}


def errors(each: Variants, name: str) -> pd.Series:
    """Test errors (%) of one variant, by the seed of its set: the dense reference of a stand-in has another."""
    return pd.Series({_seed(named): named[name].error() for named in each})


def _seed(named: Mapping[str, Record]) -> int:
    return max(record.run["seed"] for record in named.values())


def paired(*pairs: tuple[str, str], margin: bool = False) -> Callable[[Found], Measured]:
    """The test error of the first variant of each pair less that of the second is at most 0 (margin: MARGIN)."""

    def measure(found: Found) -> Measured:
        return Measured(
            [
                _gap(network, errors(each, first) - errors(each, second), f"error {first} less {second}", margin)
                for network, each in found.items()
                for first, second in pairs
            ]
        )

    return measure


def other_methods(found: Variants) -> Measured:
    """C27: magnitude pruning against an SVD and a naive cut of the same size; the records by method, of each seed."""
    return paired(*METHOD_PAIRS)({"alexnet_32": found})


def _gap(network: str, values: pd.Series, name: str, margin: bool) -> Comparison:
    return Comparison(network, values.to_frame(name), {name: ("<=", MARGIN[network] if margin else 0)})


def left_over(record: Record, moment: str = "end") -> float:
    """The largest weight left on a dead neuron's other side, in deviations of its layer; moment: "start" or "end"."""
    rows = record.metrics["history"]
    left = rows[-1]["dead"] if moment == "end" and rows else record.metrics["dead_before"]
    return max(kind["largest"] for kind in left.values())


def dead_count(record: Record, kind: str) -> int:
    """How many neurons a run's pruning left with "no_input" or with "no_output"; with neither, they count in both."""
    return sum(kinds[kind] for kinds in record.metrics["dead_units"].values())


def gone(found: Found) -> Measured:
    """C23: what is left of dead neurons' weights after retraining with L2, and what removing the neurons changes."""
    parts, compared = [], []
    for network, each in found.items():
        kept = [named[KEPT] for named in each]
        values = pd.DataFrame({"largest weight left": map(left_over, kept)}, map(_seed, each))
        values["change by removal"] = [r.metrics["without_dead"].get("largest_difference", math.inf) for r in kept]
        counts = pd.DataFrame({kind: [dead_count(r, kind) for r in kept] for kind in ("no_input", "no_output")})
        start, without = max(left_over(r, "start") for r in kept), max(left_over(named["no L2"]) for named in each)
        bounds = {"largest weight left": ("<", DECAYED), "change by removal": ("<", UNCHANGED)}
        some = values[counts.any(axis=1).to_numpy()]  # without dead neurons there is nothing to see
        compared.append(Comparison(network, some, bounds, "deviations", without_exception))
        parts.append(
            f"{TITLES[network]}: {counts.no_input.mean():.0f} neurons without inputs, {counts.no_output.mean():.0f} "
            f"without outputs, largest weight {start:.2f} -> {values['largest weight left'].max():.2f} (without L2 "
            f"{without:.2f})"
        )
    return Measured(compared, "; ".join(parts) + " deviations")


def best_rate(found: Found) -> Measured:
    """C24: the error at the paper's learning rate of retraining, a tenth, less that at the rate of the best mean."""
    parts, compared = [], []
    for network, each in found.items():
        means = {rate: errors(each, f"rate {rate:g}").mean() for rate in RATES}
        best = min(means, key=means.get)
        gap = errors(each, "rate 0.1") - errors(each, f"rate {best:g}")
        compared.append(_gap(network, gap, "error at 1/10 less at the best rate", margin=True))
        parts.append(f"{TITLES[network]} {means[0.1]:.2f} % at 1/10, best {means[best]:.2f} % at {best:g}")
    return Measured(compared, "; ".join(parts))


def _with_controls(subject: Subject, variants: Callable) -> dict[str, Run]:
    start = subject.with_dropout if variants is dropout else subject.start  # its rule: every control has the dropout
    return subject.controls(start) | variants(subject)


def _claim(claim: str, page: str, networks: Sequence[str], variants: Callable, measure: Callable) -> Claim:
    """A claim of the text; its runs are, by network and seed, the controls and the variants of each subject by name."""

    def runs(profile: Profile) -> dict[str, list[dict[str, Run]]]:
        first = {n: RECIPES[n].first_seed for n in networks}
        seeds = {n: range(first[n], first[n] + profile.trials[n]) for n in networks if profile.trials[n]}
        subjects = {n: [Subject(n, seed, profile) for seed in each] for n, each in seeds.items()}
        return {n: [_with_controls(subject, variants) for subject in each] for n, each in subjects.items()}

    return Claim(claim, page, Evidence(claim, runs), measure, tuple(networks))


LENETS, WITH_CONV = ("lenet_300_100", "lenet_5"), ("lenet_5", "alexnet_32")  # LeNet-300-100 has no CONV layers
METHOD_PAIRS = ("Magnitude pruning, 1/3", "SVD, 1/3"), ("Magnitude pruning, 1/9", "Naive cut, 1/9")
CHANCES = (KEPT, "probabilistic"), ("probabilistic", "uniform random")
METHODS = Evidence("methods", methods)
CLAIMS = (
    _claim("C19", "dropout", (*LENETS, "alexnet_32"), dropout, paired(("Dr", "Do"))),
    _claim("C20", "survivors", LENETS, survivors, paired((KEPT, "re-initialised"))),
    _claim("C21", "freezing", WITH_CONV, freezing, paired(("in turn", "joint"), margin=True)),
    _claim("C22", "choosing", LENETS, choosing, paired(*CHANCES)),
    _claim("C23", "dead_neurons", LENETS, dying, gone),
    _claim("C24", "learning_rate", LENETS, rates, best_rate),
    Claim("C27", "table6_methods", METHODS, other_methods, ("alexnet_32",)),
)
