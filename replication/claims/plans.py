"""Which runs each notebook reads: the plan that `build` computes before it executes the notebooks."""

from collections.abc import Sequence

from .. import paths
from ..errors import ReplicationError
from ..runs.profiles import Profile
from ..runs.recipes import STAND_INS, chains
from ..runs.spec import Run
from .comparisons import CONTROLS, LIMITS
from .networks import CHAINS
from .registry import CLAIMS
from .rules import Evidence

_ALL = {e.name: e for e in (CONTROLS, LIMITS, *(claim.evidence for claim in CLAIMS.values())) if e}
BESIDE: dict[str, Sequence[Evidence]] = {  # by notebook: what it reads beside the evidence of the claims that it shows
    "introduction": _ALL.values(),
    "method": CHAINS.values(),
    "table1_summary": (*CHAINS.values(), CONTROLS),
    "table6_methods": (CHAINS["alexnet_32"],),
    "limits": (LIMITS,),
    "sparse_inference": (),  # measures the machine that makes the page
    "paper_arithmetic": (),  # from the printed numbers
    "scorecard": _ALL.values(),
    "provenance": _ALL.values(),
}
PLANS = {*BESIDE, *(claim.page for claim in CLAIMS.values())}  # every page, those without runs too
ORDER = ("vgg16_32", "alexnet_32", "lenet_5", "lenet_300_100")  # the slowest first, so that all processes end together


def notebooks(only: Sequence[str] = ()) -> list[str]:
    """Names of the notebooks, those of `only` where given; raises ReplicationError for a name that is not known."""
    names = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))
    for name in only:
        if name not in names:
            raise ReplicationError(f"no notebook is called {name!r}: choose from {', '.join(names)}")
    return [name for name in names if not only or name in only]


def evidence(notebook: str) -> list[Evidence]:
    """What this notebook reads: the evidence of its claims, and what BESIDE names."""
    own = [claim.evidence for claim in CLAIMS.values() if claim.page == notebook and claim.evidence]
    return [*own, *BESIDE.get(notebook, ())]


def plan(profile: Profile, notebooks: Sequence[str] | None = None) -> list[Run]:
    """Every run that these notebooks read (None: all of them), each once, the slower networks' first."""
    needed = _ALL.values() if notebooks is None else [each for name in notebooks for each in evidence(name)]
    wanted = {run.key: run for each in needed for run in each.plan(profile)}
    return sorted(wanted.values(), key=lambda run: ORDER.index(run.network) if run.network in ORDER else -1)


def _long_chains(profile: Profile) -> list[Run]:
    """The rounds of the chains that are recorded; their dense references come with their weights anyway."""
    # ours: the stand-ins are pruned in advance, since their rounds take longer than all else in the laptop's book
    stand_ins = STAND_INS.values() if profile.meaningful else ()
    return [run for network in stand_ins for each in chains(network, profile) for run in each[1:]]


def recorded(profile: Profile) -> list[Run]:
    """The runs whose records come with the repository, since they take longer than a reader would wait."""
    long = {run.key: run for run in _long_chains(profile)}
    live = {run.key for each in CHAINS.values() for run in each.plan(profile)} - long.keys()
    beside = [run for name, each in _ALL.items() if name not in CHAINS for run in each.plan(profile)]
    return list((long | {run.key: run for run in beside if run.key not in live}).values())


def with_sparse_weights(profile: Profile) -> set[str]:
    """Keys of the recorded runs that come with their weights as well: the sparsest networks, small as files."""
    sparsest = [run for run in LIMITS.plan(profile) if run.pruning and run.pruning.density <= 0.015]
    ends = {run.network: run for run in _long_chains(profile)}
    return {run.key for run in (*sparsest, *ends.values())}
