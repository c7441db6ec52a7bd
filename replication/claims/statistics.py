"""Means, deviations and 95 % intervals over seeds."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special


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


def mean_and_sd(name: str, values: Iterable[float]) -> dict[str, float]:
    """The cells `name mean` and `name sd` of a table, from one value per seed."""
    summary = summarise(values)
    return {f"{name} mean": summary.mean, f"{name} sd": summary.sd}


def over_seeds(frame: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """A row per group, in the order of their first rows: the columns `by`, then mean and deviation of each of `values`.

    frame: one row per seed and group.
    """
    rows = []
    for key, group in frame.groupby(list(by), sort=False):
        row = dict(zip(by, key))
        for name in values:
            row |= mean_and_sd(name, group[name])
        rows.append(row)
    return pd.DataFrame(rows)


def error_columns(errors: Summary, change: Summary) -> dict[str, float]:
    """The cells of a table that say how large the errors (%) are over seeds, and how they change (points)."""
    return {"test error % mean": errors.mean, "test error % sd": errors.sd, "change of error": change.mean} | {
        "interval from": change.low,
        "interval to": change.high,
        "seeds": errors.n,
    }
