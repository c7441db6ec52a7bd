"""What a notebook shows: the opening line, tables and figures with their data as CSV, and computed sentences."""

import math
import numbers
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from .. import parameters, paths
from ..runs import profiles

SMOKE = (
    '<div class="admonition warning"><p class="admonition-title">Smoke profile: numbers without meaning</p>'
    "<p>This page was computed from {images:,} images and {epochs} epoch, to show that the code runs. "
    "Build the book with <code>--profile laptop</code> for results.</p></div>"
)


_GAP = "\N{NO-BREAK SPACE}"  # a mean stays beside its deviation where a last column wraps


def start(profile: str, seeds: int | None = None, **others: float) -> profiles.Profile:
    """The profile by name (see `profiles.get`); says on the page what it is.

    others: the page's other parameters by name. Raises ReplicationError where one cannot be (see `parameters`).
    """
    chosen = profiles.get(profile, seeds)
    for name, value in others.items():
        parameters.check(name, value)
    if not chosen.meaningful:
        display(HTML(SMOKE.format(images=chosen.images, epochs=chosen.epochs)))
    display(Markdown(f"*Profile `{chosen.name}`. What was measured is read from the records of runs.*"))
    return chosen


def say(text: str) -> None:
    """Show a sentence (Markdown) whose numbers were computed."""
    display(Markdown(text))


def show_table(table: pd.DataFrame, name: str, prose: bool = False) -> None:
    """Show a table and link its data, `name`.csv (see `for_readers`); prose: its cells hold sentences that wrap."""
    classes = "dataframe prose" if prose else "dataframe"
    html = for_readers(table).to_html(index=False, na_rep="", border=0, classes=classes, sparsify=True)
    display(HTML(f'<div style="overflow-x: auto">{html}</div>' + save(table, name)))


def show_figure(figure: tuple[Figure, pd.DataFrame], name: str) -> None:
    """Show a figure and link the numbers behind it, `name`.csv."""
    drawing, table = figure
    display(drawing)
    plt.close(drawing)
    display(HTML(save(table, name)))


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
    return _grouped(pd.DataFrame(shown))


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) else f"{low:+.2f}{_GAP}to{_GAP}{high:+.2f}"


def _grouped(table: pd.DataFrame) -> pd.DataFrame:
    """Puts `paper x` and `ours x` side by side below a common head x, where there are such columns."""
    if not any(column.startswith("paper ") for column in table):
        return table
    split = [tuple(reversed(c.split(" ", 1))) if c.startswith(("paper ", "ours ")) else (c, "") for c in table]
    heads = list(dict.fromkeys(head for head, _ in split))
    table.columns = pd.MultiIndex.from_tuples(split)
    return table[[(head, part) for head in heads for part in ("", "paper", "ours") if (head, part) in split]]


def _with_deviation(mean: float, sd: float, column: str) -> str:
    if pd.isna(mean):
        return ""
    return _cell(mean, column) + (
        "" if pd.isna(sd) or sd == 0 else f"{_GAP}±{_GAP}{_cell(sd, column).removeprefix('+')}"
    )


def _cell(value: object, column: str) -> str:
    """One value as text: errors with two decimals, percentages with one, rates with an x, large counts shortened."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
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


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


VERDICT_MARKS = {  # colour, on which white is read, and sign; the word always stands beside them
    "reproduced": ("#0a7d4f", "✓"),
    "reproduced on a stand-in": ("#37795c", "(✓)"),
    "contradicted": ("#b3261e", "✗"),
    "mixed": ("#7b4397", "±"),
    "inconclusive": ("#8a6100", "?"),
    "not run": ("#5f6368", "–"),
}


def sureness(row) -> str:
    """Every network's status of one line of the scorecard, with its interval and seeds, and where it was measured."""
    return f"{row.statuses}. Measured on: {row.measured_on}" if row.statuses else ""


def badge(verdict: str) -> str:
    """A verdict in its colour, as HTML."""
    return f'<span class="verdict" style="background: {VERDICT_MARKS[verdict][0]}; color: white">{verdict}</span>'


def verdict(card: pd.DataFrame, claim: str) -> None:
    """Show one claim's line of the scorecard as a sentence."""
    row: Mapping = card.set_index("id").loc[claim]
    if row.verdict == "not run":
        say(f"**{claim}: not run.** {row.claim}: paper {row.published}.")
        return
    say(f"**{claim}: {row.verdict}.** {row.claim}: paper {row.published}; ours {row.ours}. {sureness(row)}.")
