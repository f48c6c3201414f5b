"""Charts: what is drawn agrees with the numbers beside it."""

import re

import numpy as np
import pytest

from ixc.training.conversations import draw_paper
from ixc.training.records import CHARTS
from ixc.training.wording import Split


@pytest.mark.parametrize("kind", CHARTS)
def test_a_chart_shows_its_values_to_scale(fonts, kind):
    """Oracle: lengths of bars, heights of points and angles of slices as drawn, against the values printed."""
    for seed in range(8):
        paper = draw_paper(np.random.default_rng([9, seed]), fonts, Split.TRAINING, kind)
        values = {a.question.names["name"]: a.question.answer for a in paper.asked if a.question.task == "chart value"}
        printed = np.array([float(re.search(r"([\d.]+)%?$", text)[1]) for text in values.values()])
        figures = paper.document.figures
        if kind == "pie chart":
            shown = np.array([np.subtract(*each.degrees[::-1]) for each in figures if each.form == "slice"])
        elif kind == "line chart":
            ground = max(each.box[1] for each in figures if each.form == "rectangle")
            shown = np.array([ground - (each.box[1] + each.box[3]) / 2 for each in figures if each.form == "circle"])
        else:
            bars = np.array([each.box for each in figures[-len(printed) :]])
            sides = bars[:, 2:] - bars[:, :2]
            shown = sides[:, 0] if np.ptp(sides[:, 1]) < 1e-3 else sides[:, 1]
        assert shown / shown.max() == pytest.approx(printed / printed.max(), abs=0.02)
        for line in paper.document.lines:
            right = line.left_px + line.font.starts_px(line.font_px, line.text)[-1]
            assert line.left_px >= 0
            assert right <= paper.document.size_px.width + 1
            assert line.baseline_px < paper.document.size_px.height
