"""The method's page: its small network loses what the threshold says, and is drawn so."""

import matplotlib.pyplot as plt
import pytest
from pages import functions

PAGE = functions("method")


@pytest.mark.parametrize("quality", [0.0, 0.6, 1.2, 9.0])
def test_figure_3_keeps_and_draws_the_connections_above_their_layers_threshold(quality):
    drawing, rows, alt = PAGE.synapses(quality=quality)
    assert alt.endswith(f"and after, {rows.kept.sum()}.")
    threshold = quality * rows.groupby("layer").weight.transform("std", ddof=0)
    assert (rows.kept == (rows.weight.abs() > threshold)).all()
    before, after = drawing.axes
    assert (len(before.lines), len(after.lines)) == (len(rows), rows.kept.sum()) and len(rows) == 5 * 6 + 6 * 4
    assert after.get_title() == f"after pruning: {rows.kept.sum()} synapses"
    joined = set()
    for _, row in rows[rows.kept].iterrows():
        joined |= {(row.layer, row.input), ("fc2" if row.layer == "fc1" else "outputs", row.output)}
    dashed = [circle for circle in after.collections if circle.get_facecolor().size == 0]
    assert len(after.collections) == 5 + 6 + 4 and len(dashed) == 15 - len(joined)
    plt.close(drawing)
