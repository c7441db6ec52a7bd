"""The page of deviations: what the paper leaves open and how this replication decides it, collected from comments."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .. import paths
from . import rendering

SUBJECTS = {  # of the choices: by the beginning of a file's path, the first that fits; with the pages concerned
    "replication/data/": ("Data", "table1_summary"),
    "replication/networks/": ("Networks", "table1_summary"),
    "replication/training/": ("Training", "dropout freezing table1_summary"),
    "replication/runs/": ("Training", "table2_lenet_300_100 table3_lenet_5 table4_alexnet table5_vgg16"),
    "replication/pruning/": ("Search and pruning", "method choosing"),
    "replication/claims/ablations": (
        "The text's claims",
        "dropout survivors freezing choosing dead_neurons learning_rate",
    ),
    "replication/claims/registry": ("Training", "table4_alexnet table5_vgg16 other_images"),
    "replication/claims/storage": ("Storage", "storage_overhead"),
    "replication/claims/networks": ("Figures and comparisons", "figure6_sensitivity figure7_weights table6_methods"),
    "replication/claims/": ("Figures and comparisons", "figure5_tradeoff table6_methods limits"),
    "replication/storage/": ("Storage", "storage_overhead"),
    "replication/commands/": ("Storage", "storage_overhead"),
    "replication/imagenet/": ("At scale, on ImageNet", "../scale"),
    "": ("Figures and comparisons", ""),
}


# what a comment begins with, its text, and the comment lines below it
CHOICE = re.compile(r"^[ \t]*# (ours|paper): (.+(?:\n[ \t]*# (?!ours: |paper: ).+)*)", re.MULTILINE)


def choices() -> list[dict[str, str]]:
    """Every `# ours:` and `# paper:` comment of the module and the notebooks, with the comment lines below it: kind,
    text, file, place (the line; of a notebook the code cell, both from 1)."""
    found = []
    for path in sorted((paths.ROOT / "replication").rglob("*.py")):
        source = path.read_text("utf-8")
        for each in CHOICE.finditer(source):
            line = source.count("\n", 0, each.start()) + 1
            found.append(_choice(each, paths.shown(path), f"line {line}"))
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        page = rendering.notebook(path) or {"cells": []}  # a damaged one has a page that says so
        cells = [cell for cell in page["cells"] if cell["cell_type"] == "code"]
        for number, cell in enumerate(cells, 1):
            comments = CHOICE.finditer("".join(cell["source"]))
            found += [_choice(each, path.name, f"code cell {number}") for each in comments]
    return found


def _choice(comment: re.Match, file: str, place: str) -> dict[str, str]:
    text = re.sub(r"\n\s*# ", " ", comment[2])
    return {"kind": comment[1], "text": text, "file": file, "place": place}


def subject(file: str) -> tuple[str, list[str]]:
    """What a choice in this file is about, and the pages that it concerns; a notebook's own page."""
    name, pages = next(about for start, about in SUBJECTS.items() if file.startswith(start))
    return name, pages.split() or [Path(file).stem]


def write(rows: Iterable[dict[str, str]]) -> None:
    """Write book/pages/deviations.md: by subject, what the paper leaves open and how this replication decides it."""
    groups: dict[str, list[str]] = {name: [] for name, _ in SUBJECTS.values()}
    for row in rows:
        name, pages = subject(row["file"])
        links = ", ".join(f"[](/{os.path.normpath(f'pages/{page}')})" for page in pages)
        whose = "" if row["kind"] == "ours" else "*As the paper says:* "
        place = f"<small>{links} · `{row['file']}`, {row['place']}</small>"
        groups[name].append(f"- {whose}{row['text']} <br>{place}")
    text = "\n\n".join(f"## {name}\n\n" + "\n".join(lines) for name, lines in groups.items() if lines)
    text = (paths.BOOK / "deviations_head.md").read_text("utf-8").replace("{choices}", text)
    paths.PAGES.mkdir(parents=True, exist_ok=True)
    target = paths.PAGES / "deviations.md"
    if not target.exists() or target.read_text("utf-8") != text:
        target.write_text(text, "utf-8")
