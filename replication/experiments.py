"""Every run that the book needs, as data: recipes, chains of prune and retrain, and the plan of each notebook."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .errors import ReplicationError
from .profiles import Profile
from .pruning import Pruning
from .runs import Record, Run
from .scheduler import compute
from .training import Training

Chain = list[Record]  # the dense network of one seed, then its rounds of pruning


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, pruned and retrained: `rounds` times, always by the same rule."""

    training: Training
    retraining: Training
    pruning: Pruning
    rounds: int


# paper: section 4: retraining starts at 1/10 of the original learning rate for both LeNets
RETRAINING_RATE = 0.1
# ours: the recipes were tried out on seeds 0 to 4, with their test errors in view; what the book reports starts at 100
FIRST_SEED = 100
# ours: epochs, initial learning rates, warm-up and cosine schedule, batch sizes, momentum and weight decay; the paper
# gives none of them. Retraining has batches of 16 (LeNet-300-100) and 8 (LeNet-5), training of 256 and 64.
RECIPES = {
    "lenet_300_100": Recipe(
        training=Training(epochs=12, learning_rate=0.2, warmup=1 / 12, batch_size=256, weight_decay=1e-3),
        retraining=Training(epochs=5, learning_rate=0.2 * RETRAINING_RATE, batch_size=16, weight_decay=1e-3),
        pruning=Pruning(damage=0.03),
        rounds=3,
    ),
    "lenet_5": Recipe(
        training=Training(epochs=7, learning_rate=0.1, warmup=1 / 14, batch_size=64),
        retraining=Training(epochs=4, learning_rate=0.1 * RETRAINING_RATE, batch_size=8),
        pruning=Pruning(damage=0.008),
        rounds=2,
    ),
}


# The dense references that stand in for Caffe's model zoo; `python -m replication ship NETWORK` makes them.
# ours: mirrored and shifted images, bfloat16, a warm-up over a fifth of the epochs, then a cosine; one seed
REFERENCES = {
    "alexnet_32": Run(
        "alexnet_32",
        seed=0,
        training=Training(24, 0.05, "cosine", 0.2, 256, augment=True, precision="bfloat16"),
        dataset="cifar10",
    ),
    "vgg16_32": Run(
        "vgg16_32",
        seed=0,
        training=Training(48, 0.03, "cosine", 0.2, 128, augment=True, precision="bfloat16"),
        dataset="cifar10",
    ),
}


def recipe(network: str, profile: Profile, rounds: int = 0, retraining_rate: float = RETRAINING_RATE) -> Recipe:
    """The recipe of `network` within the limits of `profile`.

    rounds: of pruning (0: the recipe's own); retraining_rate: learning rate of retraining over that of training.
    """
    own = RECIPES[network]
    if not isinstance(rounds, int) or rounds < 0:
        raise ReplicationError(f"rounds is {rounds!r}: give a whole number (0: the recipe's own)")
    rounds = rounds or own.rounds
    return replace(
        own,
        training=_limited(own.training, profile),
        retraining=_limited(
            replace(own.retraining, learning_rate=own.training.learning_rate * retraining_rate), profile
        ),
        pruning=replace(own.pruning, grid=own.pruning.grid[:: profile.grid_step]),
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
    return [
        chain(network, seed, own, profile.images) for seed in range(FIRST_SEED, FIRST_SEED + profile.seeds[network])
    ]


def records(network: str, profile: Profile, jobs: int = 0, **settings) -> list[Chain]:
    """The records of `chains`, computed where they are missing (see `scheduler.compute` for jobs and errors)."""
    plan = chains(network, profile, **settings)
    found = iter(compute([run for each in plan for run in each], jobs))
    return [[next(found) for _ in each] for each in plan]


def _standard_error(*records: Record) -> float:
    """Standard error, in points, of the difference of the validation errors of two networks."""
    shares = [(r.error("validation") / 100, r.metrics["validation"]["images"]) for r in records]
    return 100 * math.sqrt(sum(p * (1 - p) / n for p, n in shares))


def chosen(chain: Sequence[Record]) -> Record:
    """The sparsest round of a chain that loses nothing on the validation split; the first round where all lose."""
    # ours: "without loss": the validation error rises by at most the standard error of such a difference
    dense, *rounds = chain
    lossless = [r for r in rounds if r.error("validation") - dense.error("validation") <= _standard_error(r, dense)]
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
    "table4_alexnet": lambda profile: [],  # counted at true size, nothing trained
    "table5_vgg16": lambda profile: [],
    "scorecard": _lenets,
    "provenance": _lenets,
}


def plan(profile: Profile, notebooks: Sequence[str] = ()) -> list[Run]:
    """Every run that these notebooks read (none named: all), each once, the slower networks' first."""
    wanted = [run for name in notebooks or PLANS for run in PLANS[name](profile)]
    wanted.sort(key=lambda run: LENETS.index(run.network))
    return list({run.key: run for run in wanted}.values())
