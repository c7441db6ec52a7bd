"""The runs beside the main chains: dense controls, Figure 5's curves, Figure 6, Table 6's methods, the long chains."""

from dataclasses import dataclass, replace

from ..pruning import Pruning
from ..training import Training
from .profiles import Profile
from .recipes import RECIPES, RETRAINING_RATE, STAND_INS, Recipe, chain, control, dense, limited, pruned, recipe, seeds
from .spec import Run

# Figure 5's curves: how the dense network was trained, and how it was pruned and retrained
CURVES = ("L2", "L1", "L1 then L2", "L2 iterative", "L2 one-shot")


@dataclass(frozen=True)
class Sweep:
    """How Figure 5 is drawn for one network.

    densities: where it is pruned to; retraining: the phases after each pruning; l1: strength of the L1 penalty, in
    place of the weight decay; longer: phase that trains a given dense network on with L1 or L2 (None: from scratch).
    """

    densities: tuple[float, ...]
    retraining: tuple[Training, ...]
    l1: float
    longer: Training | None = None


_DENSITIES = (0.6, 0.35, 0.2, 0.12, 0.08, 0.05, 0.03, 0.02)
# ours: Figure 5's densities and L1 strengths. Each pruning is retrained as in the tables; LeNet-5 in bfloat16, for
# speed. The stand-in's reference is trained 5 epochs on with L1 or L2, where the LeNets are trained from scratch
SWEEPS = {
    "alexnet_32": Sweep(
        (0.6, 1 / 3, 0.2, 1 / 9, 0.05, 0.02),
        RECIPES["alexnet_32"].retraining,
        5e-5,
        Training(5, 0.02, "cosine", 0.0, 128, augment=True, precision="bfloat16"),
    ),
    "lenet_300_100": Sweep(_DENSITIES, RECIPES["lenet_300_100"].retraining, 1e-5),
    "lenet_5": Sweep(
        _DENSITIES, tuple(replace(phase, precision="bfloat16") for phase in RECIPES["lenet_5"].retraining), 1e-5
    ),
}


def controls(profile: Profile) -> dict[str, list[Run]]:
    """The dense controls by network, one per seed."""
    own = {network: recipe(network, profile) for network in RECIPES}
    return {
        n: [control(dense(n, seed, profile, each), seed, each) for seed in seeds(n, profile)] for n, each in own.items()
    }


# ours: retraining in batches of 16 and 8 at a tenth of the rate: for each image that is 1.6 and 0.8 times the rate of
# training, in batches of 256 and 64. It is not what the paper says, and stands beside the tables
SMALL_BATCHES = {
    "lenet_300_100": Training(5, 0.2 * RETRAINING_RATE, batch_size=16, weight_decay=1e-3),
    "lenet_5": Training(4, 0.1 * RETRAINING_RATE, batch_size=8),
}


def small_batches(network: str, profile: Profile) -> list[list[Run]]:
    """A LeNet's chains retrained in small batches: five seeds of LeNet-300-100, three of LeNet-5."""
    own = replace(recipe(network, profile), retraining=(limited(SMALL_BATCHES[network], profile),), last=())
    count = 5 if network == "lenet_300_100" else 3
    return [chain(dense(network, seed, profile, own), seed, own) for seed in seeds(network, profile)[:count]]


def penalised(training: Training, l1: float) -> Training:
    """The training with this L1 penalty in place of its weight decay; 0: as it is."""
    return replace(training, l1=l1, weight_decay=0.0) if l1 else training


def _start(network: str, seed: int, profile: Profile, own: Recipe, l1: float) -> Run:
    """The dense network of a curve, trained with L1 (l1 > 0) or L2."""
    longer, first = SWEEPS[network].longer, dense(network, seed, profile, own)
    if longer is None:
        return replace(first, training=penalised(first.training, l1))
    return pruned(first, seed, [penalised(limited(longer, profile), l1)], None)


def coarse_rule(network: str, profile: Profile, density: float, **settings) -> Pruning:
    """Prune to `density`, the qualities as the search finds them on a coarse grid and 1,000 images."""
    step = 4 if RECIPES[network].pruning.grid[1] == 1 / 8 else 2
    grid = RECIPES[network].pruning.grid[:: step if profile.meaningful else 3 * step]
    return Pruning(grid=grid, density=density, images=1_000 if profile.meaningful else 200, **settings)


def curves(network: str, seed: int, profile: Profile) -> dict[str, list[Run]]:
    """Figure 5's runs of one seed by curve (CURVES), each the dense network and one run per density.

    The curves without retraining are what the runs of `L2` and `L1` record before they retrain. A one-shot run retrains
    for as many epochs in all as the iterative chain has by that density.
    """
    drawn, own = SWEEPS[network], recipe(network, profile)
    phases = [limited(phase, profile) for phase in drawn.retraining]
    densities = drawn.densities if profile.meaningful else drawn.densities[2::3]
    rules, found = [coarse_rule(network, profile, density) for density in densities], {}
    for name, trained_with, retrained_with in (("L2", 0, 0), ("L1", drawn.l1, drawn.l1), ("L1 then L2", drawn.l1, 0)):
        start = _start(network, seed, profile, own, trained_with)
        retraining = [penalised(phase, retrained_with) for phase in phases]
        found[name] = [start, *(pruned(start, seed, retraining, rule) for rule in rules)]
    iterative, one_shot = found["L2"][:1], found["L2"][:1]
    for times, rule in enumerate(rules, 1):
        iterative.append(pruned(iterative[-1], seed, phases, rule))
        whole = [replace(phase, epochs=times * phase.epochs) for phase in phases]
        one_shot.append(pruned(one_shot[0], seed, whole, rule))
    return found | {"L2 iterative": iterative, "L2 one-shot": one_shot}


def all_curves(profile: Profile) -> dict[str, list[dict[str, list[Run]]]]:
    """Every run of Figure 5, by network, seed (five at most, one where the numbers mean nothing) and curve."""
    most = 5 if profile.meaningful else 1
    return {n: [curves(n, seed, profile) for seed in seeds(n, profile)[:most]] for n in profile.curves}


# ours: a stand-in has one dense reference: the seeds of Figure 6 are the reference as it is, and the reference trained
# on as the controls of the other seeds are
def sensitivity(profile: Profile) -> dict[str, list[Run]]:
    """Figure 6, by stand-in and seed: one layer at a time pruned to the end of the grid, nothing retrained."""
    found = {}
    for network in STAND_INS.values():
        own = recipe(network, profile)
        rule, measured_only = Pruning(grid=own.pruning.grid, stop=1e9), [replace(own.training, epochs=0)]
        starts = [dense(network, 0, profile, own), *controls(profile)[network][1:]]
        found[network] = [pruned(start, start.seed, measured_only, rule) for start in starts]
    return found


# ours: Table 6 at two sizes: the SVD leaves the CONV layers alone, so a ninth is out of its reach, and it is compared
# at a third. Pruned and factorised networks come from one dense network, the cut one is trained from scratch
RANK = 34  # of fc1 and fc2, which leaves a third of the stand-in's weights


def methods(profile: Profile) -> list[dict[str, Run]]:
    """Table 6's runs on the AlexNet stand-in, by seed, then by method and size."""
    return [_methods(seed, profile) for seed in seeds("alexnet_32", profile)]


def _methods(seed: int, profile: Profile, network: str = "alexnet_32") -> dict[str, Run]:
    start, own = curves(network, seed, profile)["L2"][0], recipe(network, profile)
    phases = [limited(phase, profile) for phase in SWEEPS[network].retraining]

    def pruning(density: float, method: str) -> Run:
        return pruned(start, seed, phases, coarse_rule(network, profile, density, method=method))

    return {
        "Baseline": start,
        "Magnitude pruning, 1/3": pruning(1 / 3, "magnitude"),
        "SVD, 1/3": replace(pruned(start, seed, phases, None), rank=RANK),
        "Magnitude pruning, 1/9": pruning(1 / 9, "magnitude"),
        "Naive cut, 1/9": replace(dense(network, seed, profile, own), network="alexnet_32_ninth", seed=seed),
        "Uniform random pruning, 1/9": pruning(1 / 9, "uniform"),
    }


@dataclass(frozen=True)
class Descent:
    """training: of every round, from the original learning rate down; densities: after each round.

    own_start: the dense network is trained in the same way; otherwise as for Table 3.
    """

    training: Training
    densities: tuple[float, ...]
    own_start: bool


# ours: how far it goes: each round trains from the original learning rate down again, with L1 beside the L2, a
# weaker one for LeNet-300-100
# ours: the long chains were tried out on seeds 100 to 104, their test errors in view; those reported start at 200
FRESH_SEED = 200
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
    ),
}


def long_chain(network: str, seed: int, profile: Profile) -> list[Run]:
    """The dense network and its rounds, each to the next density; the layers' qualities are searched."""
    descent = DESCENTS[network]
    training, grid = limited(descent.training, profile), Pruning().grid[:: profile.grid_step]
    start = Run(network, seed, training, images=profile.images)
    runs = [start if descent.own_start else dense(network, seed, profile, recipe(network, profile))]
    for density in descent.densities if profile.meaningful else descent.densities[:2]:
        rule = Pruning(grid=grid, density=density, flop_share=0.0)  # weights alone are counted here
        runs.append(pruned(runs[-1], seed, [training], rule))
    return runs


def long_chains(profile: Profile) -> dict[str, list[list[Run]]]:
    """The long chains by network, one per seed; a network without seeds is left out."""
    counts = {n: profile.limits[n] for n in DESCENTS if profile.limits[n]}
    return {n: [long_chain(n, FRESH_SEED + i, profile) for i in range(count)] for n, count in counts.items()}
