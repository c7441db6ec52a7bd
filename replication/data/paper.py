"""The paper's published numbers and claims (data/paper/*.csv)."""

import hashlib
import io
from functools import cache

import pandas as pd

from .. import paths
from ..errors import ReplicationError
from ..networks.registry import NETWORKS, TITLES

SHA256 = {  # of the files in data/paper
    "claims": "4ad22615753ddd78b117652314f43342b669cee514cf3f0e05f739036294f638",
    "figure1_energy": "774511bdc6625378807111dd3ab9d441a0f697437cce2390fed0b9674e5c1041",
    "figure5_iterative_digitised": "e95f73c28efbfabdb00b997dc8872d00e47369fa3a67bae6a269a3686d9cef1d",
    "first_edition": "1f2d443671c7eec54f36d7182c35cea975c83ad136bc260d9bbccf19a7d58eb7",
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
    """The 28 claims and our controls K01 to K04, by id: where, claim, published, how_to_test, verdict_rule."""
    return read("claims").set_index("id")


def first_edition() -> pd.Series:
    """The verdict of each of the 28 claims by the first edition of the rules, by id, as the laptop profile had it."""
    return read("first_edition").set_index("id").verdict


def stated() -> pd.DataFrame:
    """Numbers in the paper's text and captions, by id: where, statement, value, unit, digit, precision.

    digit: the unit of the last digit, where the precision is `rounded` or `below` (less than); empty where `exact`.
    """
    return read("stated").set_index("id")


def later_methods(network: str) -> pd.DataFrame:
    """What later papers report for a LeNet: method, year, error_pct, rate (by weight count)."""
    rows = read("later_methods")
    return rows[rows.network == TITLES[network]]
