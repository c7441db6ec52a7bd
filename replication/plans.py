"""Which runs each notebook reads: the plan that `build` computes before it executes the notebooks."""

from collections.abc import Callable, Sequence

from . import comparisons, limits, paths, variants
from .errors import ReplicationError
from .experiments import LENETS, STAND_INS, chains
from .profiles import Profile
from .runs import Run


def _chains(*networks: str) -> Callable[[Profile], list[Run]]:
    return lambda profile: [run for network in networks for each in chains(network, profile) for run in each]


def _variants(claim: str) -> Callable[[Profile], list[Run]]:
    return lambda profile: variants.all_variants(profile, [claim])


def _everything(profile: Profile) -> list[Run]:
    return [run for name in PLANS if PLANS[name] is not _everything for run in PLANS[name](profile)]


PLANS: dict[str, Callable[[Profile], list[Run]]] = {  # by notebook: the runs that it reads
    "introduction": _everything,
    "method": _chains(*LENETS, *STAND_INS.values()),
    "table1_summary": lambda profile: [
        *_chains(*LENETS, *STAND_INS.values())(profile),
        *comparisons.all_controls(profile),
    ],
    "table2_lenet_300_100": _chains("lenet_300_100"),
    "table3_lenet_5": _chains("lenet_5"),
    "table4_alexnet": _chains("alexnet_32"),
    "table5_vgg16": _chains("vgg16_32"),
    "table6_methods": lambda profile: [*_chains("alexnet_32")(profile), *comparisons.methods(profile).values()],
    "figure4_attention": _chains("lenet_300_100"),
    "figure5_tradeoff": comparisons.all_curves,
    "figure6_sensitivity": lambda profile: [comparisons.sensitivity(profile)],
    "figure7_weights": _chains("alexnet_32"),
    "storage_overhead": _chains(*LENETS, *STAND_INS.values()),
    "sparse_inference": lambda profile: [],  # measures the machine that makes the page
    "dropout": _variants("C19"),
    "survivors": _variants("C20"),
    "freezing": _variants("C21"),
    "choosing": _variants("C22"),
    "dead_neurons": _variants("C23"),
    "learning_rate": _variants("C24"),
    "limits": limits.all_runs,
    "paper_arithmetic": lambda profile: [],  # from the printed numbers
    "scorecard": _everything,
    "provenance": _everything,
}
ORDER = ("vgg16_32", "alexnet_32", "lenet_5", "lenet_300_100")  # the slowest first, so that all processes end together


def notebooks(only: Sequence[str] = ()) -> list[str]:
    """Names of the notebooks, those of `only` where given; raises ReplicationError for a name that is not known."""
    names = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))
    for name in only:
        if name not in names:
            raise ReplicationError(f"no notebook is called {name!r}: choose from {', '.join(names)}")
    return [name for name in names if not only or name in only]


def plan(profile: Profile, notebooks: Sequence[str] | None = None) -> list[Run]:
    """Every run that these notebooks read (None: all of them), each once, the slower networks' first."""
    names = PLANS if notebooks is None else notebooks
    wanted = {run.key: run for name in names for run in PLANS[name](profile)}
    return sorted(wanted.values(), key=lambda run: ORDER.index(run.network) if run.network in ORDER else -1)


def _long_chains(profile: Profile) -> list[Run]:
    """The rounds of the chains that are recorded; their dense references come with their weights anyway."""
    # ours: the stand-ins are pruned in advance, since their rounds take longer than all else in the laptop's book
    stand_ins = STAND_INS.values() if profile.meaningful else ()
    return [run for network in stand_ins for each in chains(network, profile) for run in each[1:]]


def recorded(profile: Profile) -> list[Run]:
    """The runs whose records come with the repository, since they take longer than a reader would wait."""
    live = {run.key for network in (*LENETS, *STAND_INS.values()) for run in _chains(network)(profile)}
    live -= {run.key for run in _long_chains(profile)}
    wanted = [
        *_long_chains(profile),
        comparisons.sensitivity(profile),
        *comparisons.all_controls(profile),
        *comparisons.all_curves(profile),
        *comparisons.methods(profile).values(),
        *variants.all_variants(profile),
        *limits.all_runs(profile),
    ]
    return list({run.key: run for run in wanted if run.key not in live}.values())


def with_sparse_weights(profile: Profile) -> set[str]:
    """Keys of the recorded runs that come with their weights as well: the sparsest networks, small as files."""
    sparsest = [run for run in limits.all_runs(profile) if run.pruning and run.pruning.density <= 0.015]
    ends = {run.network: run for run in _long_chains(profile)}
    return {run.key for run in (*sparsest, *ends.values())}
