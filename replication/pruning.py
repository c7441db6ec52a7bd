"""Magnitude pruning: thresholds, masks, sensitivity curves and the search for the qualities (sections 3 and 4)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .accounting import account
from .datasets import Split
from .errors import ReplicationError
from .networks import layers, weights
from .training import evaluate

PRICES = (1e-2, 1e5)  # of one nat of validation loss, in shares of the network: where the search looks


@dataclass(frozen=True)
class Pruning:
    """How one round chooses its qualities.

    qualities: pairs (layer, quality) given by hand; empty: found by `search_qualities` on the validation split with
    damage: how much the pruning may add to the mean validation loss (nats) before the network is retrained,
    grid: the qualities at which each layer's sensitivity is measured, up to the first that alone adds more than
    stop: (nats), and flop_share: how much FLOPs count beside weights (0 to 1) in what a layer gives up.
    """

    damage: float = 0.0
    grid: tuple[float, ...] = tuple(i / 8 for i in range(25))
    stop: float = 0.5
    flop_share: float = 0.3
    qualities: tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        for name, quality in self.qualities:
            check_quality(quality, name)
        if not self.grid or list(self.grid) != sorted(set(self.grid)):
            raise ReplicationError(f"grid is {self.grid!r}: give rising qualities, at least one")
        for quality in self.grid:
            check_quality(quality, "grid")
        for name, most in (("damage", math.inf), ("stop", math.inf), ("flop_share", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ReplicationError(f"{name} is {getattr(self, name)!r}: give a number from 0 to {most}")


def check_quality(quality: float, layer: str) -> None:
    """Raise ReplicationError unless `quality` is a finite number of zero or more."""
    if not 0 <= quality < float("inf"):
        raise ReplicationError(f"the quality of {layer} is {quality!r}: give a number of zero or more")


def threshold(weight: Tensor, quality: float, mask: Tensor | None = None) -> float:
    """quality x standard deviation of the layer's weights (section 4).

    weight: any shape; mask: bool, same shape: the weights that are still there, all where None.
    Raises ReplicationError for a negative quality.
    """
    check_quality(quality, "a layer")
    # ours: in later rounds the deviation is that of the surviving weights; the paper says "of a layer's weights"
    alive = weight if mask is None else weight[mask]
    return quality * alive.std(correction=0).item() if alive.numel() else 0.0


def prune(
    tensors: Mapping[str, Tensor], qualities: Mapping[str, float], masks: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """New masks: a weight stays where |w| > threshold and the old mask, if any, kept it. Changes nothing.

    tensors: weights by layer name; qualities: by layer name, layers not named keep what they have; masks: the old ones.
    Returns bool tensors shaped as the weights, each a subset of the old mask.
    Raises ReplicationError for an unknown layer, a negative quality or masks that do not fit.
    """
    for name, quality in qualities.items():
        check_quality(quality, name)
        if name not in tensors:
            raise ReplicationError(f"no layer is called {name!r}: choose from {', '.join(tensors)}")
    masks = check_masks(tensors, masks if masks is not None else full_masks(tensors))
    return {
        name: masks[name] & (weight.abs() > threshold(weight, qualities[name], masks[name]))
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
    check_masks(weights(net), masks)
    for name, mask in masks.items():
        layers(net)[name].weight.mul_(mask)


def density(masks: Mapping[str, Tensor]) -> float:
    """Kept weights over all weights of the layers in `masks`, 0 to 1."""
    return sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


def _from_layer(net: nn.Module, split: Split) -> Iterator[tuple[str, nn.Module, Split]]:
    """Each prunable layer's name, with the rest of the network from it on and what that rest is fed.

    In a plain sequence the layers before do not change while one layer is studied: they are computed once.
    """
    if not isinstance(net, nn.Sequential) or layers(net).keys() - dict(net.named_children()).keys():
        yield from ((name, net, split) for name in layers(net))
        return
    x, pending = split.x, 0
    for position, (name, _) in enumerate(net.named_children()):
        if name in layers(net):
            x = torch.cat([net[pending:position](part) for part in x.split(1_000)]) if position > pending else x
            pending = position
            yield name, net[position:], Split(x, split.y)


@torch.no_grad()
def sensitivity(
    net: nn.Module,
    split: Split,
    grid: Sequence[float],
    masks: Mapping[str, Tensor] | None = None,
    stop: float = math.inf,
) -> dict[str, list[dict]]:
    """Figure 6's curves: by layer, one row per quality with only that layer pruned and nothing retrained.

    net: left as it was; split: images to evaluate on (the validation split); grid: qualities, rising; masks: those in
    force; stop: a curve ends with the first quality whose loss is more than this above that of the first.
    Rows hold quality, density (of the layer, 0 to 1), errors, images and loss (mean per image).
    """
    net.eval()
    tensors, curves = weights(net), {}
    masks = masks if masks is not None else full_masks(tensors)
    for name, rest, part in _from_layer(net, split):
        original, curves[name] = tensors[name].clone(), []
        for quality in grid:
            mask = prune({name: original}, {name: quality}, {name: masks[name]})[name]
            tensors[name].copy_(original * mask)
            row = {"quality": quality, "density": density({name: mask})}
            curves[name].append(row | evaluate(rest, part)._asdict())
            if curves[name][-1]["loss"] > curves[name][0]["loss"] + stop:
                break
        tensors[name].copy_(original)
    return curves


def choose_qualities(
    net: nn.Module, split: Split, rule: Pruning, masks: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, float], dict[str, list[dict]]]:
    """The qualities of one round by `rule`: (qualities by layer, sensitivity curves); `net` is left as it was.

    Every layer pays the same price in validation loss for the share of the network that it gives up, read off its own
    sensitivity curve; so sensitive layers get small qualities (section 4, Figure 6). The price is the lowest at which
    the network, pruned in all layers at once and not retrained, adds at most `rule.damage` to its validation loss.
    """
    # ours: one price for all layers, found by bisection on the validation split; the paper gives no qualities
    if rule.qualities:
        return dict(rule.qualities), {}
    curves, shares = sensitivity(net, split, rule.grid, masks, rule.stop), _shares(net, split, rule.flop_share)
    limit = evaluate(net, split).loss + rule.damage
    (low, high), best = PRICES, {name: rows[0]["quality"] for name, rows in curves.items()}
    for _ in range(12):
        price = math.sqrt(low * high)
        found = qualities_at(curves, shares, price)
        if _pruned_loss(net, split, found, masks) <= limit:
            high, best = price, found
        else:
            low = price
    return best, curves


def qualities_at(curves: Mapping[str, list[dict]], shares: Mapping[str, float], price: float) -> dict[str, float]:
    """By layer, the measured quality where share x density + price x loss is least.

    curves: as `sensitivity` returns them; shares: each layer's share of the network; price: of one nat of loss.
    """
    return {
        name: min(rows, key=lambda row: shares[name] * row["density"] + price * row["loss"])["quality"]
        for name, rows in curves.items()
    }


def _shares(net: nn.Module, split: Split, flop_share: float) -> dict[str, float]:
    """Each layer's part of the network, 0 to 1: of its weights, and to the part `flop_share` of its FLOPs."""
    rows = account(net, split.x[:1])
    parts = (1 - flop_share) * rows.weights / rows.weights.sum() + flop_share * rows.flop / rows.flop.sum()
    return dict(zip(rows.layer, parts))


@torch.no_grad()
def _pruned_loss(
    net: nn.Module, split: Split, qualities: Mapping[str, float], masks: Mapping[str, Tensor] | None
) -> float:
    """Loss of `net` on `split` when it is pruned at `qualities`; `net` is left as it was."""
    tensors = weights(net)
    originals = {name: weight.clone() for name, weight in tensors.items()}
    apply_masks(net, prune(tensors, qualities, masks))
    loss = evaluate(net, split).loss
    for name, original in originals.items():
        tensors[name].copy_(original)
    return loss
