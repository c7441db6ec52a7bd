"""The networks at their true size beside what Tables 4 and 5 print, worked out by hand."""

import pytest

from replication.report import true_size


def test_alexnets_counts_stand_beside_the_printed_ones():
    table = true_size.table("alexnet").set_index("layer")
    assert table["ours weights"]["conv2"] == 256 * 48 * 5 * 5 and table["paper weights"]["conv2"] == 307_000
    assert table["ours FLOP"]["conv2"] == 2 * 256 * 48 * 5 * 5 * 27 * 27
    assert table["ours weights"]["total"] == 60_954_656 and table["paper weights"]["total"] == 61_000_000
    assert table["ours FLOP %"]["conv1"] == 84  # the image is dense
    assert table["ours FLOP %"]["conv2"] == pytest.approx(38 * 0.88)
    assert table["ours FLOP %"]["total"] == pytest.approx(30.26, abs=0.01) and table["paper FLOP %"]["total"] == 30


def test_totals_follow_from_the_printed_densities():
    text = true_size.summary("vgg16")
    assert text.startswith("At true size: 138,344,128 weights and 30.941G FLOPs.")
    assert "10.53M weights are left, a rate of **13.1x**" in text
    assert "FLOPs 20.7 % (printed 21), **4.8x** less" in text
