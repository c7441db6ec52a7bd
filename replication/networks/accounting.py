"""What a network costs, layer by layer: weights, FLOPs, activation, weight and FLOP density (Tables 2 to 5), energy."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from .connections import check_masks, check_values, evaluating, left_out, weight_parameters
from .probing import OTHERS, Probe, probing

COLUMNS = ["layer", "weights", "flop", "neurons", "activation_density", "weight_density", "flop_density"]


@torch.no_grad()
def account(
    net: nn.Module, x: Tensor, masks: Mapping[str, Tensor] | None = None, batch_size: int = 1_000
) -> pd.DataFrame:
    """One row per weight of `networks.weights`, in the order of execution, as Tables 2 to 5 count.

    COLUMNS; densities from 0 to 1, flop per image. net: left as it was; x: the images on which activations are
    counted, (N, ...); masks: bool by name, a weight without one is dense, as all are for None.
    flop: 2 x multiply-accumulates without biases, of the dense layer, summed over its calls. neurons and
    activation_density: of the layer's output as the next layer gets it, after ReLU and pooling; where no single layer
    reads it alone, of the output itself. flop_density: weight density x the activation density of the layer's input,
    which counts as 1 where that is the image. note: what a row has of its own; a column only where there is any.
    Raises ReplicationError for masks that do not fit, and for weights that are recomputed or without values.
    """
    check_values(net)
    kind = x.device.type
    with evaluating(net), torch.autocast(kind, enabled=False), probing(net) as probes:
        dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), x.dtype)
        for part in x.split(batch_size):
            net((part.to(dtype) if x.is_floating_point() else part).clone())  # it may change what it is given
    return table(net, probes, masks)


def table(net: nn.Module, probes: Mapping[str, Probe], masks: Mapping[str, Tensor] | None) -> pd.DataFrame:
    """The rows of `account` from what `probing` has counted."""
    tensors, whole, masks, rows = weight_parameters(net), left_out(net), masks or {}, []
    check_masks(tensors, masks)
    for name, probe in probes.items():
        if name == OTHERS and not probe.calls:
            continue
        kept = masks[name].float().mean().item() if name in masks else 1.0
        neurons, active, note = _output(name, probes)
        notes = [f"left whole: {whole[name]}"] if name in whole else []
        read = probe.nonzero / probe.inputs if probe.sources and probe.inputs else 1.0
        rows.append(
            {
                "layer": name,
                "weights": tensors[name].numel() if name in tensors else 0,
                "flop": _per_image(probe.flop, probe),
                "neurons": neurons,
                "activation_density": active,
                "weight_density": kept,
                "flop_density": kept * read if probe.calls else float("nan"),
                "note": "; ".join([*notes, *note]),
            }
        )
    rows = pd.DataFrame(rows, columns=[*COLUMNS, "note"])
    return rows if rows.note.any() else rows[COLUMNS]


def _output(name: str, probes: Mapping[str, Probe]) -> tuple[int, float, list[str]]:
    """(values per image, their density, notes) of what the weight's product gives, as the one that reads it gets it."""
    probe, readers = probes[name], [reader for reader, other in probes.items() if name in other.sources]
    if not probe.calls:
        return 0, float("nan"), ["in no product"]
    if len(readers) == 1:
        reader = probes[readers[0]]
        if reader.sources == {name} and reader.calls == probe.calls and readers[0] != OTHERS:
            return _per_image(reader.inputs, reader), reader.nonzero / reader.inputs, []
    note = ["activations of its own output: no single layer follows"] if readers else []
    return _per_image(probe.outputs, probe), probe.output_nonzero / probe.outputs, note


def _per_image(count: int, probe: Probe) -> int:
    return round(count / probe.images) if probe.images else 0


def total(rows: pd.DataFrame) -> pd.Series:
    """The tables' last line: sums, and densities as means weighted by neurons, weights and FLOPs in turn.

    rows: as `account` returns them (COLUMNS).
    """
    counted_by = {"activation_density": "neurons", "weight_density": "weights", "flop_density": "flop"}
    means = {density: _mean(rows[density], rows[count]) for density, count in counted_by.items()}
    return pd.Series({"layer": "total"} | {count: rows[count].sum() for count in counted_by.values()} | means)[COLUMNS]


def _mean(values: pd.Series, counts: pd.Series) -> float:
    """The mean weighted by `counts`; no number where there is nothing to count."""
    return (counts * values).sum() / counts.sum() if len(counts) and counts.sum() else float("nan")


def dram_energy(accesses: float, picojoule: float) -> float:
    """Energy in joules of `accesses` memory accesses of `picojoule` each (Figure 1: 640 for a 32-bit DRAM word)."""
    return accesses * picojoule / 1e12
