"""Every run that the book needs, as data: recipes, chains of prune and retrain, and the plan of each notebook."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .pruning import Pruning
from .profiles import Profile
from .runs import Record, Run
from .scheduler import compute
from .training import Training

Chain = list[Record]  # the dense network of one seed, then its rounds of pruning


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, pruned and retrained: `rounds` times, always by the same rule.

    retraining_rate: learning rate of retraining over that of training.
    """

    training: Training
    retraining: Training
    pruning: Pruning
    rounds: int

    @property
    def retraining_rate(self) -> float:
        """Learning rate of retraining over that of training."""
        return self.retraining.learning_rate / self.training.learning_rate


# paper: section 4: retraining starts at 1/10 of the original learning rate for both LeNets
RETRAINING_RATE = 0.1
# ours: epochs, batch size, rates and weight decay; the paper gives none of them
RECIPES = {
    "lenet_300_100": Recipe(
        training=Training(epochs=12, learning_rate=0.1),
        retraining=Training(epochs=5, learning_rate=0.1 * RETRAINING_RATE),
        pruning=Pruning(damage=0.5),
        rounds=4,
    ),
    "lenet_5": Recipe(
        training=Training(epochs=8, learning_rate=0.1),
        retraining=Training(epochs=3, learning_rate=0.1 * RETRAINING_RATE),
        pruning=Pruning(damage=0.5),
        rounds=3,
    ),
}
# ours: a round counts as "without loss" where its validation error is at most this many points above the dense one's
TOLERANCE = 0.1


def recipe(network: str, profile: Profile, rounds: int | None = None, retraining_rate: float | None = None) -> Recipe:
    """The recipe of `network` within the limits of `profile`.

    rounds: of pruning, instead of the recipe's; retraining_rate: over the training's rate, instead of 1/10.
    """
    own = RECIPES[network]
    rate = RETRAINING_RATE if retraining_rate is None else retraining_rate
    rounds = own.rounds if rounds is None else rounds
    return replace(
        own,
        training=_limited(own.training, profile),
        retraining=_limited(replace(own.retraining, learning_rate=own.training.learning_rate * rate), profile),
        rounds=min(rounds, profile.rounds or rounds),
    )


def _limited(training: Training, profile: Profile) -> Training:
    return replace(training, epochs=min(training.epochs, profile.epochs or training.epochs))


def chain(network: str, seed: int, own: Recipe, images: int | None = None) -> list[Run]:
    """The dense run of one seed and its rounds, each starting from the one before."""
    runs = [Run(network, seed, own.training, images=images)]
    for _ in range(own.rounds):
        runs.append(Run(network, seed, own.retraining, own.pruning, runs[-1], images=images))
    return runs


def chains(network: str, profile: Profile, **settings) -> list[list[Run]]:
    """One chain per seed of the profile; settings: as `recipe` takes them."""
    own = recipe(network, profile, **settings)
    return [chain(network, seed, own, profile.images) for seed in range(profile.seeds[network])]


def records(network: str, profile: Profile, jobs: int = 0, **settings) -> list[Chain]:
    """The records of `chains`, computed where they are missing (see `scheduler.compute` for jobs and errors)."""
    plan = chains(network, profile, **settings)
    found = iter(compute([run for each in plan for run in each], jobs))
    return [[next(found) for _ in each] for each in plan]


def chosen(chain: Sequence[Record], tolerance: float = TOLERANCE) -> Record:
    """The sparsest round of a chain that loses nothing on the validation split; the first round where all lose.

    tolerance: points of validation error above the dense network that still count as no loss.
    """
    dense, *rounds = chain
    lossless = [r for r in rounds if r.error("validation") <= dense.error("validation") + tolerance + 1e-9]
    return max(lossless, key=lambda record: record.rate, default=rounds[0])


LENETS = ("lenet_5", "lenet_300_100")  # the slower one first, so that two processes end together


def _lenets(profile: Profile) -> list[Run]:
    return [run for network in LENETS for each in chains(network, profile) for run in each]


def _one(network: str) -> Callable[[Profile], list[Run]]:
    return lambda profile: [run for each in chains(network, profile) for run in each]


PLANS: dict[str, Callable[[Profile], list[Run]]] = {  # by notebook: the runs that it reads
    "introduction": _lenets,
    "method": _lenets,
    "table1_summary": _lenets,
    "table2_lenet_300_100": _one("lenet_300_100"),
    "table3_lenet_5": _one("lenet_5"),
    "figure4_attention": _one("lenet_300_100"),
    "scorecard": _lenets,
    "provenance": _lenets,
}


def plan(profile: Profile, notebooks: Sequence[str] = ()) -> list[Run]:
    """Every run that these notebooks read (none named: all), each once."""
    wanted = [run for name in notebooks or PLANS for run in PLANS[name](profile)]
    return list({run.key: run for run in wanted}.values())
