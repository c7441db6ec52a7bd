"""The claims of Figures 6 and 7 and of Table 6, on the AlexNet stand-in: C15, C16 and C27."""

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..networks.registry import TITLES
from ..runs.recipes import STAND_INS, Chain, chosen
from .comparisons import METHODS, SENSITIVITY
from .networks import CHAINS
from .rules import Claim, Measured, Nest, flat
from .verdicts import Comparison, in_every_seed

MOST, KINDS = "largest other layer's loss less the first's", "FC loss less CONV loss"  # of C15
MIDDLE, GROWTH = "middle over the lower mode", "range after over before"  # of C16


def loss_at(curve: list[dict], density: float = 0.5) -> float:
    """Rise of the error (points) where the layer keeps the share `density`, interpolated along its curve."""
    densities = [row["density"] for row in curve]
    errors = [100 * row["errors"] / row["images"] for row in curve]
    return float(np.interp(density, densities[::-1], errors[::-1])) - errors[0]


def sensitive_layers(found: Nest) -> Measured:
    """C15: the loss of each layer when it alone keeps half of its weights, not retrained; `found` holds every run.

    In points: by how much another layer loses more than the first, at most 0, and FC layers on average more than CONV.
    """
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for record in flat(found):
        losses = pd.Series({layer: loss_at(curve) for layer, curve in record.metrics["sensitivity"].items()})
        conv = losses.index.str.startswith("conv")
        rows.setdefault(record.run["network"], {})[record.run["seed"]] = {
            MOST: losses.iloc[1:].max() - losses.iloc[0],
            KINDS: losses[~conv].mean() - losses[conv].mean(),
            "conv1": losses.iloc[0],
            "CONV": losses[conv].mean(),
            "FC": losses[~conv].mean(),
        }
    compared, parts = [], []
    for network, by_seed in rows.items():
        values = pd.DataFrame.from_dict(by_seed, "index")
        compared.append(Comparison(network, values, {MOST: ("<", 0), KINDS: ("<", 0)}, decide=in_every_seed))
        first, conv, fc = values[["conv1", "CONV", "FC"]].mean()
        parts.append(f"{TITLES[network]}: first CONV layer {first:.2f}, CONV {conv:.2f}, FC {fc:.2f}")
    return Measured(compared, f"points lost at half of a layer's weights: {'; '.join(parts)}")


def fc1_weights(chain: Chain, layer: str = "fc1") -> dict[str, Tensor]:
    """Figure 7's three sets of weights: dense, those that the chosen round keeps, and what retraining made of them."""
    last = chosen(chain)
    before, (after, masks) = chain[0].tensors()[0][f"{layer}.weight"], last.tensors()
    kept = masks[layer]
    return {
        "before pruning": before.flatten(),
        "after pruning": before[kept],
        "after retraining": after[f"{layer}.weight"][kept],
    }


def modes(weights: Tensor, bins: int = 61) -> dict[str, float]:
    """The 99 % range of weights (half its width), the highest bin on each side, and how full the middle bin is.

    middle: count of the bin around zero over that of the lower of the two modes; 1 where there is no gap.
    """
    if not len(weights):
        return dict.fromkeys(("range", "left", "right", "middle"), math.nan)
    few = len(weights) <= 2**24  # as many as torch.quantile takes; AlexNet's fc1 has more
    low, high = (float(torch.quantile(weights, q) if few else np.quantile(weights.numpy(), q)) for q in (0.005, 0.995))
    reach = max(-low, high)
    counts, edges = np.histogram(weights.numpy(), bins, (-reach, reach))
    middle, centres = bins // 2, (edges[:-1] + edges[1:]) / 2
    left, right = counts[:middle].argmax(), middle + 1 + counts[middle + 1 :].argmax()
    gap = counts[middle] / max(min(counts[left], counts[right]), 1)
    return {"range": (high - low) / 2, "left": centres[left], "right": centres[right], "middle": float(gap)}


def bimodal(chains: list[Chain]) -> Measured:
    """C16: two modes of opposite sign with a gap around zero, and a wider 99 % range, after retraining fc1."""
    rows = {}
    for chain in chains:
        parts = fc1_weights(chain)
        before, after = modes(parts["after pruning"]), modes(parts["after retraining"])
        shown = {"left": after["left"], "right": after["right"], "before": before["range"], "after": after["range"]}
        rows[chosen(chain).run["seed"]] = {MIDDLE: after["middle"], GROWTH: after["range"] / before["range"]} | shown
    values = pd.DataFrame.from_dict(rows, "index")
    mean = values.mean()
    ours = (
        f"fc1: modes at {mean.left:+.3f} and {mean.right:+.3f}, the middle {100 * mean[MIDDLE]:.0f} % as high as the "
        f"lower one; half the 99 % range {mean.before:.3f} -> {mean.after:.3f}"
    )
    # ours: a gap is a middle bin at most a tenth as high as the lower mode
    bounds = {GROWTH: (">", 1), MIDDLE: ("<=", 0.1)}
    return Measured([Comparison(chains[0][0].run["network"], values, bounds, "x", in_every_seed)], ours)


def other_methods(found: Nest) -> Measured:
    """C27: magnitude pruning against a naive cut and an SVD of the same size, on the stand-in.

    found: the records by method, of one seed or a list of such, one for each seed.
    """
    by_seed = {}
    for methods in found if isinstance(found, list) else [found]:
        errors = {name: record.error() for name, record in methods.items()}
        by_seed[methods["SVD, 1/3"].run["seed"]] = {
            "pruned less SVD": errors["Magnitude pruning, 1/3"] - errors["SVD, 1/3"],
            "pruned less naive cut": errors["Magnitude pruning, 1/9"] - errors["Naive cut, 1/9"],
        }
    gaps = pd.DataFrame.from_dict(by_seed, "index")
    return Measured([Comparison("alexnet_32", gaps[[name]], {name: ("<=", 0)}) for name in gaps])


CLAIMS = (
    Claim("C15", "figure6_sensitivity", SENSITIVITY, sensitive_layers, tuple(STAND_INS.values())),
    Claim("C16", "figure7_weights", CHAINS["alexnet_32"], bimodal, ("alexnet_32",), instead="alexnet"),
    Claim("C27", "table6_methods", METHODS, other_methods, ("alexnet_32",)),
)
