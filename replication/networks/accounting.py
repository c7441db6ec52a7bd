"""What a network costs, layer by layer: weights, FLOPs, activation, weight and FLOP density (Tables 2 to 5), energy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor, nn

from .models import layers

COLUMNS = ["layer", "weights", "flop", "neurons", "activation_density", "weight_density", "flop_density"]


class _Probe:
    """Counts, over the batches of one pass, what enters and leaves one layer."""

    def __init__(self):
        self.inputs = self.nonzero = self.outputs = self.output_nonzero = 0
        self.positions = 1

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        self.inputs += inputs[0].numel()
        self.nonzero += int(inputs[0].count_nonzero())
        self.input_neurons = inputs[0][0].numel()
        self.outputs += output.numel()
        self.output_nonzero += int(output.count_nonzero())
        self.output_neurons = output[0].numel()
        self.positions = output[0].numel() // layer.weight.shape[0]


@torch.no_grad()
def account(
    net: nn.Module, x: Tensor, masks: Mapping[str, Tensor] | None = None, batch_size: int = 1_000
) -> pd.DataFrame:
    """One row per layer, as Tables 2 to 5 count (COLUMNS; densities from 0 to 1, flop per image).

    net: a chain of layers; x: the images on which activations are counted, (N, ...); masks: bool by layer, None: dense.
    flop: 2 x multiply-accumulates without biases, of the dense layer. neurons and activation_density: of the layer's
    output as the next layer gets it, after ReLU and pooling. flop_density: weight density x the activation density of
    the layer's input, which counts as 1 for the first layer (the image).
    """
    net.eval()
    with probing(net) as probes:
        for part in x.split(batch_size):
            net(part)
    return table(net, probes, masks)


@contextmanager
def probing(net: nn.Module) -> Iterator[dict[str, _Probe]]:
    """Counts, for `table`, what every layer of `net` gets and gives within the block."""
    probes = {name: _Probe() for name in layers(net)}
    hooks = [layer.register_forward_hook(probes[name]) for name, layer in layers(net).items()]
    try:
        yield probes
    finally:
        for hook in hooks:
            hook.remove()


def table(net: nn.Module, probes: Mapping[str, _Probe], masks: Mapping[str, Tensor] | None) -> pd.DataFrame:
    """The rows of `account` from what `probing` has counted."""
    rows, names = [], list(probes)
    for i, (name, layer) in enumerate(layers(net).items()):
        probe, following = probes[name], probes[names[i + 1]] if i + 1 < len(names) else None
        kept = masks[name].float().mean().item() if masks else 1.0
        rows.append(
            {
                "layer": name,
                "weights": layer.weight.numel(),
                "flop": 2 * layer.weight.numel() * probe.positions,
                "neurons": following.input_neurons if following else probe.output_neurons,
                "activation_density": following.nonzero / following.inputs
                if following
                else probe.output_nonzero / probe.outputs,
                "weight_density": kept,
                "flop_density": kept * (probe.nonzero / probe.inputs if i else 1.0),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def total(rows: pd.DataFrame) -> pd.Series:
    """The tables' last line: sums, and densities as means weighted by neurons, weights and FLOPs in turn.

    rows: as `account` returns them (COLUMNS).
    """
    return pd.Series(
        {
            "layer": "total",
            "weights": rows.weights.sum(),
            "flop": rows.flop.sum(),
            "neurons": rows.neurons.sum(),
            "activation_density": (rows.neurons * rows.activation_density).sum() / rows.neurons.sum(),
            "weight_density": (rows.weights * rows.weight_density).sum() / rows.weights.sum(),
            "flop_density": (rows.flop * rows.flop_density).sum() / rows.flop.sum(),
        }
    )


def dram_energy(accesses: float, picojoule: float) -> float:
    """Energy in joules of `accesses` memory accesses of `picojoule` each (Figure 1: 640 for a 32-bit DRAM word)."""
    return accesses * picojoule / 1e12
