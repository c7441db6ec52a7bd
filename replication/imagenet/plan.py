"""The runs on ImageNet as data: the chains of Tables 4 and 5, and Figure 5's curves (the profile `full`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import ReplicationError
from ..networks.connections import layers
from ..networks.registry import outline
from ..pruning.masks import Pruning
from ..runs import recipes
from ..runs.comparisons import CURVES, penalised
from ..runs.recipes import Recipe, pruned
from ..runs.spec import Run
from ..training.phases import Training

# paper: section 4.2: AlexNet's retraining starts at 1/100 of the original learning rate
RETRAINING_RATE = 0.01
# paper: section 4.2: AlexNet took 75 hours to train and 173 to retrain: 2.3 times as long
# ours: 90 epochs of training, then 5 rounds of 10 epochs of the FC layers on the fixed CONV layers (section 3.3) and 30
# of the whole network, 2.2 times as long; VGG-16's five rounds are the paper's (section 4.2), its epochs and its rate
# of retraining are ours; the batch of 256, the rates, weight decay, warm-up and cosine are ours
# ours: the search looks at 2,000 held-out images and may add 0.3 nats to the loss before each retraining
_PHOTOGRAPHS = {"augment": True, "precision": "bfloat16", "batch_size": 256, "weight_decay": 5e-4}
_GRID = tuple(i / 8 for i in range(25))
TRAINING = Training(90, 0.01, "cosine", 1 / 90, **_PHOTOGRAPHS)
RECIPES = {
    name: Recipe(
        training=TRAINING,
        retraining=(
            Training(10, 0.01 * RETRAINING_RATE, freeze="conv", shrink_dropout=True, **_PHOTOGRAPHS),
            Training(30, 0.01 * RETRAINING_RATE, shrink_dropout=True, **_PHOTOGRAPHS),
        ),
        pruning=Pruning(0.3, _GRID, images=2_000),
        rounds=5,
    )
    for name in ("alexnet", "vgg16")
}
# ours: Figure 5's densities and its L1 strength; the dense network is trained 5 epochs on with L1 or L2, and each point
# is retrained for 2 epochs of the FC layers and 3 of the whole network
DENSITIES, L1, SHORT = (0.5, 1 / 3, 0.2, 1 / 9, 0.05), 1e-5, (2, 3)
LONGER = replace(TRAINING, epochs=5, learning_rate=0.001, warmup=0.0)


@dataclass(frozen=True)
class Changes:
    """What a command changes in the recipe; None: as it is.

    epochs: of the dense network; retraining: epochs of the FC layers and of the whole network; batch: global batch;
    rate: initial learning rate (that of retraining follows); damage, search: of `Pruning` (search: images);
    grid_step: of the grid of qualities every n-th is tried;
    qualities: pairs (layer, quality) in place of the search; precision: a name in `machine.PRECISIONS`.
    """

    epochs: int | None = None
    retraining: tuple[int, int] | None = None
    rounds: int | None = None
    batch: int | None = None
    rate: float | None = None
    damage: float | None = None
    search: int | None = None
    grid_step: int = 1
    qualities: tuple[tuple[str, float], ...] = ()
    precision: str | None = None


def recipe(arch: str, changes: Changes = Changes()) -> Recipe:
    """The recipe of `arch` (alexnet or vgg16) with the changes; raises ReplicationError for values out of range."""
    known = list(layers(outline(arch)))
    for name, _ in changes.qualities:
        if name not in known:
            raise ReplicationError(f"no layer of {arch} is called {name!r}: choose from {', '.join(known)}")
    own, retraining = RECIPES[arch], RECIPES[arch].retraining
    common = {"batch_size": changes.batch, "precision": changes.precision}
    rate = changes.rate if changes.rate is not None else own.training.learning_rate
    epochs = changes.retraining or tuple(phase.epochs for phase in retraining)
    return replace(
        own,
        training=_changed(own.training, epochs=changes.epochs, learning_rate=rate, **common),
        retraining=tuple(
            _changed(phase, epochs=number, learning_rate=rate * RETRAINING_RATE, **common)
            for phase, number in zip(retraining, epochs)
        ),
        pruning=_changed(
            own.pruning,
            grid=own.pruning.grid[:: changes.grid_step],
            damage=changes.damage,
            images=changes.search,
            qualities=changes.qualities or None,
        ),
        rounds=own.rounds if changes.rounds is None else changes.rounds,
    )


def _changed(value: Training | Pruning, **changes) -> Training | Pruning:
    return replace(value, **{name: change for name, change in changes.items() if change is not None})


def chain(
    network: str, own: Recipe, dataset: str, images: int | None = None, seed: int = 0, weights: str = ""
) -> list[Run]:
    """The dense run and its rounds of pruning, each starting from the one before.

    network: a name in `registry.NETWORKS`; dataset: see `imagenet.dataset`; images: the first so many of each split;
    weights: what the dense run starts from (see `runs.Run`); then it is not trained.
    """
    training = replace(own.training, epochs=0) if weights else own.training
    return recipes.chain(Run(network, seed, training, dataset=dataset, images=images, weights=weights), seed, own)


def sensitivity(dense: Run, own: Recipe) -> Run:
    """Figure 6: every layer's curve to the end of the grid, on the dense network; nothing is retrained."""
    rule = replace(own.pruning, qualities=(), stop=1e9, damage=0.0)
    return pruned(dense, dense.seed, [replace(own.training, epochs=0)], rule)


def curves(chain: Sequence[Run], own: Recipe) -> dict[str, list[Run]]:
    """Figure 5's runs by curve (see `comparisons.CURVES`), each the network it starts from and one run per density."""
    dense, longer = chain[0], replace(LONGER, batch_size=own.training.batch_size, precision=own.training.precision)
    phases = [replace(phase, epochs=min(n, phase.epochs)) for phase, n in zip(own.retraining, SHORT)]
    rules, found = [replace(own.pruning, qualities=(), density=d) for d in DENSITIES], {}
    for name, trained, retrained in zip(CURVES, (0.0, L1, L1), (0.0, L1, 0.0)):
        start = pruned(dense, dense.seed, [penalised(longer, trained)], None)
        again = [penalised(phase, retrained) for phase in phases]
        found[name] = [start, *(pruned(start, dense.seed, again, rule) for rule in rules)]
    return found | {"L2 iterative": list(chain)}
