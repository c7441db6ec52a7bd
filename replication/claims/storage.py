"""The claims about memory: C17, C18 and C26 on the sparse format, C25 from the paper's table of energies."""

import pandas as pd

from ..networks.accounting import dram_energy
from . import paper, storage_costs
from .networks import CHAINS
from .rules import Claim, Evidence, Measured
from .storage_costs import FOUR, REAL, on_chip, overhead, widths
from .verdicts import Comparison, without_exception

STORAGE = Evidence(
    "storage",
    lambda profile: {network: chains.runs(profile) for network, chains in CHAINS.items()},
    lambda records, profile: storage_costs.measure(records, profile),
)
PAGE = "storage_overhead"


def dram_power() -> Measured:
    """C25: 20 Hz x 1 G connections x the table's energy of one DRAM access."""
    watt = dram_energy(20 * 1e9, paper.energy()["32 bit DRAM Memory"])
    values, bounds = pd.DataFrame({"power": [watt]}), {"power": ("==", 12.8)}
    return Measured([Comparison("", values, bounds, "W", without_exception, seeds=False)], f"{watt:.1f} W")


_TRUE = "AlexNet at true size, random masks; stand-in, real masks"
_REAL = "real masks of both LeNets and both stand-ins"
_BOTH = "both LeNets; AlexNet, VGG-16 at true size, random masks"
CLAIMS = (
    Claim("C17", PAGE, STORAGE, overhead, ("alexnet",), where=_TRUE, stand_in=True),
    Claim("C18", PAGE, STORAGE, widths, REAL, where=_REAL),
    Claim("C25", "method", None, dram_power, where="arithmetic"),
    Claim("C26", PAGE, STORAGE, on_chip, FOUR, where=_BOTH),
)
