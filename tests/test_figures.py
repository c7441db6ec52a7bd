"""The figures that several pages share, and those of single pages, on made-up records whose numbers are known."""

import pytest

from replication import pages, paper


@pytest.mark.parametrize("verdict", paper.VERDICTS)
def test_white_is_read_on_the_colour_of_every_verdict(verdict):
    colour, _ = pages.VERDICT_MARKS[verdict]
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear))
    assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2, AA
    assert f"background: {colour}" in pages._badge(verdict)
