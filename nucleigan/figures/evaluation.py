"""Figures of the evaluation."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleigan.artifacts import atomic
from nucleigan.errors import shown
from nucleigan.figures.legends import legend_below

# Okabe & Ito 2008: told apart with every common kind of colour vision.
BAR_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MARKERS = ("*", "D", "s", "^", "v", "P")
# Of models beyond as many as there are colours.
HATCHES = ("", "///", "...", "xxx")
# Longer names would lie over their neighbours.
LONGEST_NAME = 20
# Characters of a title that an inch has room for.
TITLE = 10


def by_organ(
    output: str | Path,
    organs: Sequence[str],
    models: Mapping[str, Mapping[str, float]],
    slides: Mapping[str, Mapping[str, Sequence[float]]],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]],
    published: Mapping[str, Mapping[str, float]],
    label: str,
    title: str,
) -> None:
    """Draw a measure by organ: bars for models, dots for slides, markers for published figures.

    Lines on the bars are intervals.

    Parameters
    ----------
    output
        PNG.
    organs
        Groups of bars, left to right.
    models
        Model to organ to figure in [0, 1]; organs may lack.
    slides
        Model to organ to the figures of its slides.
    intervals
        Model to organ to the ends of an interval; organs may lack, NaN is left out.
    published
        Name to organ to figure; drawn as markers over each group.
    label
        Of the vertical axis.
    title
        Of the figure.
    """
    from matplotlib.figure import Figure

    # Of each group, the right end is left to the published markers.
    width = 0.7 / max(len(models), 1)
    figure = Figure(figsize=(max(8.0, 0.95 * len(organs) + 2), 5.2), layout="constrained")
    axes = figure.add_subplot()
    bars, dots = [], None
    for i, (model, figures) in enumerate(models.items()):
        places = [j - 0.4 + (i + 0.5) * width for j in range(len(organs))]
        heights = [figures.get(organ, math.nan) for organ in organs]
        look: dict[str, Any] = {
            "color": BAR_COLOURS[i % len(BAR_COLOURS)],
            "hatch": HATCHES[i // len(BAR_COLOURS) % len(HATCHES)],
            "edgecolor": "white",
            "linewidth": 0,
        }
        bars.append(axes.bar(places, heights, 0.92 * width, zorder=2, **look))
        for place, organ in zip(places, organs, strict=True):
            ends = intervals.get(model, {}).get(organ, (math.nan, math.nan))
            if not math.isnan(ends[0]):
                axes.plot([place, place], ends, color="black", linewidth=1.4, zorder=3)
        found = [
            (place, value)
            for place, organ in zip(places, organs, strict=True)
            for value in slides.get(model, {}).get(organ, ())
        ]
        dots = axes.scatter(
            [place for place, _ in found],
            [value for _, value in found],
            s=16,
            color="white",
            edgecolors="black",
            linewidths=0.8,
            zorder=3,
        )
    markers = []
    for i, figures in enumerate(published.values()):
        marked = [(j, figures[organ]) for j, organ in enumerate(organs) if organ in figures]
        drawn = axes.scatter(
            [place + 0.39 for place, _ in marked],
            [value for _, value in marked],
            s=90 if MARKERS[i % len(MARKERS)] == "*" else 32,
            marker=MARKERS[i % len(MARKERS)],
            facecolors="black" if i == 0 else "#BBBBBB",
            edgecolors="white" if i == 0 else "black",
            linewidths=0.7,
            zorder=4,
        )
        markers.append(drawn)
    ticks = [shown(organ, LONGEST_NAME) for organ in organs]
    axes.set_xticks(range(len(organs)), ticks, rotation=20, ha="right", rotation_mode="anchor")
    axes.axvline(len(organs) - 1.46, color="0.7", linewidth=1, zorder=1)
    lines = [textwrap.fill(line, int(TITLE * figure.get_figwidth())) for line in title.split("\n")]
    axes.set(ylabel=label, ylim=(0, 1), xlim=(-0.6, len(organs) - 0.4), title="\n".join(lines))
    axes.grid(axis="y", color="0.9", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    one = [] if dots is None else [dots]
    names = [*models, *["one slide"] * len(one), *published]
    legend_below(figure, [*bars, *one, *markers], names, most=4)
    with atomic(output) as temporary:
        # Without the program's version, equal results give equal files.
        figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
