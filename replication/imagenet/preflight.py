"""What is checked before hours are spent: the store, the disk, the memory."""

import shutil
from collections.abc import Sequence
from functools import cache

import psutil
import torch
from torch import nn

from .. import paths
from ..errors import ReplicationError
from ..networks.registry import NETWORKS, TITLES, outline
from ..runs import store
from ..runs.spec import ComputeOptions, Run, get
from ..training.processes import ProcessGroup

GB = 1e9
FLOAT, MASK = 4, 1  # bytes of a weight, of its mask
COPIES = 4  # of every weight in training: itself, its gradient, its momentum, and what the processes exchange


def check_store() -> None:
    """Raise ReplicationError unless the store can be written."""
    with store.token():
        pass


def lack_of_disk(plan: Sequence[Run]) -> str:
    """What the store's disk lacks for the missing runs of `plan` and two checkpoints; empty where they fit."""
    missing = [run for run in plan if get(run) is None]
    need = max((disk(run.network, len(missing)) for run in missing), default=0)
    free = shutil.disk_usage(paths.RUNS).free
    if need <= free:
        return ""
    return (
        f"{len(missing)} runs and their checkpoints need {need / GB:.1f} GB in {paths.shown(paths.RUNS)}, "
        f"{free / GB:.1f} GB are free: make room or set REPLICATION_RUNS to another folder"
    )


def check_disk(plan: Sequence[Run]) -> None:
    """Raise ReplicationError where `lack_of_disk` says what is lacking."""
    if lack := lack_of_disk(plan):
        raise ReplicationError(lack)


def disk(network: str, runs: int) -> int:
    """Bytes of so many stored runs of `network`, a checkpoint, and the next one beside it."""
    weights = parameters(network)
    return runs * weights * (FLOAT + MASK) + 2 * weights * (2 * FLOAT + MASK)


def check_memory(network: str, group: ProcessGroup, options: ComputeOptions) -> None:
    """Raise ReplicationError in every process where one of the machines has too little memory (an estimate)."""
    images, free, where = options.micro_batch_size, psutil.virtual_memory().available, "memory"
    need = memory(network, images)
    if group.device.type == "cuda":
        free, where = torch.cuda.mem_get_info(group.device)[0], "memory of the GPU"
    else:
        need *= group.local
    problem = None
    if need > free:
        problem = (
            f"{TITLES[network]} needs about {need / GB:.1f} GB of {where} at {images} images at a time, "
            f"{free / GB:.1f} GB are free: lower --micro-batch, or start fewer processes on a machine"
        )
    group.raise_everywhere(problem)


def memory(network: str, micro_batch_size: int, trained: str = "all") -> int:
    """Bytes that one process takes, about: weights in COPIES, masks, and the outputs of all layers and their gradients.

    micro_batch_size: images at a time; trained: "all", "fc" (on fixed CONV layers) or "" for evaluation, which keeps no
    gradients.
    """
    weights, values = parameters(network), 2 * micro_batch_size * FLOAT * outputs(network)
    if trained == "all":
        return weights * (COPIES * FLOAT + MASK) + values
    # outputs that no gradient needs are gone with the next layer: all of them together are an upper limit
    learning = parameters(network, nn.Linear) if trained else 0
    return weights * (FLOAT + MASK) + learning * (COPIES - 1) * FLOAT + values // 2


@cache
def parameters(network: str, kind: type[nn.Module] = nn.Module) -> int:
    """How many parameters `network` has in its layers of this kind."""
    return sum(p.numel() for layer in outline(network) if isinstance(layer, kind) for p in layer.parameters())


@cache
def outputs(network: str) -> int:
    """How many values all parts of `network` put out for one image."""
    x, total = torch.empty(1, *NETWORKS[network].input_size, device="meta"), 0
    for part in outline(network):
        x = part(x)
        total += x.numel()
    return total
