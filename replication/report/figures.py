"""How figures look, and those that several pages show.

A function per figure, from records only: it returns the figure, the numbers that it shows, and what is to be seen in
words. It stands in the page as SVG: its text is the page's text, its colours follow the theme, light or dark. A phone
has another layout of it (see `narrow`).
"""

import html
import io
import re
import textwrap
import warnings
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from ..data import paper
from ..networks.registry import TITLES
from ..runs.recipes import STAND_INS, Chain, chosen

INK, PAGE = "#010203", "#fefefe"  # of text and axes, and of what is drawn hollow: the theme says what they are
COLOURS = {  # by what they stand for; told apart by colour-blind readers, 3:1 against a white and a dark page
    "paper": "#737373",
    "ours": "#0072b2",
    "kept": "#c85a00",
    "faded": "#c8c8c8",
    "green": "#008a64",
    "pink": "#b85c93",
    "gold": "#a87400",
    "sky": "#2f8fca",
}
STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,  # at 96 pixels an inch the page's small text
    "axes.titlesize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.dpi": 110,
    "svg.fonttype": "none",
    "svg.hashsalt": "book",
}
PAPER, OURS, KEPT, FADED = (COLOURS[name] for name in ("paper", "ours", "kept", "faded"))
LAYER_COLOURS = tuple(COLOURS[name] for name in ("ours", "kept", "green", "pink", "gold", "sky"))
PHONE = 3.6  # inches of a phone's page
Drawn = tuple[Figure, pd.DataFrame, str]
plt.rcParams.update(STYLE)


def log_ticks(axes: Axes, ticks: Sequence[float], sign: str = "") -> None:
    """A logarithmic x axis with these ticks and no others; sign: what stands behind each number, as in 10x."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}{sign}" for tick in ticks])
    axes.minorticks_off()


def name_lines(axes: Axes, ends: Iterable[tuple[float, float, str, str]]) -> None:
    """Write the name of each line beside its end, the names moved apart where they would cover each other.

    ends: x, y, name and colour of each line; the axes' scales are set before.
    """
    axes.autoscale_view()
    rows = axes.get_subplotspec().get_gridspec().nrows
    place, height = axes.transData + axes.transAxes.inverted(), axes.figure.get_figheight() * 72 * 0.75 / rows
    at = sorted(((*place.transform((x, y)), name, colour) for x, y, name, colour in ends), key=lambda end: end[1])
    lowest, step = -1.0, 12 / height
    for above, (x, y, name, colour) in zip(reversed(range(len(at))), at):  # above: how many names have to fit there
        lowest = max(y, lowest + step)
        beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "color": colour}
        spot = (x, min(lowest, 1 - above * step))
        axes.annotate(name, spot, xycoords="axes fraction", annotation_clip=False, **beside)


def rounds(network: str, chains: Sequence[Chain]) -> Drawn:
    """Error against compression rate, round by round, one line per seed; the paper's two points beside them.

    A single seed has bars: the standard error of a share of the test images.
    """
    figure, axes = plt.subplots(figsize=(7.4, 3.7), layout="constrained")
    lines = [
        pd.DataFrame(
            {"seed": chain[0].run["seed"], "stage": r.stage, "rate": r.rate, "test error %": r.error()}
            | {"standard error": r.standard_error(), "chosen": r is chosen(chain)}
            for r in chain
        )
        for chain in chains
    ]
    for line in lines:
        label = "ours, one line per seed" if line is lines[0] else None
        axes.plot(line["rate"], line["test error %"], "-o", color=OURS, ms=4, lw=1.2, alpha=0.7, label=label)
    points = pd.concat(lines, ignore_index=True)
    if len(lines) == 1:
        _one_seed(axes, points)
    picks, ring = points[points.chosen], {"s": 90, "facecolor": "none", "edgecolor": KEPT, "lw": 1.8, "zorder": 3}
    axes.scatter(picks["rate"], picks["test error %"], **ring, label="chosen on the validation split")
    published = paper.network_rows(network)
    if network in STAND_INS.values():  # the paper's errors are those of other images
        axes.axvline(published.compression_rate.max(), color=PAPER, ls="--", label="paper's rate")
    else:
        axes.plot([1, published.compression_rate.max()], published.top1_error_pct, "s--", color=PAPER, label="paper")
    axes.set(xlabel="compression rate (all weights / kept weights)", ylabel="test error (%)")
    log_ticks(axes, (1, 2, 5, 10, 20, 50), "x")
    figure.legend(loc="outside lower center", ncols=3)
    return figure, points, _rounds_in_words(network, points, published)


def _one_seed(axes: Axes, points: pd.DataFrame) -> None:
    """The name of each round beside its bar's end, and its standard error as a bar."""
    axes.errorbar(points["rate"], points["test error %"], points["standard error"], fmt="none", ecolor=OURS, capsize=3)
    for row in points.itertuples():
        above = {"xytext": (6, 0), "textcoords": "offset points", "ha": "left", "va": "top"}
        axes.annotate(row.stage, (row.rate, points.loc[row.Index, ["test error %", "standard error"]].sum()), **above)
    axes.margins(y=0.2)


def _rounds_in_words(network: str, points: pd.DataFrame, published: pd.DataFrame) -> str:
    dense, picks = points.groupby("seed").head(1)["test error %"].mean(), points[points.chosen]
    last = points.groupby("seed").tail(1)
    return (
        f"Test error against compression rate, round by round, for {TITLES[network]}: {dense:.2f} % dense, "
        f"{picks['test error %'].mean():.2f} % at {picks.rate.mean():.1f}x in the chosen rounds, "
        f"{last['test error %'].mean():.2f} % at {last.rate.mean():.1f}x in the last; the paper's rate is "
        f"{published.compression_rate.max():.0f}x."
    )


def sensitivity(chains: Sequence[Chain]) -> Drawn:
    """Sensitivity of each layer of the dense network: validation error with that layer alone pruned, not retrained."""
    table = pd.DataFrame(
        {"seed": chain[0].run["seed"], "layer": layer}
        | row
        | {"validation error %": 100 * row["errors"] / row["images"], "density %": 100 * row["density"]}
        for chain in chains
        for layer, curve in chain[1].metrics["sensitivity"].items()
        for row in curve
    )
    figure, panels = plt.subplots(1, 2, figsize=(7.4, 3.6), sharey=True, layout="constrained")
    for axes, x in zip(panels, ("quality", "density %")):
        ends = []
        for colour, (layer, lines) in zip(LAYER_COLOURS, table.groupby("layer", sort=False)):
            for _, line in lines.groupby("seed"):
                axes.plot(line[x], line["validation error %"], color=colour, lw=1.2, alpha=0.8)
            last = lines.loc[lines["quality"].idxmax()]
            ends.append((last[x], last["validation error %"], layer, colour))
        axes.set(xlabel=f"{x.replace(' %', ' (%)')} of the one pruned layer", yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        if x == "density %":
            axes.invert_xaxis()
        name_lines(axes, ends)
    panels[0].set_ylabel("validation error, not retrained (%)")
    return figure, table, _sensitivity_in_words(table)


def _sensitivity_in_words(table: pd.DataFrame) -> str:
    near = table[table["density %"].between(10, 50)].groupby("layer", sort=False)["validation error %"].mean()
    parts = ", ".join(f"{layer} {error:.1f} %" for layer, error in near.sort_values(ascending=False).items())
    return (
        "Validation error with one layer pruned and nothing retrained, against its quality and its density, one line "
        f"per seed. Mean error at 10 to 50 % of a layer's weights: {parts or 'not measured'}."
    )


def narrow(figure: Figure) -> bool:
    """Lay a figure out again for a phone: panels below one another, long names broken, one legend in one column.

    Returns whether it fits; what stands beside the panels may leave them no room.
    """
    panels = [axes for axes in figure.axes if axes.get_subplotspec()]
    if not panels:
        return False
    rows, columns = panels[0].get_gridspec().get_geometry()
    height = figure.get_figheight()
    if 1 < columns <= 3:  # more of them are small pictures, which stay in their row
        height *= len(panels) / rows
        for place, axes in zip(figure.add_gridspec(len(panels), 1), panels):
            axes.set_subplotspec(place)
            axes.tick_params(labelleft=True, labelbottom=True)
            axes.set_xlabel(axes.get_xlabel() or panels[-1].get_xlabel())
            if axes.get_shared_y_axes().joined(axes, panels[0]):
                axes.set_ylabel(panels[0].get_ylabel())
    for axes in panels:
        axes.set_xlabel(textwrap.fill(axes.get_xlabel(), 32))
        axes.set_title(textwrap.fill(axes.get_title(), 36, replace_whitespace=False))
        names = [label.get_text() for label in axes.get_yticklabels()]
        if any(" " in name for name in names):
            axes.set_yticks(axes.get_yticks(), [textwrap.fill(name, 22) for name in names])
    entries = _legend_entries(figure)
    if entries:
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=1)
    figure.set_size_inches(PHONE, height + 0.2 * max(len(entries) - 2, 0))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    return not any("collapsed to zero" in str(each.message) for each in said)


def _legend_entries(figure: Figure) -> dict[str, object]:
    """What the figure's legends name, by their words; the legends are taken away."""
    drawn = {name: each for axes in figure.axes for each, name in zip(*axes.get_legend_handles_labels())}
    entries = {}
    for legend in list(figure.legends):
        entries |= {t.get_text(): drawn.get(t.get_text(), own) for t, own in zip(legend.texts, legend.legend_handles)}
        legend.remove()
    return entries


def svg(figure: Figure, name: str, alt: str, kind: str = "drawn", display: str = "block") -> str:
    """The figure as an SVG element of HTML.

    name: goes before every id, so that those of two figures on a page differ; alt: what is to be seen, for readers who
    do not see it; kind: class of the element; display: by CSS, where the page has no style sheet of its own. What is
    heavy to draw is rasterised where the figure says so.
    """
    figure.savefig(file := io.StringIO(), format="svg", bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    box, body = re.search(r'viewBox="([^"]+)"[^>]*(>.*)', file.getvalue(), re.DOTALL).groups()
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", body)
    body = re.sub(r'font-family: [^;"]*', "font-family: var(--drawn-font, sans-serif)", body)
    for hexadecimal, colour in _themed().items():
        body = body.replace(hexadecimal, colour)
    body = re.sub(r"\n\s*", " ", body)
    width = f"{float(box.split()[2]) / 72 * 96:.0f}px"
    said = f'role="img" aria-label="{html.escape(alt)}"'
    look = f'style="--drawn: {width}; width: {width}; display: {display}" stroke-linejoin="round" stroke-linecap="butt"'
    return f'<svg class="{kind}" viewBox="{box}" {said} {look}{body}'


def _themed() -> dict[str, str]:
    """What stands in the page for each colour: a variable of its style sheet, else the colour itself."""
    named = {colour: f"var(--drawn-{name}, {colour})" for name, colour in COLOURS.items()}
    own = {INK: "currentColor", PAGE: "var(--drawn-page, #ffffff)", "#000000": "currentColor"}
    return own | named | {"#ffffff": "var(--drawn-page, #ffffff)"}
