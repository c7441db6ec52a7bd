"""What pages show of the true networks on ImageNet, where the store has such runs (Tables 1, 4, 5, Figures 5 to 7)."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import ReplicationError
from ..networks.accounting import total
from ..networks.registry import TITLES, TORCHVISION
from ..runs import store
from ..runs.recipes import STAND_INS, Chain
from ..runs.spec import Record
from . import show, tables

NOT_RUN = (
    "**On ImageNet: not run here.** Where the true {title} has been computed by `python -m replication imagenet "
    "--arch {arch}` ([Running it at scale](../scale.html)), its records are shown here."
)


def found(arch: str) -> list[Record]:
    """Every stored run of `arch` (alexnet or vgg16) on the one image folder of which the most images were used."""
    each = [record for record in _on_image_folders() if record.run["network"] in (arch, TORCHVISION[arch])]
    best = max(each, key=_size, default=None)
    return [r for r in each if r.run["dataset"] == best.run["dataset"] and _size(r) == _size(best)] if best else []


def _on_image_folders() -> list[Record]:
    """The records of all runs on image folders; a damaged one is left out, and the page says so."""
    records = []
    for path in record_files():
        try:
            records.append(Record(store.load_record(path.parent.name)))
        except ReplicationError as error:
            show.say(f"*Left out here:* {error}.")
    return records


def record_files() -> list[Path]:
    """The records of all runs on image folders, damaged ones too; no other record is read and checked."""
    keys = sorted({*store.stored(), *store.stored("recorded")})
    found = [store.folder(key) / store.RECORD for key in keys]
    return [path for path in found if path.exists() and b'"dataset": "imagenet-' in path.read_bytes()]


def _size(record: Record) -> tuple[int, int, str]:
    """Images tested on, images there are, and the folder, to choose among folders."""
    return record.metrics["test"]["images"], record.provenance["photographs"]["train"], record.run["dataset"]


def chain(records: Sequence[Record]) -> Chain:
    """The dense run and its rounds, the longest chain among `records`; empty where there is none."""
    by_key = {record.key: record for record in records}
    ends = [r for r in records if r.stage == "dense" or (r.run["pruning"] and not is_figure6(r))]
    chains = [line for line in (_line(record, by_key) for record in ends) if line]
    return max(chains, key=lambda line: (len(line), line[-1].provenance["finished"]), default=[])


def is_figure6(record: Record) -> bool:
    """Whether the run measures every layer to the end of the grid (see `plan.sensitivity`)."""
    return bool(record.run["pruning"]) and record.run["pruning"]["stop"] > 1e6


def _line(record: Record, by_key: dict[str, Record]) -> Chain:
    """`record` and the runs it starts from, the oldest first; empty where one is missing or no round of a chain."""
    line = [record]
    while line[0].run["parent"]:
        parent = by_key.get(line[0].run["parent"])
        if parent is None or (parent.run["parent"] and not parent.run["pruning"]):
            return []
        line.insert(0, parent)
    return line


def evidence() -> dict[str, list[Chain]]:
    """What claims are judged by in place of a stand-in, by true network: its chain on ImageNet, where there is one.

    ImageNet is a folder of 1,000 classes with all 50,000 validation images. torchvision's AlexNet is another network
    than the paper's, and judges nothing.
    """
    lines = {arch: chain([r for r in found(arch) if r.run["network"] == arch]) for arch in STAND_INS}
    return {arch: [line] for arch, line in lines.items() if len(line) > 1 and _is_whole(line[0])}


def _is_whole(record: Record) -> bool:
    return record.provenance["photographs"]["classes"] == 1_000 and record.metrics["test"]["images"] == 50_000


def show_tables(arch: str, name: str) -> None:
    """The chain on ImageNet stage by stage, its layers beside the paper's, its qualities; or that it was not run."""
    line = chain(found(arch))
    if not line:
        show.say(NOT_RUN.format(title=TITLES[arch], arch=arch))
        return
    show.say(described(line))
    show.show_table(rounds(line), f"{name}_imagenet_rounds")
    if len(line) > 1:
        show.show_table(tables.layers(arch, [line]), f"{name}_imagenet_layers")
        show.show_table(tables.qualities([line]), f"{name}_imagenet_qualities")


def described(line: Chain) -> str:
    """A sentence (Markdown): which network, on what, by how many processes."""
    photographs, made = line[0].provenance["photographs"], line[-1].provenance
    return (
        f"**{TITLES[line[0].run['network']]} on an image folder** of {photographs['classes']:,} classes, "
        f"{photographs['train']:,} training and {photographs['val']:,} validation images "
        f"({len(photographs['skipped'])} left out as unreadable); {made['processes']} processes, {made['device']}."
    )


def rounds(line: Chain) -> pd.DataFrame:
    """The chain stage by stage: rate, FLOPs left, top-1 and top-5 errors in percent and their change, hours."""
    rows = []
    for record in line:
        test, first = record.metrics["test"], line[0].metrics["test"]
        top5, before = (100 * score["top5_errors"] / score["images"] for score in (test, first))
        rows.append(
            {"stage": record.stage, "rate": record.rate, "FLOP %": 100 * total(record.layers).flop_density}
            | {"top-1 error %": record.error(), "top-5 error %": top5}
            | {"change of top-1 error": record.error() - line[0].error(), "change of top-5 error": top5 - before}
            | {"seconds": record.provenance["seconds"]}
        )
    return pd.DataFrame(rows)
