"""Every derived number that the paper prints, recomputed from the paper's other numbers within their rounding."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..claims import paper
from . import layer_arithmetic, text_arithmetic
from .figures import KEPT, OURS, PAPER
from .layer_arithmetic import Check, Layers
from .rounding import text
from .text_arithmetic import given

MNIST_IMAGES = 10_000  # in its test set


def checks() -> list[Check]:
    """Every check, group by group."""
    tables = [Layers(number) for number in layer_arithmetic.NETWORKS]
    found = [*layer_arithmetic.table_1(tables)]
    for part in (text_arithmetic.captions, text_arithmetic.computation):
        found += part(tables)
    found += [check for t in tables for check in layer_arithmetic.totals(t)]
    found += [check for t in tables for check in layer_arithmetic.layers(t)]
    found += [*text_arithmetic.methods(), *text_arithmetic.energy(), *text_arithmetic.storage(tables)]
    found += [*text_arithmetic.curves(), *text_arithmetic.text(tables)]
    return sorted(found, key=lambda check: list(dict.fromkeys(c.group for c in found)).index(check.group))


def table() -> pd.DataFrame:
    """One row per check: printed; recomputed with the smallest and largest value that its sources allow; verdict.

    difference: recomputed minus printed; last digits: the same in units of the last printed digit. bound: the paper
    says `less than`. rounds: the recomputed value itself rounds to the printed one.
    """
    rows = []
    for each in checks():
        number, (value, low, high, _) = each.printed, each.recomputed
        row = {"group": each.group, "what": each.what, "where": each.where, "unit": each.unit}
        row |= {"printed": number.value, "digit": number.digit, "bound": math.isinf(number.low)}
        row |= {"recomputed": value, "from": low, "to": high, "how": each.how, "difference": value - number.value}
        row |= {"last digits": (value - number.value) / number.digit, "rounds": number.low <= value <= number.high}
        rows.append(row | {"verdict": "agrees" if each.agrees else "disagrees", "why": each.why})
    return pd.DataFrame(rows)


def readable(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of `table` as text: each number with its unit, and what it is recomputed from."""
    shown = {"what": found.what, "where": found["where"]}
    shown["printed"] = [("< " if row.bound else "") + _number(row, "printed") for _, row in found.iterrows()]
    shown["recomputed"] = [_number(row, "recomputed", 2) for _, row in found.iterrows()]
    shown["possible"] = [
        "exact" if row["from"] == row["to"] else f"{_number(row, 'from', 2)} to {_number(row, 'to', 2)}"
        for _, row in found.iterrows()
    ]
    shown["difference"] = [
        "" if row.bound else ("+" if row.difference > 0 else "") + _number(row, "difference", 2).replace("%", "points")
        for _, row in found.iterrows()
    ]
    shown["in last digits"] = ["" if row.bound else f"{row['last digits']:+.2f}" for _, row in found.iterrows()]
    return pd.DataFrame(shown | {"recomputed from": found.how, "verdict": found.verdict})


def _number(row: pd.Series, column: str, more: int = 0) -> str:
    return text(row[column], row.unit, row.digit, more)


def disagreements(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table` that disagree, the largest share of the printed number first, with a sentence on each."""
    wrong = found[found.verdict == "disagrees"]
    wrong = wrong.loc[(wrong.difference / wrong.printed).abs().sort_values(ascending=False, kind="stable").index]
    shown = readable(wrong)[["what", "where", "printed", "recomputed", "difference", "in last digits"]]
    return shown.assign(why=[f"{row.how[0].upper()}{row.how[1:]}. {row.why}".strip() for row in wrong.itertuples()])


def glance(found: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Recomputed over printed, one dot per number, with all that both roundings allow; bounds are left out."""
    rows = found[~found.bound].copy()
    half, printed = rows.digit / 2, rows.printed
    rows["ratio"] = rows.recomputed / printed
    rows["ratio from"], rows["ratio to"] = rows["from"] / (printed + half), rows.to / (printed - half)
    groups = list(rows.group.unique())
    rows["height"] = (
        rows.group.map(groups.index)
        + rows.groupby("group").cumcount() / rows.groupby("group").what.transform("size") * 0.8
    )
    figure, axes = plt.subplots(figsize=(9, 8.5), layout="constrained")
    for verdict, colour, size in (("agrees", OURS, 8), ("disagrees", KEPT, 26)):
        own = rows[rows.verdict == verdict]
        axes.hlines(own.height, own["ratio from"], own["ratio to"], color=colour, lw=0.9, alpha=0.55)
        axes.scatter(own.ratio, own.height, s=size, color=colour, zorder=3, label=f"{verdict}: {len(own)}")
    _label(axes, rows[rows.verdict == "disagrees"].sort_values("height"))
    axes.axvline(1, color=PAPER, lw=1, zorder=0)
    axes.set(
        xlim=(0.4, 2),
        ylim=(len(groups), -0.2),
        yticks=np.arange(len(groups)) + 0.4,
        xlabel="recomputed / printed; line: all that both roundings allow, cut at the edges",
    )
    axes.set_yticklabels(groups)
    figure.legend(loc="outside lower center", ncols=2)
    return figure, rows


def _label(axes: Axes, rows: pd.DataFrame, apart: float = 0.24) -> None:
    """Where and what, right of the axes at each row's height, at least so far apart."""
    lowest = -math.inf
    for (_, row), shown in zip(rows.iterrows(), readable(rows).itertuples()):
        lowest = max(row.height, lowest + apart)
        place = {"xycoords": axes.get_yaxis_transform(), "va": "center", "fontsize": 8.5, "color": KEPT}
        axes.annotate(f"{shown.where}: {shown.printed}, here {shown.recomputed}", (1.02, lowest), **place)


def errors() -> pd.DataFrame:
    """Table 1's errors before and after pruning beside what one figure can tell: its binomial standard error.

    images: that the change amounts to; standard error: of one such error, in points; change / standard error.
    """
    rows = []
    for network, lines in paper.table(1).groupby("network", sort=False):
        images = MNIST_IMAGES if network.startswith("LeNet") else int(given("imagenet_images").value)
        for column in ("top1_error_pct", "top5_error_pct"):
            before, after = lines[column]
            if math.isnan(before):
                continue
            deviation = 100 * math.sqrt(before / 100 * (1 - before / 100) / images)
            row = {"network": network, "error": column[:4].replace("p", "p-"), "test images": f"{images:,}"}
            row |= {"error before %": before, "error after %": after, "change (points)": after - before}
            row |= {"images": round((after - before) / 100 * images), "standard error (points)": deviation}
            rows.append(row | {"change in standard errors": (after - before) / deviation})
    return pd.DataFrame(rows)


def on_errors(found: pd.DataFrame) -> str:
    """A sentence (Markdown) on `errors`: Table 1's first line, and how many changes exceed a standard error."""
    row, beyond = found.iloc[0], (found["change in standard errors"].abs() > 1).sum()
    return (
        f"{row.network}'s {row['error before %']:.2f} and {row['error after %']:.2f} % are {-row.images} images of "
        f"{row['test images']} apart. The standard error of one such figure is {row['standard error (points)']:.2f} "
        f"points. Of the {len(found)} changes, {beyond} exceed{'s' if beyond == 1 else ''} one standard error. Both "
        "networks of a pair see the same images, so a difference may be surer than one figure; the paper prints "
        "nothing to tell."
    )


def closing(found: pd.DataFrame) -> str:
    """The count (Markdown): how many numbers agree, how many of them only within rounding, how many do not."""
    agreed, wrong = found[found.verdict == "agrees"], found[found.verdict == "disagrees"]
    return (
        f"**{len(found)} recomputations: {len(agreed)} agree, {len(wrong)} disagree.** Of those that agree, "
        f"{agreed.rounds.sum()} give the printed figure as they stand; {(~agreed.rounds).sum()} do so only for other "
        "values within the rounding of their sources."
    )


def densities(found: pd.DataFrame) -> str:
    """A sentence (Markdown) on the rule that FLOP density = weight density x activation density of the input."""
    rows = found[found.group == "FLOP density by layer"]
    worst = rows.loc[rows.difference.abs().idxmax()]
    return (
        f"The FLOP density of a layer is its weight density times the activation density of the layer before in all "
        f"{len(rows)} lines, within {abs(worst.difference):.2f} points ({worst.what.split(':')[0]}); "
        f"{rows.rounds.sum()} give the printed figure as they stand."
    )
