"""Numbers with limits: what a printed number stands for (all that rounds to it), and what follows from such numbers."""

import itertools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from ..errors import ReplicationError

NEAR = 1e-9  # relative: smaller gaps come from binary arithmetic


@dataclass(frozen=True)
class Interval:
    """A number, the smallest and largest value that it can have, and the unit of its last digit where printed.

    +, -, * and / with intervals and plain numbers give an interval with all values that the result can have. No
    interval may stand twice in one formula: x / (x + y) is wider than its values, 1 / (1 + y / x) is not.
    """

    value: float
    low: float
    high: float
    digit: float = math.nan

    def __add__(self, other: "Interval | float") -> "Interval":
        return _extremes(operator.add, self, other)

    def __sub__(self, other: "Interval | float") -> "Interval":
        return _extremes(operator.sub, self, other)

    def __rsub__(self, other: float) -> "Interval":
        return _extremes(operator.sub, other, self)

    def __mul__(self, other: "Interval | float") -> "Interval":
        return _extremes(operator.mul, self, other)

    def __truediv__(self, other: "Interval | float") -> "Interval":
        return _ratio(self, other)

    def __rtruediv__(self, other: float) -> "Interval":
        return _ratio(other, self)

    __radd__, __rmul__ = __add__, __mul__


def exact(value: float) -> Interval:
    """A number that is known without rounding."""
    return Interval(value, value, value, 1)


def printed(value: float, digit: float) -> Interval:
    """A printed number; digit: the unit of its last digit (0.1 for 15.6, 1,000 for 267K)."""
    return Interval(value, value - digit / 2, value + digit / 2, digit)


def below(value: float, digit: float) -> Interval:
    """A number of which the paper says only that it is smaller than `value`."""
    return Interval(value, -math.inf, value, digit)


def log10(number: Interval) -> Interval:
    """The logarithm of a positive number."""
    return _extremes(math.log10, number)


def agree(one: Interval, other: Interval) -> bool:
    """Can both be the same number? Two intervals have to share more than an end point, of which one would be rounded up
    and the other down; an exact number may lie on an end."""
    shared = min(one.high, other.high) - max(one.low, other.low)
    near = NEAR * max(abs(one.value), abs(other.value))
    return shared >= -near if one.low == one.high or other.low == other.high else shared > near


def _ratio(one: Interval | float, other: Interval | float) -> Interval:
    if isinstance(other, Interval) and other.low <= 0 <= other.high:
        raise ReplicationError(f"cannot divide by {other.low:g} to {other.high:g}: the ratio has no limits around 0")
    return _extremes(operator.truediv, one, other)


def _extremes(function: Callable[..., float], *inputs: Interval | float) -> Interval:
    """A function that rises or falls in each of its inputs has its extremes where each is at an end."""
    if not all(isinstance(each, Interval | Real) for each in inputs):
        return NotImplemented  # a column of intervals goes through its cells itself
    ranges = [each if isinstance(each, Interval) else exact(each) for each in inputs]
    ends = [function(*corner) for corner in itertools.product(*((each.low, each.high) for each in ranges))]
    return Interval(function(*(each.value for each in ranges)), min(ends), max(ends))
