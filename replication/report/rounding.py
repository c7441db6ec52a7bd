"""Printed numbers as what they are: every value that rounds to them; and what can be computed from such numbers."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

NEAR = 1e-9  # relative: smaller gaps come from binary arithmetic
LETTERS = ((1e9, "G"), (1e6, "M"), (1e3, "K"), (1, ""))
SUFFIXES = {"x": "x", "%": " %", "W": " W"}


class Range(NamedTuple):
    """A number, the smallest and largest value that it can have, and the unit of its last digit where printed."""

    value: float
    low: float
    high: float
    digit: float = math.nan


def exact(value: float) -> Range:
    """A number that is known without rounding."""
    return Range(value, value, value, 1)


def printed(value: float, digit: float) -> Range:
    """A printed number; digit: the unit of its last digit (0.1 for 15.6, 1,000 for 267K)."""
    return Range(value, value - digit / 2, value + digit / 2, digit)


def below(value: float, digit: float) -> Range:
    """A number of which the paper says only that it is smaller than `value`."""
    return Range(value, -math.inf, value, digit)


def last_digit(value: float) -> float:
    """The unit of the last digit of a percentage, a rate or an energy: 1 for 38, 0.1 for 7.5; up to two decimals."""
    return next((digit for digit in (1.0, 0.1) if math.isclose(value / digit, round(value / digit))), 0.01)


def last_digit_of_count(value: float, other: dict[float, float]) -> float:
    """The unit of the last digit of a count printed in K, M or B (235K: 1,000; 6.7M: 100,000; 30.9B: 100,000,000).

    other: units of the counts that are printed in another way.
    """
    if value in other:
        return other[value]
    digits = str(int(value))
    largest = 1e3 if value < 1e6 else 1e6 if value < 1e9 else 1e8
    return min(largest, 10.0 ** (len(digits) - len(digits.rstrip("0"))))


def reach(function: Callable[..., float], inputs: Sequence[Range]) -> Range:
    """function(*inputs) at the given values, with the smallest and largest value that it has within the ranges.

    function: one that has its extremes where each input is at an end of its range, and no others that hold against
    moving one input alone: sums, products, ratios and means of positive numbers, their logarithms, differences.
    """
    return Range(
        function(*(each.value for each in inputs)), -_most(lambda *x: -function(*x), inputs), _most(function, inputs)
    )


def _most(function: Callable[..., float], inputs: Sequence[Range]) -> float:
    point, best = [each.high for each in inputs], -math.inf
    while (found := function(*point)) > best:
        best = found
        for i, each in enumerate(inputs):
            point[i] = max((each.low, each.high), key=lambda end: function(*point[:i], end, *point[i + 1 :]))
    return best


def agree(one: Range, other: Range) -> bool:
    """Can both be the same number? Two ranges have to share more than an end point, of which one would be rounded up
    and the other down; an exact number may lie on an end."""
    shared = min(one.high, other.high) - max(one.low, other.low)
    near = NEAR * max(abs(one.value), abs(other.value))
    return shared >= -near if one.low == one.high or other.low == other.high else shared > near


def text(value: float, unit: str, digit: float, more: int = 0) -> str:
    """The number as text, `more` digits finer than `digit`; counts with the letter that such a digit calls for."""
    scale, letter = 1.0, ""
    if unit in ("weights", "FLOPs"):
        scale, letter = next((size, name) for size, name in LETTERS if digit >= size / 10)
    decimals = max(0, round(math.log10(scale / digit)) + more)
    return f"{value / scale:,.{decimals}f}{letter}" + SUFFIXES.get(unit, "")
