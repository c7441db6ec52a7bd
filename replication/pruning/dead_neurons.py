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
from ..networks.connections import PRUNABLE, check_values, evaluating, layers, sequence, weights
from ..training.processes import KeyedDropout
from .masks import check_masks

# may stand behind any layer
CONSTANT = (nn.ReLU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, KeyedDropout)
POOLS = {nn.Conv1d: nn.MaxPool1d, nn.Conv2d: nn.MaxPool2d, nn.Conv3d: nn.MaxPool3d}


class Dead(NamedTuple):
    """Units between one layer and the next, bool by unit (a neuron, or the feature map of a convolution).

    no_input: none of the incoming weights is left; no_output: none of the outgoing weights is left.
    """

    no_input: Tensor
    no_output: Tensor


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
    for name, following in pairwise(masks):
        mask, reader = masks[name], masks[following]
        if reader[0].numel() % len(mask) or (reader.ndim > 2 and reader.shape[1] != len(mask)):
            raise ReplicationError(f"{following} {tuple(reader.shape)} does not read the {len(mask)} units of {name}")
        no_output = ~by_unit(reader, len(mask)).any(2).any(0)
        found[name] = Dead(~mask.flatten(1).any(1), no_output)
    return found


def is_chain(net: nn.Module) -> bool:
    """True where each layer reads all units of the one before, so that `dead_units` can tell who reads what."""
    alone = all(getattr(layer, "groups", 1) == 1 for layer in layers(net).values())
    return alone and weights(net).keys() == layers(net).keys()


def is_removable(net: nn.Module) -> bool:
    """True for a plain sequence whose convolutions have no padding: a unit without inputs is a constant in it."""
    return not _obstacle(net)


def _obstacle(net: nn.Module) -> str:
    """Why `without_dead` cannot make `net` smaller; empty where it can."""
    modules = _flat(net)
    order = [name for name, module in modules if isinstance(module, PRUNABLE)]
    if not order or order != list(weights(net)) or not is_chain(net):
        return "only a plain sequence of linear layers and convolutions without groups can be made smaller"
    if any(type(layer) not in PRUNABLE for layer in layers(net).values()):
        return "only PyTorch's own linear layers and convolutions can be made smaller, no classes derived from them"
    if any(_is_padded(layer) for layer in layers(net).values()):
        return "a unit without inputs is no constant behind a padded convolution: nothing was removed"
    for name, module in modules:
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return f"what a hook or a forward of its own makes of {name} is not known: remove it first"
    found = (_between_obstacle(modules, *pair) for pair in pairwise(order))
    return next(filter(None, found), "")


def _flat(net: nn.Module, path: str = "") -> list[tuple[str, nn.Module]]:
    """The modules of plain sequences, nested or not, by full name, in the order in which they are called."""
    found = []
    for name, module in sequence(net).items():
        inner = _flat(module, f"{path}{name}.")
        found += inner or [(f"{path}{name}", module)]
    return found


def _is_padded(layer: nn.Module) -> bool:
    padding = getattr(layer, "padding", 0)
    if padding == "same":
        return any(size > 1 for size in layer.kernel_size)
    return padding != "valid" and any(padding if isinstance(padding, tuple) else (padding,))


def _between_obstacle(modules: list[tuple[str, nn.Module]], name: str, following: str) -> str:
    """Why what lies between two layers hides which unit the second one reads where; empty where it does not."""
    layer, reader, flattened = dict(modules)[name], dict(modules)[following], False
    for module in _within(modules, name, following):
        kind = type(module)
        if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            flattened = True
        elif kind is not POOLS.get(type(layer)) and kind not in CONSTANT:
            return f"what {kind.__name__} makes of a constant between {name} and {following} is not known"
    if type(layer) is type(reader):
        fits = reader.weight.shape[1] == len(layer.weight) and (isinstance(layer, nn.Linear) or not flattened)
    else:  # a feature map is read through a flattening; only the unit behind it comes first there
        fits = isinstance(reader, nn.Linear) and flattened and reader.in_features % len(layer.weight) == 0
    return "" if fits else f"{following} does not read the units of {name} one by one"


def _within(modules: list[tuple[str, nn.Module]], name: str, following: str) -> list[nn.Module]:
    """The modules between two layers."""
    names = [each for each, _ in modules]
    return [module for _, module in modules[names.index(name) + 1 : names.index(following)]]


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
    with evaluating(net):
        before, after = net(split.x), small(split.x)
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
    for name, following in pairwise(masks):
        units = dead[name]
        reader = by_unit(masks[following], len(units.no_input)) & units.no_input[None, :, None]
        writer = masks[name] & units.no_output.reshape(-1, *[1] * (masks[name].ndim - 1))
        for kind, layer, kept in (("no_input", following, reader), ("no_output", name, writer)):
            if not kept.any():
                continue
            deviation = tensors[layer][masks[layer]].std(correction=0)
            ratios[kind].append(tensors[layer][kept.reshape(masks[layer].shape)].abs() / deviation)
    return {kind: _summary(torch.cat(parts) if parts else torch.zeros(0)) for kind, parts in ratios.items()}


def _summary(r: Tensor) -> dict[str, float]:
    none = not len(r)
    return {"weights": len(r), "largest": 0.0 if none else r.max().item(), "mean": 0 if none else r.mean().item()}


@torch.no_grad()
def without_dead(net: nn.Sequential, masks: Mapping[str, Tensor]) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """A smaller network that computes the same, and its masks: dead units are gone, and those that die with them.

    A unit without inputs puts out a constant, which moves into the biases of the layer that reads it; one without a
    bias gets one where it has to. net: a plain sequence of layers without padding, nested or not, with ReLU, pooling,
    dropout or flattening between them; left as it was. masks: bool, by layer.
    Raises ReplicationError for another network, and where every unit of a layer is dead.
    """
    check_values(net)
    if obstacle := _obstacle(net):
        raise ReplicationError(obstacle)
    net = deepcopy(net).eval()
    masks = {name: mask.clone() for name, mask in check_masks(weights(net), masks).items()}
    for name, layer in layers(net).items():
        layer.weight.mul_(masks[name])
    while any((units.no_input | units.no_output).any() for units in dead_units(masks).values()):
        for name, following in pairwise(masks):
            _remove(net, masks, name, following)
    return net, masks


def _remove(net: nn.Sequential, masks: dict[str, Tensor], name: str, following: str) -> None:
    """Take the dead units between two layers out of `net` and `masks`, in place."""
    layer, reader, units = layers(net)[name], layers(net)[following], dead_units(masks)[name]
    stay = ~(units.no_input | units.no_output)
    bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
    # of what may lie between the layers only ReLU changes a constant
    relu = any(isinstance(module, nn.ReLU) for module in _within(_flat(net), name, following))
    constant = torch.where(units.no_input, F.relu(bias) if relu else bias, 0.0)
    if not stay.any():
        raise ReplicationError(f"every unit of {name} is dead: nothing is left of the network")
    grouped = by_unit(reader.weight, len(stay))
    if reader.bias is None and constant.any():
        reader.bias = nn.Parameter(reader.weight.new_zeros(len(reader.weight)))
    if reader.bias is not None:
        reader.bias.add_((grouped.sum(2) * constant).sum(1))
    layer.weight = nn.Parameter(layer.weight[stay])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[stay])
    reader.weight = nn.Parameter(grouped[:, stay].reshape(_without(reader.weight.shape, stay)))
    masks[name] = masks[name][stay]
    masks[following] = by_unit(masks[following], len(stay))[:, stay].reshape(_without(masks[following].shape, stay))
    for each in (layer, reader):
        _resize(each)


def _without(shape: torch.Size, stay: Tensor) -> tuple[int, ...]:
    """The shape of a layer's weights when it reads only the units that stay."""
    return shape[0], shape[1] * int(stay.sum()) // len(stay), *shape[2:]


def _resize(layer: nn.Module) -> None:
    """Let the layer's own description agree with its weights."""
    outputs, inputs = layer.weight.shape[:2]
    if isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = inputs, outputs
    else:
        layer.in_channels, layer.out_channels = inputs, outputs
