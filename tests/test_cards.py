"""Cards of claims, on verdicts made by hand: what is said, how long it is, and where the marks of the plot stand."""

import math
import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup
from pages import functions

from replication.claims import VERDICTS, Judged, Status
from replication.report import cards


def status(network: str = "lenet_5", said: str = "holds", **others) -> Status:
    fields = {"seeds": 5, "needed": 5, "comparison": "change", "mean": 0.05, "low": 0.0, "high": 0.1, "limit": 0.1}
    return Status(network, said, **(fields | {"unit": "points", "why": ""} | others))


def claim(*statuses: Status, verdict: str = "reproduced", **others) -> Judged:
    about = {"id": "C02", "claim": "LeNet-5 keeps its accuracy", "published": "0.80 -> 0.77 %", "rule": "limit +0.10"}
    about |= {"page": "table3_lenet_5", "ours": "0.81 -> 0.86 %", "measured_on": "LeNet-5"}
    return Judged(**(about | {"statuses": statuses, "verdict": verdict} | others))


def parsed(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_white_is_read_on_the_colour_of_every_verdict(verdict):
    colour, _ = cards.MARKS[verdict]
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear))
    assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2, AA
    assert f"background: {colour}" in cards.badge(verdict) and verdict in cards.badge(verdict)


def test_card_says_verdict_paper_ours_and_every_network():
    card = parsed(cards.card(claim(status(), status("alexnet_32", "fails", seeds=2, needed=3))))
    assert card.header.a["href"] == "table3_lenet_5.html" and "✓ reproduced" in card.header.get_text()
    assert [dd.get_text() for dd in card.select("dd")] == ["0.80 -> 0.77 %", "0.81 -> 0.86 %"]
    assert [" ".join(row.find_all("span")[-1].get_text().split()) for row in card.select(".row")] == [
        "holds, 5 seeds",
        "fails, 2 of 3 seeds",
    ]
    assert "limit +0.10" in card.details.get_text()
    assert "AlexNet stand-in fails" in card.details.get_text()


def test_long_words_go_into_the_fold():
    card = cards.card(claim(status(), ours=" ".join(["word"] * 60), claim=" ".join(["long"] * 20)))
    outside = parsed(card)
    outside.details.decompose()
    assert len(cards.words(str(outside))) <= cards.WORDS
    assert "word word" not in outside.get_text() and "word word" in parsed(card).details.get_text()


def test_a_failing_comparison_stands_for_its_network():
    shown = cards.worst(
        [status(comparison="first"), status(said="fails", comparison="second"), status("lenet_300_100")]
    )
    assert [(each.network, each.status) for each in shown] == [("lenet_5", "fails"), ("lenet_300_100", "holds")]


def test_plot_puts_mean_interval_and_limit_on_one_scale():
    svg = parsed(cards.plot(status(mean=0.0, low=-1.0, high=1.0, limit=3.0))).svg
    interval = next(line for line in svg.find_all("line") if line.get("stroke-width") == "4")
    limit = next(line for line in svg.find_all("line") if line.get("stroke-dasharray"))
    left, right, dot = float(interval["x1"]), float(interval["x2"]), float(svg.circle["cx"])
    assert dot == pytest.approx((left + right) / 2, abs=0.1)
    assert float(limit["x1"]) - dot == pytest.approx(3 * (right - dot), abs=0.3)
    assert "-1.00 to +1.00" in svg["aria-label"] and "limit 3" in svg["aria-label"]


@pytest.mark.parametrize("limit", [0.01, 0.06, 3.0])  # below the interval, inside it, far above
def test_plot_names_its_limit_wherever_it_stands(limit):
    svg = parsed(cards.plot(status(mean=0.05, low=0.02, high=0.08, limit=limit))).svg
    mean, named = svg.find_all("text")
    assert (mean.get_text(), named.get_text()) == ("+0.05 points", f"limit {limit:+.2f}")
    line = next(line for line in svg.find_all("line") if line.get("stroke-dasharray"))
    assert float(mean["y"]) < float(line["y1"]) and float(line["y2"]) < float(named["y"])
    half = 4.1 * len(named.get_text())
    assert float(named["x"]) == pytest.approx(min(max(float(line["x1"]), half), 176 - half), abs=0.1)


def test_card_says_where_the_paper_says_it_where_there_is_room():
    assert parsed(cards.card(claim(status(), source="Table 1"))).dt.get_text() == "paper, Table 1"
    assert parsed(cards.card(claim(status(), source="Table 1", claim=" ".join(["long"] * 26)))).dt.get_text() == "paper"


def test_what_was_not_measured_has_no_plot():
    nothing = dict.fromkeys(("mean", "low", "high", "limit"), math.nan)
    assert not parsed(cards.plot(status(said="undecided", seeds=0, **nothing))).svg


def test_grid_can_be_filtered_by_verdict_and_network():
    each = [claim(status()), claim(status("alexnet_32"), id="C03", verdict="mixed", claim="AlexNet", measured_on="x")]
    grid = parsed(functions("scorecard").grid(each))
    labels = [" ".join(label.get_text().split()) for label in grid.select("label")]
    assert labels == ["all verdicts", "reproduced (1)", "mixed (1)", "all networks", "LeNet-5 (1)", "AlexNet (1)"]
    assert {"v-mixed", "n-alexnet"} <= set(grid.select(".card-claim")[1]["class"])


def test_a_control_that_holds_on_a_stand_in_is_counted():
    card = pd.DataFrame({"id": ["K01", "K02", "K03"], "verdict": ["inconclusive", *2 * ["reproduced on a stand-in"]]})
    assert functions("scorecard").tally(card) == "2 reproduced on a stand-in, 1 inconclusive"


def test_every_choice_of_the_filter_has_its_rule_in_the_style_sheet():
    from replication import paths

    sheet = (paths.BOOK / "_static" / "book.css").read_text()
    rules = set(re.findall(r"#show-([\w-]+):checked\) \.card-claim:not\(\.(?:v|n)-\1\)", sheet))
    assert rules == {cards.slug(name) for name in (*cards.MARKS, *cards.NETWORKS)}


def test_lenet_5_is_not_taken_for_another():
    assert cards.networks(claim(claim="LeNet-300-100 is pruned", measured_on="")) == ["LeNet-300-100"]
