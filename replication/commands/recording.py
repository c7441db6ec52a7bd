"""The records that come with the repository: made, and how long that takes here."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from .. import paths
from ..claims import registry
from ..data import Split, datasets
from ..networks.registry import build
from ..runs import execution, profiles, scheduler, store
from ..runs.recipes import REFERENCES, STAND_INS
from ..runs.spec import Record, Run
from ..storage import files
from ..training import machine, train

IMAGES = 1_024  # of a training that is measured


def record(jobs: int, fresh: bool, report: Callable[[str], None]) -> None:
    """Compute what is missing of the laptop profile's long runs, and put the records into data/recorded as they come.

    jobs: processes (0: one per processor); fresh: repeat all of them; a repetition that was stopped goes on where it
    was. report: called with a line before the first run, for each run, and at the end.
    """
    laptop, started = profiles.get("laptop"), paths.RUNS / ".repeated"
    plan, with_weights = registry.recorded(laptop), registry.with_sparse_weights(laptop)
    since = _since(started) if fresh else ""
    missing = scheduler.missing(plan, since)
    try:
        if missing:
            hours = expected(missing) / (jobs or machine.jobs()) / 3_600
            report(f"{len(missing)} runs to compute, about {hours:.1f} hours here; stopped, the same command goes on")
            scheduler.compute(plan, jobs, since=since, report=report)
    finally:
        for run in plan:
            if store.place(run.key) != "recorded" and not scheduler.is_missing(run, since):
                # ours: the stand-ins' weights come rounded to float16, so that all together stay below 20 MB
                store.ship_record(run.key, run.key in with_weights, run.network in STAND_INS.values())
    started.unlink(missing_ok=True)
    state = "" if missing else "; none was missing"
    report(f"{len(store.stored('recorded'))} records lie in {paths.shown(paths.RECORDED)}{state}")


def problems() -> list[str]:
    """What is missing of the records and weights that come with the repository, in a line each."""
    laptop = profiles.get("laptop")
    wanted = [(paths.RECORDED, run.key) for run in registry.recorded(laptop)]
    wanted += [(paths.RECORDED, f"{key}/{store.SPARSE}") for key in sorted(registry.with_sparse_weights(laptop))]
    wanted += [(paths.MODELS, run.key) for run in REFERENCES.values()]
    return [
        f"{paths.shown(home / name)} is missing: restore it with `git checkout -- {paths.shown(home)}`"
        for home, name in wanted
        if not (home / name).exists()
    ]


def _since(started: Path) -> str:
    """When the repetition began that is going on, else now, which is noted for the next call."""
    if not started.exists():
        files.replace(started, [scheduler.this_moment().encode()])
    return started.read_text()


def expected(missing: Sequence[Run]) -> float:
    """About how many seconds one process of this machine takes for these runs.

    What a run has taken elsewhere, by its record, times this machine's speed to that one's in its network's training;
    a run without a record by its epochs alone.
    """
    given = [Record(store.load_record(key)) for key in store.stored("recorded")]
    wanted = {(run.network, run.dataset) for run in missing}  # no other data set need be there
    known = {each.key: each for each in given if (each.run["network"], each.run["dataset"]) in wanted}
    speeds = defaultdict(list)  # of training, by network and machine
    for record in known.values():
        speeds[_where(record)] += _per_image_there(record)
    total, here = 0.0, {}  # here: of training on this machine, by network
    for run in missing:
        if run.network not in here:
            here[run.network] = _per_image(run)
        record = known.get(run.key)
        # a run that trained nothing: by what others took there
        there = record and (_per_image_there(record) or speeds[_where(record)])
        total += here[run.network] * (record.provenance["seconds"] / median(there) if there else _passes(run))
    return total


def _where(record: Record) -> tuple[str, ...]:
    return record.run["network"], *(record.provenance[name] for name in ("device", "processor"))


def _images(dataset: str, images: int | None) -> int:
    return images or len(datasets.load(dataset).train.y)


def _passes(run: Run) -> int:
    """How many images the run is trained on in all, each as often as it is seen."""
    return sum(phase.epochs for phase in run.phases) * _images(run.dataset, run.images)


def _per_image_there(record: Record) -> list[float]:
    """Seconds per image of the last epoch of a recorded training; empty where nothing was trained."""
    images = _images(record.run["dataset"], record.run["images"])
    return [row["seconds"] / images for row in record.metrics["history"][-1:]]


def _per_image(run: Run) -> float:
    """Seconds per image of this run's training here, measured on its first images."""
    data, generator = datasets.load(run.dataset, run.images).train, torch.Generator().manual_seed(0)
    part = Split(data.x[:IMAGES], data.y[:IMAGES])
    with execution.alone():
        for _ in range(2):  # the first time warms up
            history = train(build(run.network, generator), part, replace(run.training, epochs=1), generator)
    return history[-1]["seconds"] / len(part.x)
