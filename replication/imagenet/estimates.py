"""How long the stages of a chain will take, about: throughput measured for some seconds, carried forward."""

import resource
import sys
import time
from collections.abc import Callable, Sequence

import pandas as pd
import torch

from .. import networks
from ..networks.models import layers
from ..runs.spec import Run
from ..training.loop import Training
from ..training.phases import holding
from .long_run import Work, evaluate
from .long_training import Phase
from .photographs import Photographs, batches, side
from .preflight import GB, disk, memory

NOTE = (
    "These are estimates: throughput measured for some seconds on this machine and carried forward. Checkpoints, other "
    "users of the machine and slower storage come on top."
)


def rates(work: Work, seconds: float) -> dict[str, float]:
    """Images per second of all processes together: `loading`, `evaluation`, and training by what is frozen.

    work: of a dense run, just started; it is of no use afterwards. seconds: to measure each of them.
    """
    found = {"loading": _loading(work, seconds)}
    for freeze in ("", "conv"):
        found[f"training {freeze}".strip()] = _training(work, work.run.training, freeze, seconds)
    part = work.parts.train.first(2 * work.means.micro * work.group.world)
    start = time.perf_counter()
    evaluate(work, part, work.run.training.precision)
    found["evaluation"] = len(part.y) / (time.perf_counter() - start)
    return found


def _repeated(work: Work, step: Callable[[], int], seconds: float) -> float:
    """Images per second of all processes: one step to warm up, then steps until the seconds are over for everyone."""
    step()
    images, start = 0, time.perf_counter()
    while not work.group.any(time.perf_counter() - start > seconds)[0] or not images:
        images += step()
    return images / (time.perf_counter() - start)


def _loading(work: Work, seconds: float) -> float:
    """Images per second that all processes together read, as for training."""
    arriving = _endless(work)
    return _repeated(work, lambda: len(next(arriving).y) * work.group.world, seconds)


def _endless(work: Work):
    """Training batches of this process, without end."""
    data = Photographs(work.parts.train, side(work.run.network), 0)
    while True:
        order = torch.randperm(len(data)).split(work.means.micro)
        yield from batches(data, [part.tolist() for part in order], work.means.workers, work.group.device)


def _training(work: Work, training: Training, freeze: str, seconds: float) -> float:
    """Images per second of training with what `freeze` names held fixed, one micro-batch per process and step."""
    with holding(work.net, freeze):
        phase, batch = Phase(work, training), next(_endless(work))
        places = torch.arange(len(batch.y) * work.group.world)

        def step() -> int:
            phase.step(places, iter([batch]), (0,))
            return len(places)

        return _repeated(work, step, seconds)


def stages(plan: Sequence[Run], found: dict[str, float], work: Work, price: float) -> pd.DataFrame:
    """One row per stage: images to go through, images per second, hours, the cost of all processes, memory and disk.

    Memory (GB) is that of one process, reckoned; disk (GB) what the store holds by then, checkpoints included.
    plan: the runs; found: as `rates` gives them; price: per hour of one process (a GPU).
    """
    rows, network, micro = [], work.run.network, work.means.micro
    for number, run in enumerate(plan):
        looking = {"memory GB": memory(network, micro, "") / GB, "disk GB": disk(network, number) / GB}
        if run.pruning:
            rows.append({"stage": f"{run.stage}, search"} | _search(run, found["evaluation"], work) | looking)
        for phase in run.phases:
            name = f"training {phase.freeze}".strip()
            rate = min(found[name], found["loading"])
            title, trained = ("FC layers", "fc") if phase.freeze == "conv" else ("whole network", "all")
            rows.append(
                {"stage": f"{run.stage}, {title}", "images": phase.epochs * len(work.parts.train.y), "images/s": rate}
                | looking
                | {"memory GB": memory(network, micro, trained) / GB}
            )
        images = len(work.parts.validation.y) * (1 + sum(p.epochs for p in run.phases)) + len(work.parts.test.y)
        kept = looking | {"disk GB": disk(network, number + 1) / GB}
        rows.append({"stage": f"{run.stage}, evaluation", "images": images, "images/s": found["evaluation"]} | kept)
    table = pd.DataFrame(rows)
    table["hours"] = table.images / table["images/s"] / 3600
    table["cost"] = table.hours * work.group.world * price
    return table


def _search(run: Run, rate: float, work: Work) -> dict[str, float]:
    """At most so many images are gone through by the search: each layer at each quality, then 13 whole networks."""
    rule = run.pruning
    images = min(rule.images or len(work.parts.validation.y), len(work.parts.validation.y))
    times = 0 if rule.qualities else len(layers(work.net)) * len(rule.grid) + 13
    return {"images": images * times + len(work.parts.test.y), "images/s": rate}


def peak() -> float:
    """The most memory that this process has taken so far, in GB: of the GPU where it computes, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / GB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GB


def report(plan: Sequence[Run], work: Work, seconds: float, price: float) -> str:
    """The estimates as text, for the first process to print."""
    found = rates(work, seconds)
    table = stages(plan, found, work, price)
    network, total = work.run.network, table[["hours", "cost"]].sum()
    lines = [
        NOTE,
        f"{networks.TITLES[network]}, {work.group.world} processes on {work.group.device.type}, {work.means.micro} "
        "images at a time: " + ", ".join(f"{name} {rate:.1f} images/s" for name, rate in found.items()),
        table.to_string(index=False, float_format=lambda value: f"{value:.3g}"),
        f"all stages: {total.hours:.3g} hours, cost {total.cost:.3g} at {price:g} per hour and process",
        f"memory of one process: {memory(network, work.means.micro) / GB:.1f} GB reckoned, {peak():.1f} GB measured",
        f"disk: {disk(network, len(plan)) / GB:.1f} GB for {len(plan)} runs and two checkpoints",
    ]
    return "\n".join(lines)
