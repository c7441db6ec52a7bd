"""Sensitivity curves (Figure 6), and the search for the qualities on the validation split (section 4)."""

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..data.datasets import Split
from ..errors import ReplicationError
from ..networks.accounting import account
from ..networks.connections import check_values, evaluating, left_out, prunable, sequence, weights
from ..training.evaluation import Score, answers, evaluate
from .masks import Pruning, apply_masks, density, deviations, full_masks, global_qualities, prune

PRICES = (1e-2, 1e5)  # of one nat of validation loss, in shares of the network: where the search looks


def _from_layer(net: nn.Module, split: Split) -> Iterator[tuple[str, nn.Module, Split]]:
    """Each prunable layer's name, with the rest of the network from it on and what that rest is fed.

    In a plain sequence the layers before do not change while one layer is studied: they are computed once.
    """
    names, parts = prunable(net), list(sequence(net).items())
    if set(names) - {name for name, _ in parts}:
        yield from ((name, net, split) for name in names)
        return

    def cut(start: int, stop: int | None = None) -> nn.Sequential:
        return nn.Sequential(OrderedDict(parts[start:stop])).eval()

    x, pending = split.x, 0
    for position, (name, _) in enumerate(parts):
        if name in names:
            before = cut(pending, position)
            x = torch.cat([before(part.clone()) for part in x.split(1_000)]) if position > pending else x
            pending = position
            yield name, cut(position), split._replace(x=x)


@torch.no_grad()
def layer_curves(
    net: nn.Module,
    split: Split,
    grid: Sequence[float],
    masks: Mapping[str, Tensor] | None = None,
    stop: float = math.inf,
    score: Callable[[nn.Module, Split], Score] = evaluate,
) -> dict[str, list[dict]]:
    """Figure 6's curves: by layer, one row per quality with only that layer pruned and nothing retrained.

    net: left as it was; split: images to evaluate on (the validation split); grid: qualities, rising; masks: those in
    force; stop: a curve ends with the first quality whose loss is more than this above that of the first; score:
    evaluates a network on a split (see `training.evaluate`).
    Rows hold quality, density (of the layer, 0 to 1), errors, images and loss (mean per image).
    """
    check_values(net)
    tensors, curves = weights(net), {}
    masks = masks if masks is not None else full_masks(tensors)
    spread = deviations({name: tensors[name] for name in prunable(net)}, masks)
    with evaluating(net):
        for name, rest, part in _from_layer(net, split):
            curves[name] = []
            with _restored({name: tensors[name]}) as originals:
                for quality in grid:
                    mask = prune(originals, {name: quality}, {name: masks[name]}, spread)[name]
                    tensors[name].copy_(originals[name] * mask)
                    row = {"quality": quality, "density": density({name: mask})}
                    curves[name].append(row | score(rest, part)._asdict())
                    if curves[name][-1]["loss"] > curves[name][0]["loss"] + stop:
                        break
    return curves


@contextmanager
def _restored(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Copies of the tensors, which have these values again after the block, also after an error within it."""
    originals = {name: tensor.clone() for name, tensor in tensors.items()}
    try:
        yield originals
    finally:
        for name, original in originals.items():
            tensors[name].copy_(original)


def choose_qualities(
    net: nn.Module,
    split: Split,
    rule: Pruning,
    masks: Mapping[str, Tensor] | None = None,
    score: Callable[[nn.Module, Split], Score] = evaluate,
) -> tuple[dict[str, float], dict[str, list[dict]]]:
    """The qualities of one round by `rule`: (qualities by layer, sensitivity curves); `net` is left as it was.

    Every layer pays the same price in validation loss for the share of the network that it gives up, read off its own
    sensitivity curve; so sensitive layers get small qualities (section 4, Figure 6). The price is the lowest at which
    the network, pruned in all layers at once and not retrained, adds at most `rule.damage` to its validation loss.
    Warns where a given density is missed by more than a hundredth of it and two weights, as ties among weights do.
    """
    # ours: one price for all layers, found by bisection on the validation split; the paper gives no qualities
    if rule.qualities:
        return dict(rule.qualities), {}
    check_values(net)
    names, tensors, target = prunable(net), weights(net), rule.density
    masks = masks if masks is not None else full_masks(tensors)
    if not names:
        raise ReplicationError("nothing to prune: the network has no matrix of weights")
    if target and len(names) < len(tensors):
        target = _density_of_rest(net, masks, target)
    if rule.method == "global":
        chosen, own = ({name: each[name] for name in names} for each in (tensors, masks))
        found, curves = global_qualities(chosen, own, target), {}
    else:
        with evaluating(net):
            found, curves = _searched(net, split, rule, masks, score)
    reached, rounding = density(prune(tensors, found, masks)), 2 / sum(mask.numel() for mask in masks.values())
    if target and abs(reached - rule.density) > rule.density / 100 + rounding:
        reason = "equal weights go or stay together, a layer of nothing else stays, and none that is gone comes back"
        missed = f"the density {rule.density} is missed: it is {reached:.4g}, and was {density(masks):.4g}"
        warnings.warn(f"{missed}. {reason}: give another density, or qualities by hand", stacklevel=2)
    return found, curves


def _density_of_rest(net: nn.Module, masks: Mapping[str, Tensor], target: float) -> float:
    """The density of what can be pruned at which the whole network has the density `target`.

    Raises ReplicationError where what is left whole alone is more than that.
    """
    whole = left_out(net)
    kept = sum(int(masks[name].sum()) for name in whole)
    total = sum(mask.numel() for mask in masks.values())
    if kept > target * total:
        raise ReplicationError(
            f"the density {target} is out of reach: {', '.join(whole)} are left whole, {kept} weights"
        )
    return (target * total - kept) / (total - sum(masks[name].numel() for name in whole))


@torch.no_grad()
def _searched(
    net: nn.Module, split: Split, rule: Pruning, masks: Mapping[str, Tensor], score: Callable[[nn.Module, Split], Score]
) -> tuple[dict[str, float], dict[str, list[dict]]]:
    """The qualities and the curves of `choose_qualities` where they are searched, in evaluation mode."""
    split = split._replace(x=split.x[: rule.images or None], y=split.y[: rule.images or None])
    split = own_answers(net, split) if rule.own_answers else split
    curves = layer_curves(net, split, rule.grid, masks, rule.stop, score)
    shares, tensors = _shares(net, split, rule.flop_share), weights(net)
    spread = deviations({name: tensors[name] for name in prunable(net)}, masks)

    def too_dense(qualities: Mapping[str, float]) -> bool:
        return density(prune(tensors, qualities, masks, spread)) > rule.density

    def is_harmless(qualities: Mapping[str, float]) -> bool:
        with _restored(tensors):
            apply_masks(net, prune(tensors, qualities, masks, spread))
            return score(net, split).loss <= limit

    if rule.density:
        sparse, _ = _bisected(curves, shares, too_dense)
        return _scaled(sparse or qualities_at(curves, shares, PRICES[0]), too_dense), curves
    limit = score(net, split).loss + rule.damage
    _, best = _bisected(curves, shares, is_harmless)
    return best or dict.fromkeys(curves, 0.0), curves  # nothing goes: the grid's first quality may be too much


def _bisected(
    curves: Mapping[str, list[dict]], shares: Mapping[str, float], holds: Callable[[Mapping[str, float]], bool]
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """The qualities on both sides of the price from which on `holds` is true; None for a side that was not met."""
    (low, high), below, above = PRICES, None, None
    for _ in range(12):
        price = math.sqrt(low * high)
        found = qualities_at(curves, shares, price)
        if holds(found):
            high, above = price, found
        else:
            low, below = price, found
    return below, above


@torch.no_grad()
def own_answers(net: nn.Module, split: Split) -> Split:
    """The images with what `net` says of them, as probabilities (N, classes), in place of the labels.

    The loss against them rises with every change of the answers. That against the labels can fall while a network that
    is too sure of itself is pruned layer by layer, and then says little about all layers together.
    """
    with evaluating(net):
        return split._replace(y=torch.cat([answers(net, part, split.y).softmax(1) for part in split.x.split(1_000)]))


def _scaled(qualities: Mapping[str, float], too_dense: Callable[[Mapping[str, float]], bool]) -> dict[str, float]:
    """The qualities times the least factor at which they are no longer too dense."""

    def times(factor: float) -> dict[str, float]:
        return {name: factor * quality for name, quality in qualities.items()}

    low, high = 0.0, 1.0
    while too_dense(times(high)) and high < 1e3:
        low, high = high, 2 * high
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if too_dense(times(middle)) else (low, middle)
    return times(high)


def qualities_at(curves: Mapping[str, list[dict]], shares: Mapping[str, float], price: float) -> dict[str, float]:
    """By layer, the measured quality where share x density + price x loss is least.

    curves: as `layer_curves` returns them; shares: each layer's share of the network; price: of one nat of loss.
    """
    return {
        name: min(rows, key=lambda row: shares[name] * row["density"] + price * row["loss"])["quality"]
        for name, rows in curves.items()
    }


def _shares(net: nn.Module, split: Split, flop_share: float) -> dict[str, float]:
    """Each layer's part of the network, 0 to 1: of its weights, and to the part `flop_share` of its FLOPs."""
    rows = account(net, split.x[:2])  # some networks take no image alone
    parts = (1 - flop_share) * rows.weights / rows.weights.sum() + flop_share * rows.flop / max(rows.flop.sum(), 1)
    return dict(zip(rows.layer, parts))
