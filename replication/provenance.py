"""Where numbers come from: the machine, the versions, the runs, the checksums."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata

import pandas as pd
import torch

from . import datasets, store
from .machine import device, processor
from .networks import TITLES
from .precision import described
from .runs import Record

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "safetensors",
    "papermill",
    "jupyter-book",
)

WHERE = ["processor", "device", "threads", "precision", "torch"]  # what a record says of where its run was computed
EARLIER = {"precision": "as the recipe says"}  # of records from before it was noted: their processors have bfloat16


def environment() -> pd.DataFrame:
    """The machine and the versions that are in use now."""
    rows = {
        "processor": processor(),
        "processors": str(os.cpu_count()),
        "device": str(device()),
        "matrix instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16 recipes computed in": described("bfloat16", device()),
        "system": platform.platform(terse=True),
        "Python": platform.python_version(),
    } | {package: metadata.version(package) for package in PACKAGES}
    return pd.DataFrame({"what": rows.keys(), "value": rows.values()})


def _machines(records: Sequence[Record]) -> pd.DataFrame:
    """Where each run was computed, as its record says, its seconds, and the number of such a machine, from 1."""
    rows = pd.DataFrame({k: (EARLIER | record.provenance)[k] for k in (*WHERE, "seconds")} for record in records)
    return rows.assign(machine=rows.groupby(WHERE).ngroup() + 1)


def machines(records: Sequence[Record]) -> pd.DataFrame:
    """On what the runs were computed: a number, WHERE; how many runs, and their hours."""
    groups = _machines(records).groupby(["machine", *WHERE], as_index=False)
    found = groups.agg(runs=("seconds", "size"), hours=("seconds", "sum"))
    return found.assign(hours=found.hours / 3600)


def runs(records: Sequence[Record]) -> pd.DataFrame:
    """Every run: its key, what it is, whence, the day (UTC) of its end, the number of its machine, and its seconds."""
    rows = [
        {
            "run": record.key,
            "network": TITLES[record.run["network"]],
            "seed": record.run["seed"],
            "stage": record.stage,
            "from": "here" if store.computed_here(record.key) else "repository",
            "finished": record.provenance["finished"][:10],
        }
        for record in records
    ]
    where = _machines(records).rename(columns={"machine": "on"})
    return pd.DataFrame(rows).join(where[["on", "seconds"]])


def recorded(records: Iterable[Record]) -> str:
    """One sentence (Markdown): how many of these runs were not computed here, and how to repeat them."""
    records = list(records)
    given = [record for record in records if not store.computed_here(record.key)]
    if not given:
        return f"All {len(records)} runs of this page were computed by this installation."
    minutes = sum(record.provenance["seconds"] for record in given) / 60
    processors = ", ".join(sorted({record.provenance["processor"] for record in given}))
    return (
        f"*Recorded runs:* {len(given)} of the {len(records)} runs of this page are records that come with the "
        f"repository ({minutes:.0f} minutes of computing on {processors}); `python -m replication record --fresh` "
        "repeats them."
    )


def cost(records: Sequence[Record]) -> str:
    """One sentence: how many runs, how many seconds in all, by network."""
    by_network: dict[str, list[float]] = {}
    for record in records:
        by_network.setdefault(TITLES[record.run["network"]], []).append(record.provenance["seconds"])
    parts = [f"{title}: {len(seconds)} runs, {sum(seconds):,.0f} s" for title, seconds in by_network.items()]
    return f"Seconds of one thread, all runs together: {'; '.join(parts)}."


def data() -> pd.DataFrame:
    """The files of MNIST with shape and SHA-256 of their raw content, as just read and verified."""
    rows = []
    for name, array in datasets.mnist_bytes().items():
        sha = datasets.MNIST_SHA256[name]
        rows.append(
            {"file": f"data/mnist/{name}.gz", "shape": " x ".join(map(str, array.shape)), "SHA-256 (verified)": sha}
        )
    return pd.DataFrame(rows)
