"""What a claim is: the runs that it is judged by, what is measured on them, and the verdict by its rule."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import pandas as pd

from ..networks.registry import NETWORKS
from ..runs import Run
from ..runs.profiles import Profile
from ..runs.scheduler import Nest, computed, flat
from .verdicts import UNDECIDED, Comparison, Status, needed


@cache
def _planned(runs: Callable[[Profile], Nest], profile: Profile) -> list[Run]:
    return flat(runs(profile))


def moved(nest: Nest, dataset: str) -> Nest:
    """The same runs, and those that they build on, on other images of the same size."""
    if isinstance(nest, Run):
        return replace(nest, dataset=dataset, parent=nest.parent and moved(nest.parent, dataset))
    if isinstance(nest, Mapping):
        return {name: moved(each, dataset) for name, each in nest.items()}
    return [moved(each, dataset) for each in nest]


@dataclass(frozen=True)
class Evidence:
    """What claims are judged by.

    name: on the scorecard's list; runs: a nest of the runs that a profile has for it; made: what is measured, from the
    same nest of records and the profile (None: too little of it is there).
    """

    name: str
    runs: Callable[[Profile], Nest]
    made: Callable[[Nest, Profile], object] = lambda records, profile: records or None

    def plan(self, profile: Profile) -> list[Run]:
        """Its runs, each once."""
        return _planned(self.runs, profile)

    def on(self, dataset: str, networks: Sequence[str]) -> "Evidence":
        """The same on other images, but at the smoke profile, which needs no data but those of the repository.

        networks: of a nest by network, these alone.
        """

        def runs(profile: Profile) -> Nest:
            own = self.runs(profile)
            own = {n: own[n] for n in networks if n in own} if isinstance(own, Mapping) else own
            return moved(own, dataset) if profile.meaningful else own

        return Evidence(f"{self.name} on {dataset}", runs, self.made)

    def read(self, profile: Profile) -> object:
        """What is measured, its runs computed where they are missing."""
        return self.made(computed(self.runs(profile)), profile)


@dataclass(frozen=True)
class Measured:
    """What was measured for a claim: its comparisons, and in words (empty: the gaps' means speak for themselves)."""

    comparisons: Sequence[Comparison]
    ours: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict: what the paper says, by which rule, what we measured, and every network's status.

    source: where the paper says it; ours: one sentence; first_edition: its verdict by the first edition of the rules,
    changed: why it is another now; gaps: the figures behind the statuses (network, comparison, seed, gap).
    """

    id: str
    claim: str
    published: str
    rule: str
    page: str
    source: str = ""
    ours: str = ""
    verdict: str = "not run"
    statuses: tuple[Status, ...] = ()
    measured_on: str = ""
    first_edition: str = ""
    changed: str = ""
    gaps: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)

    @property
    def control(self) -> bool:
        """Whether it is one of our controls, K01 to K04, and no claim of the paper."""
        return self.id.startswith("K")


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or a control of ours, with its rule of claims.csv.

    page: the notebook that shows it; evidence: None where it needs no runs; measure: what is measured on the evidence;
    networks: those that it is about; beside: a second evidence, the second argument of measure; instead: a network
    whose chain on ImageNet, where it was run, takes the evidence's place; where: it was measured, if not on these
    networks; stand_in: measured on what stands for the paper's networks, whatever the networks are called.
    """

    id: str
    page: str
    evidence: Evidence | None
    measure: Callable[..., Measured]
    networks: tuple[str, ...] = ()
    beside: Evidence | None = None
    instead: str = ""
    where: str = ""
    stand_in: bool = False

    def on(self, dataset: str, networks: Sequence[str], evidence: Evidence | None = None) -> "Claim":
        """The same claim, judged by the same recipes on other images; evidence: enough for these of its networks."""
        given = (evidence or self.evidence).on(dataset, networks)
        return replace(self, page="other_images", evidence=given, networks=tuple(networks), beside=None)

    def found(self, found: Mapping[str, object]) -> list | None:
        """What of `found`, the evidence by name, it is measured on; None where a part is missing."""
        if self.instead and self.instead in found:
            return [found[self.instead]]
        names = [each.name for each in (self.evidence, self.beside) if each]
        return [found[name] for name in names] if all(name in found for name in names) else None

    def judge(self, given: Sequence[object], profile: Profile) -> tuple[Measured, tuple[Status, ...]]:
        """What was measured on the evidence `given`, and the statuses: of comparisons, and of networks without one."""
        measured = self.measure(*given)
        undecided = "" if profile.meaningful or not self.evidence else f"{profile.name}: decides nothing"
        statuses = [comparison.status(undecided) for comparison in measured.comparisons]
        there = {status.network for status in statuses}
        missing = [n for n in self.networks if n not in there and NETWORKS[n].stands_for not in there]
        nothing = (math.nan,) * 4
        why = [undecided or f"0 of {needed(network)} seeds" for network in missing]
        lacking = [Status(n, UNDECIDED, 0, needed(n), "", *nothing, "", w) for n, w in zip(missing, why)]
        return measured, (*statuses, *lacking)
