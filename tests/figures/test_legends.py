"""Legends lie within their figures, and have all names."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from nucleigan.figures.curves import _styles, f1_over_thresholds
from nucleigan.figures.legends import legend_below


@pytest.mark.parametrize("width", [5.4, 8.0, 12.0])
@pytest.mark.parametrize("length", [1, 12, 28, 40, 60])
def test_a_legend_lies_within_its_figure(width, length):
    figure = Figure(figsize=(width, 4), layout="constrained")
    axes = figure.add_subplot()
    names = [f"{number}".rjust(length, "n") for number in range(6)]
    handles = [axes.plot([0, 1])[0] for _ in names]
    lines = legend_below(figure, handles, names, most=4)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= width * figure.dpi
    # As high as its text says.
    texts = figure.legends[0].get_texts()
    assert lines >= max(text.get_text().count("\n") + 1 for text in texts)
    assert box.height == pytest.approx(lines * 0.21 * figure.dpi, rel=0.35)


def test_names_that_matplotlib_would_hide_or_set_as_formulas_are_shown():
    figure = Figure()
    axes = figure.add_subplot()
    names = ["_first", "cost$a$", "plain"]
    legend_below(figure, [axes.plot([0, 1])[0] for _ in names], names, most=4)
    found = [text.get_text() for text in figure.legends[0].get_texts()]
    assert found == [" _first", r"cost\$a\$", "plain"]


def test_there_is_a_style_for_every_model():
    assert len(list(zip(_styles(), range(200), strict=False))) == 200


def test_long_names_do_not_press_the_axes_flat(tmp_path):
    table = pd.DataFrame({"threshold": [0.5, 0.7, 0.9], "f1": [0.8, 0.6, 0.2]})
    heights = []
    for name, length in (("short", 10), ("long", 150)):
        models = {f"{number}".rjust(length, "n"): table for number in range(7)}
        f1_over_thresholds(models, "test", tmp_path / name)
        picture = np.asarray(Image.open(tmp_path / name).convert("L"))
        # The left axis, a line of dark pixels.
        heights.append(max((column < 60).sum() for column in picture.T[:120]))
    assert heights[1] > 0.8 * heights[0] > 300
