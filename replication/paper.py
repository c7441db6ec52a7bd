"""The paper's published numbers and claims (data/paper/*.csv), and the rule by which each verdict is computed."""

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from functools import cache

import pandas as pd

from . import paths
from .errors import ReplicationError
from .registry import NETWORKS, TITLES

SHA256 = {  # of the files in data/paper
    "claims": "4e82c1c2dea4977a230053f25b97afc2dbb59e23560c59ed84e1401c483cd745",
    "figure1_energy": "774511bdc6625378807111dd3ab9d441a0f697437cce2390fed0b9674e5c1041",
    "figure5_iterative_digitised": "e95f73c28efbfabdb00b997dc8872d00e47369fa3a67bae6a269a3686d9cef1d",
    "later_methods": "de3540ff87e5d650cb49bd28c81ae53c4f4f7184cf071df6d63aed5e867d6e12",
    "stated": "0aec5aa2c0ba636e1d711b6b0f9149184febba2a33e53693f1bc5ce1266b0482",
    "table1_networks": "13c37a4bbfa5b849cb55d5b8732b7a74c6bd9dcbea4bc763a1a94c5291f1bfe6",
    "table2_lenet300": "f3589ecc969fce3df28eef30ef26754580ca19252c74e70857aa8e9622e46c19",
    "table3_lenet5": "3b41e0e772b1657f483ca6557fe37c37f5f90fa470f76f220c4039d7bf653056",
    "table4_alexnet": "398590ff9220a9d6e09580e41290adb1323243e73fe314345493cd3b48fcec88",
    "table5_vgg16": "5789920fbf661b283c160edab361868f58ec9ba8808753890987923a7d6f4883",
    "table6_methods": "fd883d934a2de808e8f1e57ce5939d3420755215945832d0e38d839f4f954af9",
}
TABLES = {int(name.removeprefix("table")[0]): name for name in SHA256 if name.startswith("table")}  # by number
VERDICTS = ("reproduced", "reproduced on a stand-in", "contradicted", "inconclusive", "not run")


@cache
def read(name: str) -> pd.DataFrame:
    """data/paper/`name`.csv; raises ReplicationError where it is missing, damaged or altered."""
    path = paths.PAPER / f"{name}.csv"
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise ValueError("its SHA-256 is not the pinned one")
        return pd.read_csv(io.BytesIO(content))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ReplicationError(
            f"cannot read {paths.shown(path)} ({reason}): restore it with `git checkout -- data/paper`"
        ) from None


def table(number: int) -> pd.DataFrame:
    """The published Table 1 to 6, as printed (weights and FLOPs in units, densities and errors in percent)."""
    return read(TABLES[number])


def layer_table(network: str) -> pd.DataFrame:
    """The published Table 2 to 5 of a network, or of the one that a stand-in stands for."""
    return table(NETWORKS[network].table)


def network_rows(network: str) -> pd.DataFrame:
    """Table 1's two lines (reference, pruned) of a network, or of the one that a stand-in stands for."""
    lines = table(1)
    return lines[lines.network == TITLES[NETWORKS[network].stands_for or network]]


def energy() -> pd.Series:
    """Figure 1: energy of one operation in picojoule, by name of the operation (45 nm CMOS)."""
    return read("figure1_energy").set_index("operation").energy_pj


def claims() -> pd.DataFrame:
    """The 28 claims, by id: where, claim, published, how_to_test, verdict_rule."""
    return read("claims").set_index("id")


def stated() -> pd.DataFrame:
    """Numbers in the paper's text and captions, by id: where, statement, value, unit, digit, precision.

    digit: the unit of the last digit, where the precision is `rounded` or `below` (less than); empty where `exact`.
    """
    return read("stated").set_index("id")


def later_methods(network: str) -> pd.DataFrame:
    """What later papers report for a LeNet: method, year, error_pct, rate (by weight count)."""
    rows = read("later_methods")
    return rows[rows.network == TITLES[network]]


Test = Callable[[Mapping[str, float]], bool]


class Rule:
    """A claim's rule: how many seeds it needs, and the test on the measured means.

    refuted: where the rule asks for a 95 % interval, whether the interval speaks against the claim; an interval that
    speaks neither for nor against leaves it inconclusive.
    """

    def __init__(self, seeds: float, holds: Test, refuted: Test = lambda m: True):
        self.seeds, self.holds, self.refuted = seeds, holds, refuted


# The rules of claims.csv, word for word. Measures: means over seeds; errors, changes in points; densities in percent.
RULES = {
    "C01": Rule(5, lambda m: m["rate"] >= 12 and m["error"] <= 1.64 and m["change"] <= 0.10),
    "C02": Rule(3, lambda m: m["rate"] >= 12 and m["error"] <= 0.80 and m["change"] <= 0.10),
    "C03": Rule(1, lambda m: m["rate"] >= 9 and m["change"] <= 0.50),  # as the stand-in's rule says
    "C04": Rule(1, lambda m: m["rate"] >= 13 and m["change"] <= 0.50),
    "C05": Rule(5, lambda m: m["flop_density"] <= 10),
    "C06": Rule(3, lambda m: m["flop_density"] <= 18),
    "C07": Rule(1, lambda m: m["flop_density"] <= 33),
    "C08": Rule(1, lambda m: m["flop_density"] <= 23),
    "C09": Rule(5, lambda m: m["least_centre_over_border"] >= 4),
    "C10": Rule(1, lambda m: m["least_ratio"] >= 2),
    "C11": Rule(1, lambda m: m["largest_gap"] < 0),
    "C12": Rule(1, lambda m: m["largest_gap"] < 0),
    "C13": Rule(1, lambda m: m["least_ratio"] >= 1.3),
    "C14": Rule(2, lambda m: m["densities_below"] >= 1),
    "C15": Rule(1, lambda m: m["conv1_first"] == 1 and m["conv_minus_fc"] > 0),
    "C16": Rule(1, lambda m: m["middle"] <= 0.1 and m["growth"] > 1),
    "C17": Rule(1, lambda m: abs(m["overhead"] - 15.6) <= 1),
    "C18": Rule(1, lambda m: m["fc_distance"] <= 1 and m["conv_excess"] <= 10),
    "C19": Rule(5, lambda m: m["highest"] < 0, lambda m: m["lowest"] > 0),
    "C20": Rule(5, lambda m: m["highest"] < 0, lambda m: m["lowest"] > 0),
    "C21": Rule(5, lambda m: m["excess"] <= 0),
    "C22": Rule(5, lambda m: m["least_step"] > 0),
    "C23": Rule(5, lambda m: m["dead"] > 0 and m["largest"] < 1e-3 and m["changed"] < 1e-4),
    "C24": Rule(5, lambda m: m["excess"] <= 0),
    "C25": Rule(0, lambda m: m["watt"] == 12.8),
    "C26": Rule(math.inf, lambda m: False),  # inconclusive by rule: the paper names no size, no seeds suffice
    "C27": Rule(1, lambda m: m["largest_gap"] < 0),
    "C28": Rule(1, lambda m: m["largest_mean_gap"] <= 0),
}


# Measured on smaller networks or other images than the paper's
ON_STAND_INS = {f"C{n:02}" for n in (3, 4, 7, 8, *range(10, 20), 21, 27, 28)}


def verdict(claim: str, measures: Mapping[str, float], seeds: int, meaningful: bool = True) -> str:
    """The verdict on `claim` by its rule: one of VERDICTS.

    measures: as the rule names them; seeds: how many were run; meaningful: False for the smoke profile.
    `inconclusive` where there are fewer seeds than the claim asks for, or the profile decides nothing.
    """
    rule = RULES[claim]
    if rule.seeds and (seeds < rule.seeds or not meaningful):
        return "inconclusive"
    if not rule.holds(measures):
        return "contradicted" if rule.refuted(measures) else "inconclusive"
    return "reproduced on a stand-in" if claim in ON_STAND_INS else "reproduced"
