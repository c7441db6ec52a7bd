"""How much of each experiment is run: `smoke` for machines, `laptop` for readers, `full` for labs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .. import parameters
from ..specs import check_name


@dataclass(frozen=True)
class Profile:
    """One profile.

    seeds: how many, by network; trials: how many for the claims of the text, C19 to C24; limits: how many of the long
    chains; images, photographs: use the first so many of each split of MNIST, of CIFAR-10 (None: all); epochs, rounds:
    upper limits (None: the recipe's); curves: the networks of Figure 5; grid_step: of the recipe's grid of
    qualities use every n-th value; meaningful: False where the numbers only show that the code runs.
    """

    name: str
    seeds: Mapping[str, int]
    trials: Mapping[str, int]
    limits: Mapping[str, int]
    images: int | None = None
    photographs: int | None = None
    epochs: int | None = None
    rounds: int | None = None
    curves: tuple[str, ...] = ("lenet_300_100", "lenet_5", "alexnet_32")
    grid_step: int = 1
    meaningful: bool = True

    def __hash__(self) -> int:
        return hash(self.name)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "smoke",
            {"lenet_300_100": 2, "lenet_5": 2, "alexnet_32": 1, "vgg16_32": 1},
            {"lenet_300_100": 1, "lenet_5": 1, "alexnet_32": 0},
            {"lenet_300_100": 1, "lenet_5": 0},
            images=300,
            photographs=16,
            epochs=1,
            rounds=2,
            grid_step=4,
            meaningful=False,
        ),
        Profile(
            "laptop",
            {"lenet_300_100": 5, "lenet_5": 5, "alexnet_32": 3, "vgg16_32": 3},
            {"lenet_300_100": 5, "lenet_5": 5, "alexnet_32": 3},
            {"lenet_300_100": 5, "lenet_5": 5},
        ),
        Profile(
            "full",
            {"lenet_300_100": 20, "lenet_5": 10, "alexnet_32": 5, "vgg16_32": 5},
            {"lenet_300_100": 20, "lenet_5": 10, "alexnet_32": 5},
            {"lenet_300_100": 5, "lenet_5": 5},
        ),
    )
}


def get(name: str, seeds: int | None = None) -> Profile:
    """The profile called `name`; seeds: how many seeds instead of its own (None or 0: its own).

    Raises ReplicationError for an unknown profile or a number of seeds that cannot be (see `parameters`).
    """
    check_name("profile", name, PROFILES)
    if seeds is not None:
        parameters.check("seeds", seeds)
    profile = PROFILES[name]
    if not seeds:
        return profile
    counts = {name: dict.fromkeys(getattr(profile, name), seeds) for name in ("seeds", "trials", "limits")}
    return replace(profile, **counts)
