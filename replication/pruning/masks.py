"""Magnitude pruning: thresholds, masks, sensitivity curves and the search for the qualities (sections 3 and 4)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import ReplicationError
from ..networks.connections import weights
from ..specs import LATER, check, check_name

# magnitude: the smallest weights of each layer; global: the smallest of all layers together, by one threshold;
# probabilistic: as many per layer as magnitude, kept with a probability that grows with |w|; uniform: as many, drawn
# without regard to |w|, the control
METHODS = ("magnitude", "global", "probabilistic", "uniform")


@dataclass(frozen=True)
class Pruning:
    """How one round chooses its qualities.

    qualities: pairs (layer, quality) given by hand; empty: found by `search_qualities` on the validation split with
    damage: how much the pruning may add to the mean validation loss (nats) before the network is retrained,
    grid: the qualities at which each layer's sensitivity is measured, up to the first that alone adds more than
    stop: (nats), and flop_share: how much FLOPs count beside weights (0 to 1) in what a layer gives up.
    density: instead of `damage`, the share of all weights to keep (0: not given), as a point of Figure 5 needs it (the
    search warns where it misses that);
    images: measure on the first so many of the split (0: all); method: which weights of a layer go, see METHODS;
    own_answers: measure the loss against what the network said before the pruning instead of against the labels;
    reinitialise: retrain the survivors from fresh initial weights instead of from the values they have (section 3.3).
    """

    damage: float = 0.0
    grid: tuple[float, ...] = tuple(i / 8 for i in range(25))
    stop: float = 0.5
    flop_share: float = 0.3
    qualities: tuple[tuple[str, float], ...] = ()
    density: float = field(default=0.0, metadata=LATER)
    images: int = field(default=0, metadata=LATER)
    method: str = field(default="magnitude", metadata=LATER)
    own_answers: bool = field(default=False, metadata=LATER)
    reinitialise: bool = field(default=False, metadata=LATER)

    def __post_init__(self):
        check_name("method", self.method, METHODS)
        check("images", self.images, whole=True, wanted="a whole number (0: all)")
        for name, quality in self.qualities:
            check(f"the quality of {name}", quality)
        if not self.grid or list(self.grid) != sorted(set(self.grid)):
            raise ReplicationError(f"grid is {self.grid!r}: give rising qualities, at least one")
        for quality in self.grid:
            check("the quality of grid", quality)
        for name, most in (("damage", math.inf), ("stop", math.inf), ("flop_share", 1), ("density", 1)):
            check(name, getattr(self, name), most=most)
        if self.method == "global" and not self.density:
            raise ReplicationError("the method 'global' needs a density: give the share of all weights to keep")


def threshold(weight: Tensor, quality: float, mask: Tensor | None = None, name: str = "a layer") -> float:
    """quality x standard deviation of the layer's weights (section 4).

    weight: any shape; mask: bool, same shape: the weights that are still there, all where None; name: for errors.
    Raises ReplicationError for a negative quality, and for weights that are not finite or of a quantised type.
    """
    check(f"the quality of {name}", quality)
    # ours: in later rounds the deviation is that of the surviving weights; the paper says "of a layer's weights"
    if weight.is_meta:
        raise ReplicationError("weights on the meta device have no values to prune by: load the network's first")
    if weight.dtype.itemsize < 2 or not (weight.is_floating_point() or weight.is_complex()):
        way_out = "prune the network first and quantise it then, or make them floats"
        raise ReplicationError(f"the weights of {name} are {weight.dtype} and have no standard deviation: {way_out}")
    alive = weight if mask is None else weight[mask]
    deviation = alive.std(correction=0).item() if alive.numel() else 0.0
    if not math.isfinite(deviation):
        way_out = "train the network anew, at a lower learning rate; a mask of -inf belongs into a buffer"
        raise ReplicationError(f"the weights of {name} are not finite, their deviation is {deviation}: {way_out}")
    return quality * deviation


def deviations(tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> dict[str, float]:
    """Each layer's threshold at quality 1: the standard deviation of its weights that are still there.

    tensors: weights by layer name; masks: bool, by layer name, None: all weights are there.
    """
    return {name: threshold(weight, 1.0, masks and masks[name], name) for name, weight in tensors.items()}


def prune(
    tensors: Mapping[str, Tensor],
    qualities: Mapping[str, float],
    masks: Mapping[str, Tensor] | None = None,
    spread: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """New masks: a weight stays where |w| > threshold and the old mask, if any, kept it. Changes nothing.

    tensors: weights by layer name; qualities: by layer name, layers not named keep what they have; masks: the old ones;
    spread: the layers' `deviations`, by whoever prunes the same weights many times (None: computed here).
    Returns bool tensors shaped as the weights, each a subset of the old mask.
    Raises ReplicationError for an unknown layer, a negative quality or masks that do not fit.
    """
    for name, quality in qualities.items():
        check(f"the quality of {name}", quality)
        if name not in tensors:
            raise ReplicationError(f"no layer is called {name!r}: choose from {', '.join(tensors)}")
    masks = check_masks(tensors, masks if masks is not None else full_masks(tensors))
    spread = spread or deviations({name: tensors[name] for name in qualities}, masks)
    return {
        name: masks[name] & (weight.abs() > qualities[name] * spread[name])
        if name in qualities
        else masks[name].clone()
        for name, weight in tensors.items()
    }


def full_masks(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks that keep every weight."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in tensors.items()}


def check_masks(tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks as a dictionary; raises ReplicationError unless there is one bool mask of the right shape per layer."""
    if set(tensors) != set(masks):
        raise ReplicationError(f"masks for {sorted(masks)} do not fit the layers {sorted(tensors)}")
    for name, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != tensors[name].shape:
            raise ReplicationError(
                f"the mask of {name} is {mask.dtype} {tuple(mask.shape)}, not bool {tuple(tensors[name].shape)}"
            )
    return dict(masks)


@torch.no_grad()
def apply_masks(net: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the pruned weights of `net` to zero, in place."""
    tensors = weights(net)
    check_masks(tensors, masks)
    for name, mask in masks.items():
        tensors[name].masked_fill_(~mask, 0.0)


def density(masks: Mapping[str, Tensor]) -> float:
    """Kept weights over all weights of the layers in `masks`, 0 to 1: the whole network's, where they are `prune`'s.

    Raises ReplicationError for masks of no weight at all.
    """
    total = sum(mask.numel() for mask in masks.values())
    if not total:
        raise ReplicationError("no mask, no density: the network has no parameter of two or more dimensions")
    return sum(int(mask.sum()) for mask in masks.values()) / total


def rate(masks: Mapping[str, Tensor]) -> float:
    """Compression rate: all weights over those kept, infinite where none is (Table 1 counts the same way)."""
    left = density(masks)
    return 1 / left if left else math.inf


def global_qualities(
    tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None, target: float
) -> dict[str, float]:
    """The qualities by which every layer has the same threshold, and the share `target` of all weights stays.

    tensors: weights by layer name; masks: those in force, None: all weights are there; target: 0 to 1.
    """
    masks = masks if masks is not None else full_masks(tensors)
    spread = deviations(tensors, masks)
    alive = torch.cat([weight[masks[name]].abs() for name, weight in tensors.items()]).sort(descending=True).values
    kept = round(target * sum(mask.numel() for mask in masks.values()))
    limit = alive[kept].item() if kept < len(alive) else 0.0
    return {name: limit / (deviation or 1.0) for name, deviation in spread.items()}


def drawn(
    masks: Mapping[str, Tensor],
    old: Mapping[str, Tensor] | None,
    generator: torch.Generator,
    tensors: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """As many weights per layer as in `masks`, drawn at random from those that `old` kept (None: from all).

    tensors: the weights by layer name; each next one is drawn with a probability in proportion to |w| (None: all have
    the same).
    """
    # ours: the paper prunes with a probability "based on their absolute value" (section 3.4) and gives no formula
    old = old if old is not None else full_masks(masks)
    result = {}
    for name, mask in masks.items():
        alive = old[name].flatten().nonzero().flatten()
        if tensors is None:
            order = torch.randperm(len(alive), generator=generator).to(alive.device)
        else:  # exponential waiting times at the rates |w|: the first n of them are such a draw
            waits = torch.empty(len(alive)).exponential_(generator=generator).to(alive.device)
            order = (waits / tensors[name].flatten()[alive].abs()).argsort()
        flat = torch.zeros(mask.numel(), dtype=torch.bool, device=mask.device)
        flat[alive[order[: int(mask.sum())]]] = True
        result[name] = flat.view(mask.shape)
    return result
