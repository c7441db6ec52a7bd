"""The claims about memory: C17, C18 and C26 on the sparse format, C25 from the paper's table of energies."""

import math
from collections.abc import Callable, Mapping

import pandas as pd

from .. import paper, storage_costs
from ..accounting import dram_energy
from ..storage_costs import on_chip, overhead, widths
from .networks import CHAINS
from .rules import Claim, Evidence, Measured, Test

STORAGE = Evidence(
    "storage",
    lambda profile: {network: chains.runs(profile) for network, chains in CHAINS.items()},
    lambda records, profile: storage_costs.measure(records, profile),
)


def dram_power(_) -> Measured:
    """C25: 20 Hz x 1 G connections x the table's energy of one DRAM access."""
    watt = dram_energy(20 * 1e9, paper.energy()["32 bit DRAM Memory"])
    return Measured(f"{watt:.1f} W", {"watt": watt})


def _claim(claim: str, measure: Callable[[pd.DataFrame], tuple], seeds: float, holds: Test, **where) -> Claim:
    """A claim that `storage_claims` measures, on masks and not seed by seed."""

    def measured(costs: pd.DataFrame) -> Measured:
        ours, _, _, measures, counted = measure(costs)
        return Measured(ours, measures, more_seeds=counted)

    return Claim(claim, "storage_overhead", STORAGE, measured, seeds, holds, **where)


_TRUE = "AlexNet at true size, random masks; stand-in, real masks"
_REAL = "real masks of both LeNets and both stand-ins"
_BOTH = "both LeNets; AlexNet, VGG-16 at true size, random masks"


def _widths(m: Mapping[str, float]) -> bool:
    return m["fc_distance"] <= 1 and m["conv_excess"] <= 10


CLAIMS = (
    _claim("C17", overhead, 1, lambda m: abs(m["overhead"] - 15.6) <= 1, where=_TRUE, stand_in=True),
    _claim("C18", widths, 1, _widths, where=_REAL, stand_in=True),
    Claim("C25", "method", None, dram_power, 0, lambda m: m["watt"] == 12.8, where="arithmetic"),
    # inconclusive by rule: the paper names no size, no seeds suffice
    _claim("C26", on_chip, math.inf, lambda m: False, where=_BOTH),
)
