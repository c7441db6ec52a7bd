"""What a notebook shows: the opening line, tables and figures with their data as CSV, and computed sentences."""

import html
import math
import numbers
import re
from collections.abc import Iterable, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from .. import parameters, paths
from ..networks.registry import TITLES
from ..runs import profiles, store
from ..runs.recipes import Chain, without_loss
from ..runs.spec import Record
from .figures import narrow, svg
from .tables import per_image

SMOKE = (
    '<div class="admonition warning"><p class="admonition-title">Smoke profile: numbers without meaning</p>'
    "<p>This page was computed from {images:,} images and {epochs} epoch, to show that the code runs. "
    "Build the book with <code>--profile laptop</code> for results.</p></div>"
)


_GAP = "\N{NO-BREAK SPACE}"  # a mean stays beside its deviation where a last column wraps


def start(profile: str, seeds: int | None = None, **others: float) -> profiles.Profile:
    """The profile by name (see `profiles.get`); the page says so where its numbers mean nothing.

    others: the page's other parameters by name. Raises ReplicationError where one cannot be (see `parameters`).
    """
    chosen = profiles.get(profile, seeds)
    for name, value in others.items():
        parameters.check(name, value)
    if not chosen.meaningful:
        display(HTML(SMOKE.format(images=chosen.images, epochs=chosen.epochs)))
    return chosen


def say(text: str) -> None:
    """Show a sentence (Markdown) whose numbers were computed; nothing where it is empty."""
    if text:
        display(Markdown(text))


def recorded(records: Iterable[Record]) -> str:
    """One sentence (Markdown): how many of these runs, each once, were not computed here, and how to repeat them."""
    records = {record.key: record for record in records}.values()
    given = [record for record in records if store.place(record.key) != "local"]
    if not given:
        return f"All {len(records)} runs of this page were computed by this installation."
    minutes = sum(record.provenance["seconds"] for record in given) / 60
    processors = ", ".join(sorted({record.provenance["processor"] for record in given}))
    return (
        f"*Recorded with the repository:* {len(given)} of this page's {len(records)} "
        f"run{'s' * (len(records) != 1)}, {minutes:.0f} minutes of computing on {processors}; "
        "`python -m replication record --fresh` repeats what is recorded."
    )


def all_lose(*each: Sequence[Chain]) -> str:
    """One sentence (Markdown): of these networks' chains, the seeds where no round is without loss; or nothing."""
    parts = []
    for chains in each:
        seeds = [str(chain[-1].run["seed"]) for chain in chains if not without_loss(chain)]
        if seeds:
            parts.append(f"{TITLES[chains[0][0].run['network']]}'s seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}")
    told = "On the validation images every round loses more than *chosen* allows on"
    return f"{told} {'; '.join(parts)}: the first round counts there." if parts else ""


def batches(chain: Chain) -> str:
    """One sentence (Markdown): in which batches a chain was trained and retrained, and what its rate comes to."""
    first, own = (record.run["training"] for record in chain[:2])
    rate, size = own["learning_rate"] / first["learning_rate"], own["batch_size"]
    return (
        f"Trained in batches of {first['batch_size']}, retrained in batches of {size} at {rate:.2g} of the learning "
        f"rate: for each image that is {per_image(chain):.2g} of training's (by linear scaling)."
    )


def show_table(table: pd.DataFrame, name: str, prose: bool = False, fold: str = "") -> None:
    """Show a table and link its data, `name`.csv (see `for_readers`).

    prose: its cells hold sentences that wrap, and stand below one another on a phone (see `labelled`); fold: the line
    under which a long table is folded away. Columns that say the same in all rows stand below the table.
    """
    shown, same = without_repetition(for_readers(table))
    classes = "dataframe prose" if prose else "dataframe"
    shown = shown.map(html.escape).apply(aligned)
    text = shown.to_html(index=False, na_rep="", border=0, classes=classes, sparsify=True, escape=False)
    text = labelled(text, shown.columns) if prose else text
    text = f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {name.replace("_", " ")}">{text}</div>'
    notes = "; ".join(f"{head} {value}" for head, value in same.items())
    text += f'<p class="note">In all rows: {html.escape(notes)}.</p>' if same else ""
    text = f"<details><summary>{fold}</summary>{text}</details>" if fold else text
    display(HTML(text + save(table, name)))


def labelled(table: str, heads: Iterable[str | tuple[str, str]]) -> str:
    """The table (HTML) with its column's head at every cell, for where cells stand below one another."""
    each = cycle(head if isinstance(head, str) else " ".join(head).strip() for head in heads)
    return re.sub("<td>", lambda _: f'<td data-head="{html.escape(next(each))}">', table)


def show_figure(drawn: tuple[Figure, pd.DataFrame, str], name: str) -> None:
    """Show a figure, for wide pages and, where `narrow` can, for phones, and link the numbers behind it, `name`.csv.

    drawn: the figure, its numbers, and what is to be seen, in words, for readers who do not see it.
    """
    drawing, table, alt = drawn
    label = f'role="region" tabindex="0" aria-label="Figure: {name.replace("_", " ")}"'
    picture = svg(drawing, name, alt)
    if narrow(drawing):
        picture += svg(drawing, f"{name}-slim", alt, "drawn slim", "none")
    picture = f'<div class="scroll" {label}>{picture}</div>'
    plt.close(drawing)
    display(HTML(picture + save(table, name)))


def save(table: pd.DataFrame, name: str) -> str:
    """Write `name`.csv where the page's data go (see `write`); returns the link to it as HTML."""
    return write(table.to_csv(index=False), f"{name}.csv")


def write(text: str, name: str) -> str:
    """Write a file behind the page into paths.TABLES, which the build alone sets; returns the link to it as HTML.

    Without it nothing is written and the link is empty: the files of the built book stay those of its pages.
    """
    if not paths.TABLES:
        return ""
    paths.TABLES.mkdir(parents=True, exist_ok=True)
    (paths.TABLES / name).write_text(text, encoding="utf-8", newline="")
    return f'<p><small>Data: <a href="../data/{name}">{name}</a></small></p>'


def for_readers(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text: counts shortened; `x mean` and `x sd`, `interval from` and `interval to` joined; `paper x` and
    `ours x` under one head."""
    shown = {}
    for column in table:
        stem = column.removesuffix(" mean")
        if column.endswith(" sd") and f"{column.removesuffix(' sd')} mean" in table:
            continue
        if column == "interval from":
            shown["95 % interval"] = [_interval(a, b) for a, b in zip(table[column], table["interval to"])]
        elif column == "interval to":
            continue
        elif column.endswith(" mean"):
            shown[stem] = [_with_deviation(m, s, stem) for m, s in zip(table[column], table[f"{stem} sd"])]
        else:
            shown[stem] = [_cell(value, stem) for value in table[column]]
    return _grouped(pd.DataFrame(shown).rename(columns=_with_unit))


def _with_unit(head: str) -> str:
    """The head of a column, with the unit of a change and its interval."""
    return f"{head}, points" if re.search(r"change of .*error$|95 % interval$", head) else head


NUMBER = re.compile(r"([+-]?\d[\d,]*)((?:\.\d+)?[KMGx]?(?:\s(?:±|to)\s[+-]?[\d.,]+[KMGx]?)?(?: (?:%|W|points))?)")


def aligned(cells: pd.Series) -> pd.Series:
    """The cells of a column of numbers as HTML in which the decimal points stand below each other; others as they are.

    The whole parts have the same width in all cells, and stand right in it.
    """
    parts = [NUMBER.fullmatch(cell) for cell in cells]
    if not any(parts) or any(cell and not part for cell, part in zip(cells, parts)):
        return cells
    whole = f'<span class="whole" style="min-width: {max(len(part[1]) for part in parts if part)}ch">'
    return pd.Series([f"{whole}{part[1]}</span>{part[2]}" if part else "" for part in parts], cells.index)


def without_repetition(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table without the columns that say the same in all of its rows, three or more; and what those say, by head."""
    single = [head for head in table if isinstance(head, str) or not head[-1]]  # not the paper's beside ours
    same = [head for head in single if len(table) > 2 and table[head].nunique() == 1]
    said = {head if isinstance(head, str) else head[0]: table[head].iloc[0] for head in same}
    return table.drop(columns=same), {head: value for head, value in said.items() if value}


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or low == high == 0 else f"{low:+.2f}{_GAP}to{_GAP}{high:+.2f}"


def _grouped(table: pd.DataFrame) -> pd.DataFrame:
    """Puts `paper x` and `ours x` side by side below a common head x, where there are such columns."""
    if not any(column.startswith("paper ") for column in table):
        return table
    split = [tuple(reversed(c.split(" ", 1))) if c.startswith(("paper ", "ours ")) else (c, "") for c in table]
    heads = list(dict.fromkeys(head for head, _ in split))
    table.columns = pd.MultiIndex.from_tuples(split)
    return table[[(head, part) for head in heads for part in ("", "paper", "ours") if (head, part) in split]]


def _with_deviation(mean: float, sd: float, column: str) -> str:
    if pd.isna(mean) or pd.isna(sd) or sd == 0:
        return _cell(mean, column)
    spread, shown = _cell(sd, column).removeprefix("+"), _cell(mean, column)
    part = re.fullmatch(r"\d+(?:\.(\d+))?([KMG]?)", shown)  # the deviation has the mean's unit and decimals
    if part and "second" not in column:
        alike = f"{sd / dict(_SIZES).get(part[2], 1):.{len(part[1] or '')}f}{part[2]}"
        spread = alike if re.search("[1-9]", alike) else spread
    return f"{shown}{_GAP}±{_GAP}{spread}"


def _cell(value: object, column: str) -> str:
    """One value as text: errors with two decimals, percentages with one, rates with an x, large counts shortened."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
        return str(value)
    if column == "year":
        return f"{value:.0f}"
    if "change" in column or "interval" in column:
        return f"{value:+.2f}"
    if "error" in column or "quality" in column:
        return f"{value:.2f}"
    if column.endswith("rate"):
        return f"{value:.0f}x" if column.startswith("paper") else f"{value:.1f}x"
    if column.startswith("paper") and column.endswith("%"):
        return f"{value:g}"
    if column == "border %":
        return f"{value:.2f}"
    if column.endswith("%") or "second" in column:
        return f"{value:.1f}"
    return _short(value)


_SIZES = (("G", 1e9), ("M", 1e6), ("K", 1e3))


def _short(value: float) -> str:
    for letter, size in _SIZES:
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
