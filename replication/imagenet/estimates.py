"""How long the stages of a chain will take, about: throughput measured for some seconds, carried forward."""

import resource
import sys
import time
from collections.abc import Callable, Sequence

import pandas as pd
import torch

from ..networks.connections import layers
from ..networks.registry import TITLES
from ..pruning.masks import Pruning
from ..runs.spec import Run, RunState
from ..training.evaluation import counted
from ..training.loop import Trainer
from ..training.machine import autocast
from ..training.phases import Training, frozen
from ..training.sources import MicroBatch
from .driver import image_keys
from .preflight import GB, disk, lack_of_disk, memory

NOTE = (
    "These are estimates: throughput measured for some seconds on this machine and carried forward. Checkpoints, other "
    "users of the machine and slower storage come on top."
)


def rates(state: RunState, seconds: float) -> dict[str, float]:
    """Images per second of all processes together: `loading` from the folder, and, of images in memory, `evaluation`
    and training by what is frozen.

    state: of a dense run, just started; it is of no use afterwards. seconds: to measure each of them.
    """
    arriving = _endless(state)
    found = {"loading": _repeated(state, lambda: len(next(arriving).y) * state.group.world, seconds)}
    for freeze in ("", "conv"):
        found[f"training {freeze}".strip()] = _training(state, state.run.training, freeze, seconds)
    batch = next(arriving)
    with autocast(state.run.training.precision, state.group.device):
        found["evaluation"] = _repeated(
            state, lambda: counted(state.net, [batch], state.group, top5=True)["images"], seconds
        )
    return found


def _repeated(state: RunState, step: Callable[[], int], seconds: float) -> float:
    """Images per second of all processes: one step to warm up, then steps until the seconds are over for everyone."""
    step()
    images, start = 0, time.perf_counter()
    while not state.group.any(time.perf_counter() - start > seconds)[0] or not images:
        images += step()
    if state.group.device.type == "cuda":
        torch.cuda.synchronize()  # steps are handed to the card, and are not over when they return
    return images / (time.perf_counter() - start)


def _endless(state: RunState):
    """Training batches of this process, without end."""
    while True:
        order = torch.randperm(len(state.data.train)).split(state.options.micro_batch_size)
        yield from state.data.train.read([part.tolist() for part in order], 0)


def _training(state: RunState, training: Training, freeze: str, seconds: float) -> float:
    """Images per second of training with what `freeze` names held fixed, one micro-batch per process and step."""
    with frozen(state.net, freeze):
        images = len(state.data.train)
        trainer = Trainer(state.net, training, {}, state.progress, images, state.group, {})
        x, y, places = next(_endless(state))
        part = MicroBatch(x, y, len(y), len(y) * state.group.world, keys=image_keys(places, 0))

        def step() -> int:
            trainer.step(part)
            return part.batch_size

        return _repeated(state, step, seconds)


def stages(plan: Sequence[Run], found: dict[str, float], state: RunState, price: float) -> pd.DataFrame:
    """One row per stage: images to go through, images per second, hours, the cost of all processes, memory and disk.

    Memory (GB) is that of one process, reckoned; disk (GB) what the store holds by then, checkpoints included.
    plan: the runs; found: as `rates` gives them; price: per hour of one process (a GPU). The images that the search
    looks at lie in memory; all others are read from the folder, however fast they are then dealt with.
    """
    rows, network, data = [], state.run.network, state.data
    for number, run in enumerate(plan):
        parts = []  # title, images, throughput, what is trained
        if run.pruning:
            parts.append(("search", _searched(run.pruning, state), found["evaluation"], ""))
        for phase in run.phases:
            title, trained = ("FC layers", "fc") if phase.freeze == "conv" else ("whole network", "all")
            rate = min(found[f"training {phase.freeze}".strip()], found["loading"])
            parts.append((title, phase.epochs * len(data.train), rate, trained))
        images = len(data.validation) * (1 + sum(phase.epochs for phase in run.phases))
        images += len(data.test) * (2 if run.pruning else 1)  # right after pruning as well
        parts.append(("evaluation", images, min(found["evaluation"], found["loading"]), ""))
        for title, images, rate, trained in parts:
            gigabytes = memory(network, state.options.micro_batch_size, trained) / GB
            stored = disk(network, number + (title == "evaluation")) / GB
            rows.append((f"{run.stage}, {title}", images, rate, gigabytes, stored))
    table = pd.DataFrame(rows, columns=["stage", "images", "images/s", "memory GB", "disk GB"])
    table["hours"] = table.images / table["images/s"] / 3600
    table["cost"] = table.hours * state.group.world * price
    return table


def _searched(rule: Pruning, state: RunState) -> int:
    """How many images the search goes through at most: each layer at each quality, then 13 whole networks."""
    images = min(rule.images or len(state.data.validation), len(state.data.validation))
    return 0 if rule.qualities else images * (len(layers(state.net)) * len(rule.grid) + 13)


def peak() -> float:
    """The most memory that this process has taken so far, in GB: of the GPU where it computes, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / GB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GB


def report(plan: Sequence[Run], state: RunState, seconds: float, price: float) -> str:
    """The estimates as text, for the first process to print; the last line names what the disk lacks, if it does."""
    found = rates(state, seconds)
    table = stages(plan, found, state, price)
    network, micro, total = state.run.network, state.options.micro_batch_size, table[["hours", "cost"]].sum()
    lines = [
        NOTE,
        f"{TITLES[network]}, {state.group.world} processes on {state.group.device.type}, {micro} "
        "images at a time: " + ", ".join(f"{name} {rate:.1f} images/s" for name, rate in found.items()),
        table.to_string(index=False, float_format=lambda value: f"{value:.3g}"),
        f"all stages: {total.hours:.3g} hours, cost {total.cost:.3g} at {price:g} per hour and process",
        f"memory of one process: {memory(network, micro) / GB:.1f} GB reckoned, {peak():.1f} GB measured",
        f"disk: {disk(network, len(plan)) / GB:.1f} GB for {len(plan)} runs and two checkpoints",
        lack_of_disk(plan),
    ]
    return "\n".join(filter(None, lines))
