"""The claims about memory: C17, C18 and C26 on the sparse format, C25 from the paper's table of energies."""

import math
from collections.abc import Callable

import pandas as pd

from .. import paper, storage_claims, storage_pages
from ..accounting import dram_energy
from .networks import CHAINS
from .rules import Claim, Evidence, Measured

STORAGE = Evidence(
    "storage",
    lambda profile: {network: chains.runs(profile) for network, chains in CHAINS.items()},
    lambda records, profile: storage_pages.measure(records, profile),
)


def _costs(measure: Callable[[pd.DataFrame], tuple]) -> Callable[[pd.DataFrame], Measured]:
    """A measurement of `storage_claims`: of masks, not seed by seed."""

    def measured(costs: pd.DataFrame) -> Measured:
        ours, _, _, measures, seeds = measure(costs)
        return Measured(ours, measures, more_seeds=seeds)

    return measured


def dram_power(_) -> Measured:
    """C25: 20 Hz x 1 G connections x the table's energy of one DRAM access."""
    watt = dram_energy(20 * 1e9, paper.energy()["32 bit DRAM Memory"])
    return Measured(f"{watt:.1f} W", {"watt": watt})


CLAIMS = (
    Claim(
        "C17",
        "storage_overhead",
        STORAGE,
        _costs(storage_claims.overhead),
        1,
        lambda m: abs(m["overhead"] - 15.6) <= 1,
        where="AlexNet at true size, random masks; stand-in, real masks",
        stand_in=True,
    ),
    Claim(
        "C18",
        "storage_overhead",
        STORAGE,
        _costs(storage_claims.widths),
        1,
        lambda m: m["fc_distance"] <= 1 and m["conv_excess"] <= 10,
        where="real masks of both LeNets and both stand-ins",
        stand_in=True,
    ),
    Claim("C25", "method", None, dram_power, 0, lambda m: m["watt"] == 12.8, where="arithmetic"),
    Claim(
        "C26",
        "storage_overhead",
        STORAGE,
        _costs(storage_claims.on_chip),
        math.inf,  # inconclusive by rule: the paper names no size, no seeds suffice
        lambda m: False,
        where="both LeNets; AlexNet, VGG-16 at true size, random masks",
    ),
)
