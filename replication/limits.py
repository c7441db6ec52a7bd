"""How far plain magnitude pruning goes on the LeNets when it is given time: beyond the paper, beside later methods."""

from dataclasses import dataclass, replace

from .experiments import FIRST_SEED, RECIPES, Chain, dense, limited, pruned, recipe
from .profiles import Profile
from .pruning import Pruning
from .runs import Run
from .scheduler import compute
from .training import Training


@dataclass(frozen=True)
class Descent:
    """training: of every round, from the original learning rate down; densities: after each round.

    own_start: the dense network is trained in the same way; otherwise it is that of Table 3. dataset: of every round.
    """

    training: Training
    densities: tuple[float, ...]
    own_start: bool
    dataset: str = "mnist"


# ours: how far it goes: each round trains from the original learning rate down again, with L1 beside a weaker L2
# ours: LeNet-5's rounds train on all 60,000 images: its qualities are searched on images that it has seen
DESCENTS = {
    "lenet_300_100": Descent(
        replace(RECIPES["lenet_300_100"].training, epochs=25, l1=2e-5, weight_decay=5e-4),
        (0.25, 0.1, 0.05, 1 / 30, 1 / 40, 1 / 53, 1 / 70, 1 / 90, 1 / 120),
        own_start=True,
    ),
    "lenet_5": Descent(
        replace(RECIPES["lenet_5"].training, epochs=10, l1=1e-5, precision="bfloat16"),
        (0.1, 0.05, 0.028, 0.016, 0.01, 0.007, 0.005),
        own_start=False,
        dataset="mnist_whole",
    ),
}


def seeds(network: str, profile: Profile) -> range:
    """The seeds of the long chains; none: the network is left out."""
    return range(FIRST_SEED, FIRST_SEED + profile.limits[network])


def chain(network: str, seed: int, profile: Profile) -> list[Run]:
    """The dense network and its rounds, each to the next density; the layers' qualities are searched."""
    descent = DESCENTS[network]
    training, grid = limited(descent.training, profile), Pruning().grid[:: profile.grid_step]
    start = Run(network, seed, training, images=profile.images)
    runs = [start if descent.own_start else dense(network, seed, profile, recipe(network, profile))]
    for density in descent.densities if profile.meaningful else descent.densities[:2]:
        rule = Pruning(grid=grid, density=density, flop_share=0.0)  # weights alone are counted here
        runs.append(replace(pruned(runs[-1], seed, [training], rule), dataset=descent.dataset))
    return runs


def all_runs(profile: Profile) -> list[Run]:
    """Every run of the page."""
    return [run for n in DESCENTS for seed in seeds(n, profile) for run in chain(n, seed, profile)]


def records(profile: Profile, jobs: int = 0) -> dict[str, list[Chain]]:
    """The chains by network, one per seed, computed where they are missing (see `scheduler.compute`)."""
    plan = {n: [chain(n, seed, profile) for seed in seeds(n, profile)] for n in DESCENTS if seeds(n, profile)}
    found = {record.key: record for record in compute(all_runs(profile), jobs)}
    return {n: [[found[run.key] for run in each] for each in chains] for n, chains in plan.items()}
