"""The claims of Figures 6 and 7 and of Table 6, on the AlexNet stand-in: C15, C16 and C27."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..runs import Record
from ..runs.recipes import Chain, chosen
from .comparisons import METHODS, SENSITIVITY
from .networks import CHAINS, PLACES
from .rules import Claim, Measured


def loss_at(curve: list[dict], density: float = 0.5) -> float:
    """Rise of the error (points) where the layer keeps the share `density`, interpolated along its curve."""
    densities = [row["density"] for row in curve]
    errors = [100 * row["errors"] / row["images"] for row in curve]
    return float(np.interp(density, densities[::-1], errors[::-1])) - errors[0]


def sensitive_layers(record: Record) -> Measured:
    """C15: the loss of each layer when it alone keeps half of its weights, not retrained."""
    losses = {layer: loss_at(curve) for layer, curve in record.metrics["sensitivity"].items()}
    conv = [loss for layer, loss in losses.items() if layer.startswith("conv")]
    fc = [loss for layer, loss in losses.items() if not layer.startswith("conv")]
    most = max(losses, key=losses.get)
    text = (
        f"at half of a layer's weights, points lost: conv1 {losses['conv1']:.2f}, CONV on average {np.mean(conv):.2f}, "
        f"FC {np.mean(fc):.2f}; most: {most} {losses[most]:.2f}"
    )
    measures = {"conv1_first": float(most == "conv1"), "conv_minus_fc": float(np.mean(conv) - np.mean(fc))}
    gaps = pd.DataFrame({"CONV minus FC": {record.run["seed"]: measures["conv_minus_fc"]}})
    return Measured(text, measures, {"alexnet_32": gaps})


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
    found = {}
    for chain in chains:
        parts = fc1_weights(chain)
        found[chosen(chain).run["seed"]] = modes(parts["after pruning"]), modes(parts["after retraining"])
    pruned, retrained = next(iter(found.values()))
    text = (
        f"fc1 of the stand-in: modes at {retrained['left']:+.3f} and {retrained['right']:+.3f}, the middle "
        f"{100 * retrained['middle']:.0f} % as high as the lower one; half the 99 % range "
        f"{pruned['range']:.3f} -> {retrained['range']:.3f}"
    )
    measures = {"middle": retrained["middle"], "growth": retrained["range"] / pruned["range"]}
    growth = {seed: b["range"] / a["range"] for seed, (a, b) in found.items()}
    return Measured(text, measures, {"alexnet_32": pd.DataFrame({"growth of the range": growth})})


def other_methods(methods: Mapping[str, Record]) -> Measured:
    """C27: magnitude pruning against a naive cut and an SVD of the same size, on the stand-in."""
    errors = {name: record.error() for name, record in methods.items()}
    pruned = (errors["Magnitude pruning, 1/3"], errors["Magnitude pruning, 1/9"])
    others = (errors["SVD, 1/3"], errors["Naive cut, 1/9"])
    text = (
        f"error at 1/3 of the weights: pruned {pruned[0]:.2f} %, SVD {others[0]:.2f} %; "
        f"at 1/9: pruned {pruned[1]:.2f} %, naive cut {others[1]:.2f} %"
    )
    gaps = {name: [a - b] for name, a, b in zip(("pruned minus SVD", "pruned minus naive cut"), pruned, others)}
    seeds = [methods["Magnitude pruning, 1/3"].run["seed"]]
    return Measured(text, {"largest_gap": max(map(max, gaps.values()))}, {"alexnet_32": pd.DataFrame(gaps, seeds)})


_STAND_IN = {"where": PLACES["alexnet_32"], "stand_in": True}


def _first(m: Mapping[str, float]) -> bool:
    return m["conv1_first"] == 1 and m["conv_minus_fc"] > 0


def _two_modes(m: Mapping[str, float]) -> bool:
    return m["middle"] <= 0.1 and m["growth"] > 1


CLAIMS = (
    Claim("C15", "figure6_sensitivity", SENSITIVITY, sensitive_layers, 1, _first, **_STAND_IN),
    Claim("C16", "figure7_weights", CHAINS["alexnet_32"], bimodal, 1, _two_modes, **_STAND_IN),
    Claim("C27", "table6_methods", METHODS, other_methods, 1, lambda m: m["largest_gap"] < 0, **_STAND_IN),
)
