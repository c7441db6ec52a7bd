"""The weights of any network: which there are, by name, and which of them pruning can take connections from."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from ..errors import ReplicationError

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
# modules whose matrices are connections, whatever their shape
KNOWN = (nn.Linear, _ConvNd, nn.Embedding, nn.EmbeddingBag, nn.Bilinear, nn.RNNBase, nn.RNNCellBase)
KNOWN += (nn.MultiheadAttention,)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """The linear and convolutional layers, by name, in the order of definition; `weights` knows the others as well."""
    return {name: module for name, module in net.named_modules() if isinstance(module, PRUNABLE)}


def weights(net: nn.Module) -> dict[str, Tensor]:
    """Every parameter of two or more dimensions, detached, by name (biases stay dense, as in the paper's counts).

    See `weight_parameters` for the names and the errors, `left_out` for those that pruning leaves whole.
    """
    return {name: parameter.detach() for name, parameter in weight_parameters(net).items()}


def weight_parameters(net: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter of two or more dimensions, in the order of definition.

    A layer's `weight` has the layer's name, any other its own ("lstm.weight_ih_l0"); one that several layers share
    stands under the first of its names.
    Raises ReplicationError for a weight that is recomputed at every forward pass, or that has no shape yet.
    """
    return {name: parameter for name, (_, _, parameter) in _owned(net).items()}


def left_out(net: nn.Module) -> dict[str, str]:
    """The names of `weights` that pruning leaves whole, and why; they count in every rate all the same."""
    # ours: the paper prunes connections; what shifts or scales a unit is none, whatever its number of dimensions
    found, trained = {}, any(parameter.requires_grad for parameter in net.parameters())
    for name, (module, attribute, parameter) in _owned(net).items():
        if re.search(r"(^|_)bias(es)?\d*(_|$)", attribute):
            found[name] = "a bias"
        elif isinstance(module, NORMS):
            found[name] = "the scale of a normalisation"
        elif not isinstance(module, KNOWN) and sum(size > 1 for size in parameter.shape) < 2:
            found[name] = "a vector"
        elif not isinstance(module, KNOWN) and trained and not parameter.requires_grad:
            found[name] = "never trained"  # a table or a mask; where nothing takes gradients, that tells nothing
    return found


def prunable(net: nn.Module) -> list[str]:
    """The names of `weights` that pruning can take connections from."""
    return [name for name in weight_parameters(net) if name not in left_out(net)]


def _owned(net: nn.Module) -> dict[str, tuple[nn.Module, str, nn.Parameter]]:
    """The parameters of `weight_parameters`, each with its module and its name there."""
    found, seen = {}, set()
    for path, module in net.named_modules():
        _check_held(path, module)
        for attribute, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, UninitializedParameter):
                raise ReplicationError(f"the weights of {path!r} have no shape yet: let the network see an image first")
            if parameter.ndim > 1 and parameter not in seen:
                seen.add(parameter)
                name = path if attribute == "weight" else ".".join(filter(None, (path, attribute)))
                found[name] = module, attribute, parameter
    return found


def _check_held(path: str, module: nn.Module) -> None:
    """Raise ReplicationError where `module` computes a weight anew at every call: no mask would hold it."""
    ways = {}  # by weight, how it becomes a parameter again
    if parametrize.is_parametrized(module):
        names = [name for name in module.parametrizations if getattr(module, name).ndim > 1]
        ways |= dict.fromkeys(names, "torch.nn.utils.parametrize.remove_parametrizations({layer}, {weight!r})")
    for name, value in vars(module).items():
        if not isinstance(value, Tensor) or value.ndim < 2:
            continue
        if f"{name}_g" in module._parameters:
            ways[name] = "torch.nn.utils.remove_weight_norm({layer}, {weight!r})"
        elif f"{name}_orig" in module._parameters:
            pruned = f"{name}_mask" in module._buffers
            remove = "prune.remove" if pruned else "remove_spectral_norm"
            ways[name] = f"torch.nn.utils.{remove}({{layer}}, {{weight!r}})"
        elif isinstance(module, KNOWN):
            ways[name] = "make it an nn.Parameter"
    for name, way in ways.items():
        layer = f"net.get_submodule({path!r})" if path else "net"
        raise ReplicationError(
            f"{name} of {path or 'the network'} ({type(module).__name__}) is recomputed at every forward pass, which "
            f"undoes a mask: first {way.format(layer=layer, weight=name)}"
        )


def check_masks(tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Raise ReplicationError for a mask that fits none of the weights or holds more than 0 and 1."""
    for name, mask in masks.items():
        if name not in tensors or tensors[name].shape != mask.shape:
            raise ReplicationError(f"the mask of {name!r} {tuple(mask.shape)} fits no layer: {', '.join(tensors)}")
        if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
            raise ReplicationError(f"the mask of {name!r} holds other values than 0 and 1: give mask != 0")


def check_values(net: nn.Module) -> None:
    """Raise ReplicationError where weights of `net` have shapes alone, on PyTorch's meta device."""
    for name, parameter in net.named_parameters():
        if parameter.is_meta:
            way_out = "fill the network first, by net.to_empty(device='cpu') and net.load_state_dict(...)"
            raise ReplicationError(f"{name} is on the meta device and has no values: {way_out}")


def sequence(net: nn.Module) -> dict[str, nn.Module]:
    """What a plain sequence calls one after the other, by name; empty for a network that computes otherwise."""
    if not isinstance(net, nn.Sequential) or net._forward_hooks or net._forward_pre_hooks:
        return {}
    if type(net).forward is not nn.Sequential.forward or "forward" in vars(net):
        return {}
    return dict(net._modules)  # named_children leaves out a module's second place


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Within the block `net` is in evaluation mode; afterwards each of its modules is in the mode that it was in."""
    before = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shapes of tensors, such as a state_dict's, by name."""
    return {name: tensor.shape for name, tensor in tensors.items()}
