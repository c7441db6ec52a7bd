"""The figures that several pages share, and those of single pages, on made-up records whose numbers are known."""

import pytest

from replication import limit_pages, pages, paper
from replication.runs import Record


def made(rate: float, errors: int, network: str = "lenet_5", stage: str = "round 1") -> Record:
    """A run of `network` at this compression rate, with so many errors on 10,000 test and validation images."""
    layers = [{"layer": "fc1", "weights": 1_000, "weight_density": 1 / rate}]
    score = {"errors": errors, "images": 10_000}
    metrics = {"test": score, "validation": score, "layers": layers}
    return Record({"key": f"{rate}", "run": {"seed": 100, "network": network}, "stage": stage, "metrics": metrics})


@pytest.mark.parametrize("verdict", paper.VERDICTS)
def test_white_is_read_on_the_colour_of_every_verdict(verdict):
    colour, _ = pages.VERDICT_MARKS[verdict]
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear))
    assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2, AA
    assert f"background: {colour}" in pages._badge(verdict)


def test_the_limit_is_the_last_rate_before_the_error_leaves_the_margin():
    chain = [made(rate, errors) for rate, errors in ((1, 100), (5, 105), (10, 125), (20, 108), (50, 200))]
    text = limit_pages.summary({"lenet_5": [chain]})
    assert "up to 5x the test error is within 0.10 points of the dense network's (1.00 %)" in text
