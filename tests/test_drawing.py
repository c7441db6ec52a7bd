"""Figures as SVG in the page, and tables as HTML: words for who does not see, colours of the theme, aligned numbers."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from replication.report import figures, show


@pytest.fixture
def drawn():
    figure, axes = plt.subplots(figsize=(6, 3))
    axes.plot([1, 2], [3, 4], color=figures.OURS, label="line")
    axes.scatter([1], [3], facecolor=figures.PAGE, edgecolor="black")
    axes.set(xlabel="rate (%)")
    yield figure
    plt.close(figure)


def test_svg_says_what_is_to_be_seen_and_follows_the_theme(drawn):
    svg = BeautifulSoup(figures.svg(drawn, "name", 'A "line" that rises.'), "html.parser").svg
    assert svg["role"] == "img" and svg["aria-label"] == 'A "line" that rises.'
    text = str(svg)
    assert figures.OURS in text and f"var(--drawn-ours, {figures.OURS})" in text
    assert not {figures.INK, figures.PAGE, "#000000", "DejaVu"} & {w for w in (figures.INK, "#000000") if w in text}
    assert "rate (%)" in svg.get_text() and "currentColor" in text
    assert not svg.find("style") and not svg.find("metadata")


def test_ids_of_two_figures_differ_and_every_reference_is_there(drawn):
    one, two = (BeautifulSoup(figures.svg(drawn, name, "words"), "html.parser") for name in ("one", "two"))
    ids = [{tag["id"] for tag in each.find_all(id=True)} for each in (one, two)]
    assert ids[0] and not ids[0] & ids[1]
    used = {tag["xlink:href"].removeprefix("#") for tag in one.find_all("use")}
    assert used <= ids[0]


def test_text_has_the_size_of_the_pages_small_text(drawn):
    svg = BeautifulSoup(figures.svg(drawn, "name", "words"), "html.parser").svg
    width = float(re.search(r" width: (\d+)px", svg["style"])[1])
    scale = width / float(svg["viewbox"].split()[2])
    assert 10 * scale >= 13  # pixels, of 10 points; the page's small text has 80 % of 16


@pytest.mark.parametrize("name, colour", figures.COLOURS.items())
def test_colours_are_told_from_a_white_page(name, colour):
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear))
    assert (1.05 / (luminance + 0.05) >= 3) == (name != "faded")  # WCAG 2 asks 3:1 of graphics; faded is background


def test_a_phone_has_the_panels_below_one_another():
    figure, panels = plt.subplots(1, 2, figsize=(7.4, 3), sharey=True, layout="constrained")
    for axes in panels:
        axes.plot([1, 2], [3, 4], label="ours")
        axes.plot([1, 2], [4, 5], label="the paper's")
        axes.set_xlabel("rate of retraining over that of training")
    panels[0].set_ylabel("error (%)")
    panels[0].set_yticks([3, 5], ["few", "a name of many words"])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    assert figures.narrow(figure)
    figure.canvas.draw()
    upper, lower = (axes.get_position() for axes in panels)
    assert upper.y0 > lower.y1 and upper.x0 == pytest.approx(lower.x0) and upper.width == pytest.approx(lower.width)
    assert [axes.get_ylabel() for axes in panels] == ["error (%)"] * 2
    assert panels[1].get_xlabel() == "rate of retraining over that of\ntraining"
    assert all(axes.yaxis.get_tick_params()["labelleft"] for axes in panels)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["ours", "the paper's"]
    left, right = (text.get_window_extent().x0 for text in legend.texts)
    assert left == right
    assert figure.get_tightbbox().width <= figures.PHONE + 0.15 and figure.get_figheight() >= 2 * 3
    plt.close(figure)


def test_small_pictures_stay_in_their_row():
    figure, panels = plt.subplots(1, 8, figsize=(7.4, 1.3), layout="constrained")
    for axes in panels:
        axes.axis("off")
    figures.narrow(figure)
    figure.canvas.draw()
    assert len({round(axes.get_position().y0, 3) for axes in panels}) == 1
    assert figure.get_size_inches().tolist() == [figures.PHONE, 1.3]
    plt.close(figure)


def test_what_has_no_room_on_a_phone_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    figure, axes = plt.subplots(figsize=(7.4, 3), layout="constrained")
    axes.plot([1, 2], [3, 4])
    axes.annotate("what is said beside a line, in many words " * 2, (2, 4), annotation_clip=False)
    shown = []
    monkeypatch.setattr(show, "display", shown.append)
    show.show_figure((figure, pd.DataFrame({"a": [1]}), "A line."), "name")
    (wide,) = BeautifulSoup(shown[0].data, "html.parser").select(".scroll > svg")
    assert wide["class"] == ["drawn"] and "display: block" in wide["style"]


def test_a_page_has_each_figure_twice_and_shows_one(drawn, monkeypatch: pytest.MonkeyPatch):
    shown = []
    monkeypatch.setattr(show, "display", shown.append)
    show.show_figure((drawn, pd.DataFrame({"a": [1]}), "A line."), "name")
    wide, slim = BeautifulSoup(shown[0].data, "html.parser").select(".scroll > svg")
    assert (wide["class"], slim["class"]) == (["drawn"], ["drawn", "slim"])
    assert "display: block" in wide["style"] and "display: none" in slim["style"]
    ids = [{tag["id"] for tag in each.find_all(id=True)} for each in (wide, slim)]
    assert not ids[0] & ids[1] and wide["aria-label"] == slim["aria-label"] == "A line."


def test_names_of_lines_do_not_cover_each_other():
    figure, axes = plt.subplots(figsize=(6, 3))
    axes.plot([0, 1], [0, 1])
    figures.name_lines(axes, [(1, 1.0, "a", "red"), (1, 1.0, "b", "blue"), (1, 0.0, "c", "green")])
    heights = {text.get_text(): text.xy[1] for text in axes.texts}
    assert abs(heights["a"] - heights["b"]) >= 12 / (3 * 72)
    assert heights["c"] < min(heights["a"], heights["b"]) - 0.5
    plt.close(figure)


def test_decimal_points_stand_below_each_other():
    cells = show.aligned(pd.Series(["7.75", "122.0\u00a0±\u00a01.5", "", "-3.10"]))
    assert [BeautifulSoup(cell, "html.parser").get_text() for cell in cells] == [
        "7.75",
        "122.0\u00a0±\u00a01.5",
        "",
        "-3.10",
    ]
    wholes = [BeautifulSoup(cell, "html.parser").span for cell in cells if cell]
    assert [span.get_text() for span in wholes] == ["7", "122", "-3"]
    assert {span["style"] for span in wholes} == {"min-width: 3ch"}


def test_columns_of_words_stay_as_they_are():
    words = pd.Series(["fc1", "12x less", "3.5"])
    assert show.aligned(words) is words


def test_a_column_that_says_the_same_in_all_rows_stands_below(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(show, "display", lambda each: said.append(each.data))
    show.show_table(pd.DataFrame({"layer": ["a", "b", "c"], "seeds": [5, 5, 5], "kept %": [1.0, 2.0, 3.0]}), "name")
    page = BeautifulSoup(said[0], "html.parser")
    assert [th.get_text() for th in page.select("th")] == ["layer", "kept %"]
    assert page.select_one("p.note").get_text() == "In all rows: seeds 5."
    assert page.select_one(".scroll")["tabindex"] == "0"


def test_two_rows_keep_their_columns():
    table, same = show.without_repetition(pd.DataFrame({"a": [1, 1], "b": [1, 2]}))
    assert list(table) == ["a", "b"] and same == {}


def test_heads_of_changes_have_their_unit():
    shown = show.for_readers(pd.DataFrame({"change of error": [0.5], "interval from": [0.0], "interval to": [1.0]}))
    assert list(shown) == ["change of error, points", "95 % interval, points"]


def test_a_long_table_is_folded(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(show, "display", lambda each: said.append(each.data))
    show.show_table(pd.DataFrame({"run": range(30)}), "runs", fold="All 30 runs")
    details = BeautifulSoup(said[0], "html.parser").details
    assert details.summary.get_text() == "All 30 runs" and len(details.select("tbody tr")) == 30


@pytest.mark.parametrize("columns", [["claim", "why <so>"], ["claim", "paper rate", "ours rate"]])
def test_cells_of_a_table_of_sentences_name_their_column(columns, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(show, "display", lambda each: said.append(each.data))
    rows = [[f"a{n}", *([n] * (len(columns) - 1))] for n in (1, 2)]
    show.show_table(pd.DataFrame(rows, columns=columns), "claims", prose=True)
    heads = [cell["data-head"] for cell in BeautifulSoup(said[0], "html.parser").select("tbody td")]
    assert heads == ["claim", *(["why <so>"] if len(columns) == 2 else ["rate paper", "rate ours"])] * 2


def test_a_figure_needs_words(drawn):
    with pytest.raises(ValueError, match="3"):
        show.show_figure((drawn, pd.DataFrame()), "name")
    assert np.isfinite(drawn.get_figwidth())
