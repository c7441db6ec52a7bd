"""What a claim is: the runs that it is judged by, what is measured on them, and the rule of data/paper/claims.csv."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import pandas as pd

from ..networks.registry import TITLES
from ..runs import Record, Run
from ..runs.profiles import Profile
from ..runs.scheduler import compute
from .statistics import Summary, summarise

VERDICTS = ("reproduced", "reproduced on a stand-in", "contradicted", "inconclusive", "not run")
Nest = Mapping | list | Run | Record  # dictionaries and lists, of any depth, of runs or of their records


def flat(nest: Nest) -> list:
    """Every run or record of a nest, each once."""
    if isinstance(nest, Run | Record):
        return [nest]
    branches = nest.values() if isinstance(nest, Mapping) else nest
    return list({leaf.key: leaf for branch in branches for leaf in flat(branch)}.values())


def computed(nest: Nest, jobs: int = 0) -> Nest:
    """The same nest with the record in place of each run, computed where it is missing (see `scheduler.compute`)."""
    found = {record.key: record for record in compute(flat(nest), jobs)}

    def placed(branch: Nest) -> Nest:
        if isinstance(branch, Run):
            return found[branch.key]
        if isinstance(branch, Mapping):
            return {name: placed(each) for name, each in branch.items()}
        return [placed(each) for each in branch]

    return placed(nest)


@cache
def _planned(runs: Callable[[Profile], Nest], profile: Profile) -> list[Run]:
    return flat(runs(profile))


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

    def read(self, profile: Profile, jobs: int = 0) -> object:
        """What is measured, its runs computed where they are missing."""
        return self.made(computed(self.runs(profile), jobs), profile)


@dataclass(frozen=True)
class Measured:
    """What was measured for a claim.

    ours: in words; measures: the numbers that its rule names; gaps: by network, what is paired or measured seed by
    seed, a row for each seed and a column for each comparison; unit: of the first column (empty: it is not shown);
    shown: the network whose mean and interval are shown (empty: the one with the most seeds); more_seeds: those of
    which there are no gaps.
    """

    ours: str
    measures: Mapping[str, float]
    gaps: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    unit: str = ""
    shown: str = ""
    more_seeds: int = 0

    @property
    def seeds(self) -> int:
        """The seeds of all networks together."""
        return self.more_seeds + sum(map(len, self.gaps.values()))

    @property
    def summary(self) -> Summary:
        """Mean and 95 % interval over the seeds of one network; nan where there are no gaps."""
        if not self.gaps:
            return Summary(math.nan, math.nan, math.nan, math.nan, 0)
        return summarise(self.gaps[self.shown or max(self.gaps, key=lambda n: len(self.gaps[n]))].iloc[:, 0])

    @property
    def interval(self) -> str:
        """The interval with its unit, empty where there is none."""
        low, high = self.summary.low, self.summary.high
        return "" if math.isnan(low) or not self.unit else f"{low:.2f} to {high:.2f} {self.unit}"


Test = Callable[[Mapping[str, float]], bool]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and its rule, word for word that of claims.csv.

    page: the notebook that shows it; evidence: None where it needs no runs; measure: what is measured on the evidence;
    seeds: how many the rule asks for; holds: its test on the measures (means over seeds; errors and changes in points,
    densities in percent); refuted: where the rule asks for a 95 % interval, whether it speaks against the claim (one
    that speaks neither for nor against leaves it inconclusive); where: it was measured (empty: on the networks found);
    stand_in: measured on smaller networks or other images than the paper's.
    """

    id: str
    page: str
    evidence: Evidence | None
    measure: Callable[..., Measured]
    seeds: float
    holds: Test
    refuted: Test = lambda m: True
    where: str = ""
    stand_in: bool = False

    def verdict(self, measures: Mapping[str, float], seeds: int, meaningful: bool = True) -> str:
        """One of VERDICTS by the rule; measures: as it names them; meaningful: False for the smoke profile.

        `inconclusive` where there are fewer seeds than the claim asks for, or the profile decides nothing.
        """
        if self.seeds and (seeds < self.seeds or not meaningful):
            return "inconclusive"
        if not self.holds(measures):
            return "contradicted" if self.refuted(measures) else "inconclusive"
        return "reproduced on a stand-in" if self.stand_in else "reproduced"

    def line(self, found: object, profile: Profile) -> dict[str, object]:
        """Its cells on the scorecard: ours, interval, seeds, measured_on, verdict; found: its evidence."""
        measured = self.measure(found)
        where = self.where or " and ".join(TITLES[network] for network in measured.gaps)
        decides = profile.meaningful or not measured.seeds
        return {
            "ours": measured.ours,
            "interval": measured.interval,
            "seeds": measured.seeds,
            "measured_on": where if decides else f"{where} ({profile.name}: decides nothing)",
            "verdict": self.verdict(measured.measures, measured.seeds, profile.meaningful),
        }
