"""What each training set brings, as dots with intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from nucleigan.artifacts import atomic, read_table
from nucleigan.evaluation.columns import NAMES_ARE_TEXT
from nucleigan.evaluation.summary import OVERALL, sorted_organs
from nucleigan.figures.evaluation import BAR_COLOURS
from nucleigan.figures.legends import label
from nucleigan.splits import shown_split

KINDS = {"real": "real", "both": "real and synthetic", "synthetic": "synthetic"}
# Axes beside each other.
COLUMNS = 5
# Characters of an organ's name above its axes, a line.
LONGEST = 24


def plot_training_sets(organs: str | Path, output: str | Path) -> None:
    """Draw the AJI of each training set, over all and organ by organ, best data at the top.

    Parameters
    ----------
    organs
        ``organs.csv`` of a comparison.
    output
        PNG: axes overall and for each organ, in each a line for each training set; dots are means
        over seeds, lines 95 % intervals over patients, and beside the dots of the overall axes the
        standard deviation over seeds. Of test slides, or else of the first split that was judged.
    """
    table = read_table(organs, **NAMES_ARE_TEXT)
    # Names are kept as they are, and so would be the empty ends of an interval that there is not.
    numbers = ["aji", "aji_sd", "aji_low", "aji_high"]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    split = shown_split(table["split"])
    table = table[table["split"] == split]
    sets = list(dict.fromkeys(table["data"]))[::-1]
    shown = sorted_organs(set(table["organ"]) - {OVERALL})
    # A single one is what all are.
    shown = [OVERALL, *(shown if len(shown) > 1 else ())]
    # The overall axes have the width of two.
    rows = -(-(len(shown) + 1) // COLUMNS)
    figure = plt.figure(figsize=(13, rows * (0.9 + 0.36 * len(sets))), layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)
    scale: Any = None
    for place, organ in enumerate(shown):
        row, column = divmod(place + 1, COLUMNS)
        columns = slice(0, 2) if place == 0 else column
        # One scale for all organs.
        axes = figure.add_subplot(grid[row, columns], sharex=scale)
        scale = axes if place == 1 else scale
        of_organ = table[table["organ"] == organ].set_index("data")
        _draw_sets(axes, of_organ, sets, place == 0)
        named = place == 0 or column == 0
        axes.set_yticks(range(len(sets)), [_name(name) for name in sets] if named else [])
        title = f"mean of the organs, {split} slides" if place == 0 else label(organ, LONGEST)
        axes.set_title(title, fontsize=10)
    figure.supxlabel("Aggregated Jaccard index", fontsize=10)
    with atomic(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)


def _draw_sets(axes: Any, table: pd.DataFrame, sets: Sequence[str], numbers: bool) -> None:
    """A dot and its interval for each training set that the table has, from the bottom up."""
    for place, name in enumerate(sets):
        if name not in table.index:
            continue
        row = table.loc[name]
        colour = BAR_COLOURS[list(KINDS).index(name.partition("-")[0])]
        axes.plot([row["aji_low"], row["aji_high"]], [place, place], color=colour, linewidth=2)
        axes.plot(row["aji"], place, "o", color=colour, markersize=5)
        if numbers:
            spread = f" ± {row['aji_sd']:.3f}" if row["seeds"] > 1 else ""
            axes.annotate(
                f"{row['aji']:.3f}{spread}",
                (row["aji"], place),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.set_ylim(-0.6, len(sets) - 0.2)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _name(data: str) -> str:
    kind, _, count = data.partition("-")
    return f"{KINDS[kind]}" + (f", {count} slide{'s' * (count != '1')}" if count else "")
