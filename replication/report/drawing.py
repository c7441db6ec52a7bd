"""A matplotlib figure as SVG in the page: its text is the page's text, its colours follow the theme, light or dark."""

import html
import io
import re

from matplotlib.figure import Figure

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


def svg(figure: Figure, name: str, alt: str) -> str:
    """The figure as an SVG element of HTML.

    name: goes before every id, so that those of two figures on a page differ; alt: what is to be seen, for readers who
    do not see it. What is heavy to draw is rasterised where the figure says so.
    """
    figure.savefig(file := io.StringIO(), format="svg", bbox_inches="tight", pad_inches=0.04, metadata={"Date": None})
    box, body = re.search(r'viewBox="([^"]+)"[^>]*(>.*)', file.getvalue(), re.DOTALL).groups()
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", body)
    body = re.sub(r'font-family: [^;"]*', "font-family: var(--drawn-font, sans-serif)", body)
    for hexadecimal, colour in _themed().items():
        body = body.replace(hexadecimal, colour)
    body = re.sub(r"\n\s*", " ", body)
    width = float(box.split()[2]) / 72 * 96
    said = f'role="img" aria-label="{html.escape(alt)}"'
    look = f'style="--drawn: {width:.0f}px; width: {width:.0f}px" stroke-linejoin="round" stroke-linecap="butt"'
    return f'<svg class="drawn" viewBox="{box}" {said} {look}{body}'


def _themed() -> dict[str, str]:
    """What stands in the page for each colour: a variable of its style sheet, else the colour itself."""
    named = {colour: f"var(--drawn-{name}, {colour})" for name, colour in COLOURS.items()}
    own = {INK: "currentColor", PAGE: "var(--drawn-page, #ffffff)", "#000000": "currentColor"}
    return own | named | {"#ffffff": "var(--drawn-page, #ffffff)"}
