"""Dead neurons (section 3.5): units without any input or without any output, followed and removed."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.datasets import Split
from ..errors import ReplicationError
from ..networks.models import layers, weights


class Dead(NamedTuple):
    """Units between one layer and the next, bool by unit (a neuron, or the feature map of a convolution).

    no_input: none of the incoming weights is left; no_output: none of the outgoing weights is left.
    """

    no_input: Tensor
    no_output: Tensor


def pairs(names: list[str]) -> list[tuple[str, str]]:
    """Each layer with the one that reads its units, along a chain of layers."""
    return list(pairwise(names))


def by_unit(tensor: Tensor, units: int) -> Tensor:
    """The weights of a layer by the unit that they read: (outputs, units, weights of each).

    A layer behind a flattened feature map reads several values of each unit.
    """
    return tensor.reshape(len(tensor), units, -1)


def dead_units(masks: Mapping[str, Tensor]) -> dict[str, Dead]:
    """The dead units behind each layer but the last.

    masks: bool by layer name, in the order of the layers, which form a chain without groups.
    """
    found = {}
    for name, following in pairs(list(masks)):
        mask, reader = masks[name], masks[following]
        if reader[0].numel() % len(mask) or (reader.ndim > 2 and reader.shape[1] != len(mask)):
            raise ReplicationError(f"{following} {tuple(reader.shape)} does not read the {len(mask)} units of {name}")
        no_output = ~by_unit(reader, len(mask)).any(2).any(0)
        found[name] = Dead(~mask.flatten(1).any(1), no_output)
    return found


def is_chain(net: nn.Module) -> bool:
    """True where each layer reads all units of the one before, so that `dead_units` can tell who reads what."""
    return all(getattr(layer, "groups", 1) == 1 for layer in layers(net).values())


def is_removable(net: nn.Module) -> bool:
    """True for a plain sequence whose convolutions have no padding: a unit without inputs is a constant in it."""
    padded = any(isinstance(layer, nn.Conv2d) and layer.padding not in (0, (0, 0)) for layer in layers(net).values())
    return isinstance(net, nn.Sequential) and is_chain(net) and not padded


@torch.no_grad()
def removal(net: nn.Sequential, masks: Mapping[str, Tensor], split: Split) -> dict:
    """What removing the dead units changes: units and kept weights gone, and the outputs on the images of `split`.

    largest_difference: of any logit, over the deviation of all logits; changed_answers: how many images are answered
    otherwise; all of it empty where nothing of the network would be left.
    """
    try:
        small, left = without_dead(net, masks)
    except ReplicationError:
        return {}
    before, after = net.eval()(split.x), small(split.x)
    return {
        "units": {name: len(masks[name]) - len(left[name]) for name in masks},
        "weights": sum(int(mask.sum()) for mask in masks.values()) - sum(int(mask.sum()) for mask in left.values()),
        "largest_difference": ((after - before).abs().max() / before.std()).item(),
        "changed_answers": int((after.argmax(1) != before.argmax(1)).sum()),
    }


@torch.no_grad()
def left_over(net: nn.Module, masks: Mapping[str, Tensor], dead: Mapping[str, Dead]) -> dict[str, dict[str, float]]:
    """What the dead units still have on their other side: for `no_input` the weights out, for `no_output` those in.

    Returns for each kind the number of such kept weights, and the largest and the mean |w| in units of the standard
    deviation of the kept weights of their layer (0 where there are none).
    """
    tensors, ratios = weights(net), {"no_input": [], "no_output": []}
    for name, following in pairs(list(masks)):
        units = dead[name]
        reader = by_unit(masks[following], len(units.no_input)) & units.no_input[None, :, None]
        writer = masks[name] & units.no_output.reshape(-1, *[1] * (masks[name].ndim - 1))
        for kind, layer, kept in (("no_input", following, reader), ("no_output", name, writer)):
            if not kept.any():
                continue
            deviation = tensors[layer][masks[layer]].std(correction=0)
            ratios[kind].append(tensors[layer][kept.reshape(masks[layer].shape)].abs() / deviation)
    joined = {kind: torch.cat(parts) if parts else torch.zeros(0) for kind, parts in ratios.items()}
    return {
        kind: {
            "weights": len(r),
            "largest": r.max().item() if len(r) else 0.0,
            "mean": r.mean().item() if len(r) else 0,
        }
        for kind, r in joined.items()
    }


@torch.no_grad()
def without_dead(net: nn.Sequential, masks: Mapping[str, Tensor]) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """A smaller network that computes the same, and its masks: dead units are gone, and those that die with them.

    A unit without inputs puts out a constant, which moves into the biases of the layer that reads it. net: a plain
    sequence of layers without padding, with ReLU, pooling, dropout or flattening between them; left as it was.
    Raises ReplicationError for another network.
    """
    if not isinstance(net, nn.Sequential) or not is_chain(net):
        raise ReplicationError("only a plain sequence of layers without groups can be made smaller")
    if not is_removable(net):
        raise ReplicationError("a unit without inputs is no constant behind a padded convolution: nothing was removed")
    net, masks = deepcopy(net).eval(), {name: mask.clone() for name, mask in masks.items()}
    for name, layer in layers(net).items():
        layer.weight.mul_(masks[name])
    while any((units.no_input | units.no_output).any() for units in dead_units(masks).values()):
        for name, following in pairs(list(masks)):
            _remove(net, masks, name, following)
    return net, masks


def _remove(net: nn.Sequential, masks: dict[str, Tensor], name: str, following: str) -> None:
    """Take the dead units between two layers out of `net` and `masks`, in place."""
    layer, reader, units = layers(net)[name], layers(net)[following], dead_units(masks)[name]
    stay = ~(units.no_input | units.no_output)
    constant = torch.where(units.no_input, _between(net, name, following, layer.bias), 0.0)
    if not stay.any():
        raise ReplicationError(f"every unit of {name} is dead: nothing is left of the network")
    grouped = by_unit(reader.weight, len(stay))
    reader.bias.add_((grouped.sum(2) * constant).sum(1))
    layer.weight, layer.bias = nn.Parameter(layer.weight[stay]), nn.Parameter(layer.bias[stay])
    reader.weight = nn.Parameter(grouped[:, stay].reshape(_without(reader.weight.shape, stay)))
    masks[name] = masks[name][stay]
    masks[following] = by_unit(masks[following], len(stay))[:, stay].reshape(_without(masks[following].shape, stay))
    for each in (layer, reader):
        _resize(each)


def _without(shape: torch.Size, stay: Tensor) -> tuple[int, ...]:
    """The shape of a layer's weights when it reads only the units that stay."""
    return shape[0], shape[1] * int(stay.sum()) // len(stay), *shape[2:]


def _between(net: nn.Sequential, name: str, following: str, values: Tensor) -> Tensor:
    """What lies between the two layers makes of constants (only ReLU changes them)."""
    children = list(net.named_children())
    names = [child for child, _ in children]
    for _, module in children[names.index(name) + 1 : names.index(following)]:
        if isinstance(module, nn.ReLU):
            values = F.relu(values)
        elif not isinstance(module, nn.MaxPool2d | nn.Dropout | nn.Flatten | nn.Identity):
            raise ReplicationError(f"what {type(module).__name__} makes of a constant is not known")
    return values


def _resize(layer: nn.Module) -> None:
    """Let the layer's own description agree with its weights."""
    outputs, inputs = layer.weight.shape[:2]
    if isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = inputs, outputs
    else:
        layer.in_channels, layer.out_channels = inputs, outputs
