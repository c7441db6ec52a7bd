"""How a network's figures decide on a claim, and what all networks together make its verdict: statuses and VERDICTS.

The second edition of the rules (data/paper/claims.csv): `by_interval`, `in_every_seed`, `without_exception` and
`by_some_column` are the ways to a status.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from ..networks.registry import NETWORKS, TITLES

VERDICTS = ("reproduced", "reproduced on a stand-in", "contradicted", "mixed", "inconclusive", "not run")
HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
TINY = 1e-9  # far below one image: what lies so near to a limit lies at it, however the last bits were rounded
SIGNS = {
    "<=": lambda value, limit: value <= limit + TINY,
    "<": lambda value, limit: value < limit - TINY,
    ">=": lambda value, limit: value >= limit - TINY,
    ">": lambda value, limit: value > limit + TINY,
    "==": operator.eq,
}
MISSED = {"<=": ">", "<": ">=", ">=": "<", ">": "<=", "==": "!="}
Bounds = Mapping[str, tuple[str, float]]  # by column: one of SIGNS and a limit


class Summary(NamedTuple):
    """Mean, standard deviation (n - 1), 95 % interval (Student's t over seeds) and number of values."""

    mean: float
    sd: float
    low: float
    high: float
    n: int

    @property
    def reach(self) -> float:
        """Half the interval, as an error bar has it; 0 for a single value, which has none."""
        return self.high - self.mean if self.n > 1 else 0.0

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval; of a single value, the point itself."""
        return (self.low, self.high) if self.n > 1 else (self.mean, self.mean)


def summarise(values: Iterable[float]) -> Summary:
    """Summary of one value per seed; deviation and interval are nan where there is a single value."""
    values = np.asarray(list(values), dtype=float)
    mean, n = values.mean(), len(values)
    if n < 2:
        return Summary(mean, math.nan, math.nan, math.nan, n)
    sd = values.std(ddof=1)
    reach = special.stdtrit(n - 1, 0.975) * sd / math.sqrt(n)
    return Summary(mean, sd, mean - reach, mean + reach, n)


def holm(p: pd.Series) -> pd.Series:
    """Holm's correction of several tests' p: how likely one as small or smaller is among so many, at most 1."""
    ordered = p.sort_values()
    return (ordered * np.arange(len(p), 0, -1)).cummax().clip(upper=1.0).reindex(p.index)


def by_interval(values: pd.DataFrame, bounds: Bounds) -> tuple[str, str]:
    """Status and why: the first column is the gap, which holds (fails) with its whole 95 % interval on one side.

    The other columns are conditions: `holds` needs their means; one that is missed with its whole interval fails.
    """
    missed, doubtful = [], []
    for place, (column, (sign, limit)) in enumerate(bounds.items()):
        found, within = summarise(values[column]), SIGNS[sign]
        ends = [within(end, limit) for end in found.ends]
        wrong = f"{column} {found.mean:.4g} {MISSED[sign]} {limit:g}"
        if not any(ends):
            missed.append(wrong)
        elif not (within(found.mean, limit) if place else all(ends)):
            doubtful.append(wrong if place else "interval spans the limit")
    if missed:
        return FAILS, missed[0]
    return (UNDECIDED, doubtful[0]) if doubtful else (HOLDS, "")


def _within(values: pd.DataFrame, bounds: Bounds) -> pd.Series:
    """Whether each seed is within all bounds."""
    each = {column: SIGNS[sign](values[column], limit) for column, (sign, limit) in bounds.items()}
    return pd.DataFrame(each).all(axis=1)


def in_every_seed(values: pd.DataFrame, bounds: Bounds) -> tuple[str, str]:
    """Status and why: it holds where every seed is within all bounds, fails where none is, else it is undecided."""
    within = _within(values, bounds)
    if within.all():
        return HOLDS, ""
    return (UNDECIDED, f"in {within.sum()} of {len(within)} seeds") if within.any() else (FAILS, "in no seed")


def without_exception(values: pd.DataFrame, bounds: Bounds) -> tuple[str, str]:
    """Status and why: it holds where everything is within all bounds, else it fails."""
    if _within(values, bounds).all():
        return HOLDS, ""
    column, (sign, limit) = next((c, b) for c, b in bounds.items() if not SIGNS[b[0]](values[c], b[1]).all())
    worst = values[column].max() if sign in ("<=", "<") else values[column].min()
    return FAILS, f"{column} {worst:.4g} {MISSED[sign]} {limit:g}"


def by_some_column(values: pd.DataFrame, bounds: Bounds) -> tuple[str, str]:
    """Status and why (C14): each column has the changes of one density, a row per seed; the limit is that of all.

    Holds where at one density the change lies below the limit with a p below 0.05: one-sided paired t tests, Holm's
    correction over all columns. Fails where every 95 % interval lies above the limit.
    """
    corrected, limit = below(values), next(iter(bounds.values()))[1]
    best = corrected.idxmin()
    if corrected[best] < 0.05:
        return HOLDS, ""
    told = f"{best}: corrected p {corrected[best]:.2g}"
    return (FAILS if all(SIGNS[">"](summarise(values[c]).ends[0], limit) for c in values) else UNDECIDED), told


def below(values: pd.DataFrame) -> pd.Series:
    """By column: Holm's corrected p of the one-sided t test that its mean is below zero; rows: seeds."""
    return holm(pd.Series({column: _p_below(values[column]) for column in values}))


def _p_below(changes: pd.Series) -> float:
    if changes.nunique() == 1:  # no spread, and no t
        return float(changes.iloc[0] >= 0)
    found = summarise(changes)
    return special.stdtr(found.n - 1, found.mean * math.sqrt(found.n) / found.sd)


def needed(network: str) -> int:
    """How many seeds a network's status needs: 5 of a LeNet, 3 of a stand-in, and the one run of a true network."""
    return 3 if NETWORKS[network].stands_for else 5 if network.startswith("lenet") else 1


@dataclass(frozen=True)
class Status:
    """What one comparison on one network says of a claim: holds, fails or undecided, and why.

    network: its registry name, empty where the claim has none; seeds: how many there are, of those needed; comparison:
    the gap in words; mean, low, high: its mean and 95 % interval over this network's seeds (nan where none); limit: of
    the rule, in `unit`; why: a few words, where it does not hold.
    """

    network: str
    status: str
    seeds: int
    needed: int
    comparison: str
    mean: float
    low: float
    high: float
    limit: float
    unit: str
    why: str = ""

    @property
    def title(self) -> str:
        """The network as pages call it, empty where the claim has none."""
        return TITLES.get(self.network, "")

    @property
    def told(self) -> str:
        """In words: network and status, its interval, limit and seeds, and why."""
        figure = self.number(self.mean)
        if not math.isnan(self.low):
            figure = f"{self.number(self.low)} to {self.number(self.high)}"
        limit = "" if math.isnan(self.limit) else f", limit {self.limit:g}"
        there = not math.isnan(self.mean) and not self.why.startswith(self.comparison)
        parts = [f"{self.comparison} {figure} {self.unit}{limit}"] if there else []
        parts += [f"{self.seeds} seed{'s' * (self.seeds != 1)}"] if self.seeds and self.seeds >= self.needed else []
        parts += [self.why] if self.why else []
        return f"{self.title} {self.status}".lstrip() + (f" ({'; '.join(parts)})" if parts else "")

    def number(self, value: float) -> str:
        """A figure of this status as text, with the digits that its unit has."""
        return f"{value:+.2f}" if self.unit == "points" else f"{value:.3g}"


@dataclass(frozen=True)
class Comparison:
    """What one network shows for a claim.

    values: a row per seed; bounds: by column, what the rule asks of it, the gap first; further columns are shown alone.
    decide: the way to a status; barred: statuses that these values cannot give, and why.
    """

    network: str
    values: pd.DataFrame
    bounds: Bounds
    unit: str = "points"
    decide: Callable[[pd.DataFrame, Bounds], tuple[str, str]] = by_interval
    barred: Mapping[str, str] = field(default_factory=dict)
    seeds: bool = True

    def status(self, undecided: str = "") -> Status:
        """Its status; undecided: why it cannot be anything else."""
        column, (_, limit) = next(iter(self.bounds.items()))
        values, asked = self.values.dropna(subset=list(self.bounds)), needed(self.network) if self.seeds else 0
        count = len(values) if self.seeds else 0
        if self.decide is by_some_column and len(values) > 1:
            column = below(values).idxmin()
        if undecided or not len(values) or count < asked:
            found, why = UNDECIDED, undecided or self.barred.get(UNDECIDED) or f"{count} of {asked} seeds"
        else:
            found, why = self.decide(values, self.bounds)
            found, why = (UNDECIDED, self.barred[found]) if found in self.barred else (found, why)
        shown = summarise(values[column]) if len(values) else Summary(*(math.nan,) * 4, 0)
        figures = map(float, (shown.mean, shown.low, shown.high, limit))
        return Status(self.network, found, count, asked, column, *figures, self.unit, why)


def worst(statuses: Iterable[Status]) -> list[Status]:
    """Of each network the status that decides: the first that fails, else that is undecided, else the first."""
    order, networks = (FAILS, UNDECIDED, HOLDS), {}
    for status in statuses:
        networks.setdefault(status.network, []).append(status)
    return [min(each, key=lambda status: order.index(status.status)) for each in networks.values()]


def verdict(statuses: Sequence[Status], stand_in: bool = False) -> str:
    """One of VERDICTS by the statuses of all networks; stand_in: holding means reproduced on a stand-in in any case."""
    said = {status.status for status in worst(statuses)}
    if said == {HOLDS}:
        stand_in |= any(s.network and NETWORKS[s.network].stands_for for s in statuses)
        return "reproduced on a stand-in" if stand_in else "reproduced"
    if said == {FAILS}:
        return "contradicted"
    return "mixed" if {HOLDS, FAILS} <= said else "inconclusive"
