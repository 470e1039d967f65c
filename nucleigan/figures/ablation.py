"""What each training set brings, as dots with intervals."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from nucleigan.artifacts import atomic, read_table
from nucleigan.evaluation.curves import shown_split
from nucleigan.figures.evaluation import BAR_COLOURS

KINDS = {"real": "real", "both": "real and synthetic", "synthetic": "synthetic"}


def plot_training_sets(organs: str | Path, output: str | Path) -> None:
    """Draw the overall AJI of each training set, best data at the top.

    Parameters
    ----------
    organs
        ``organs.csv`` of a comparison.
    output
        PNG: a line for each training set; dots are means over seeds and organs, lines 95 %
        intervals over slides, and beside them the standard deviation over seeds. Of test slides,
        or else of the first split that was judged.
    """
    table = read_table(organs)
    table = table[table["organ"] == "overall"]
    split = shown_split(table["split"])
    rows: Any = table[table["split"] == split].iloc[::-1]
    figure, axes = plt.subplots(figsize=(7.5, 1.2 + 0.4 * len(rows)), layout="constrained")
    names = []
    for place, row in enumerate(rows.itertuples()):
        kind, _, count = str(row.data).partition("-")
        colour = BAR_COLOURS[list(KINDS).index(kind)]
        axes.plot([row.aji_low, row.aji_high], [place, place], color=colour, linewidth=2)
        axes.plot(row.aji, place, "o", color=colour)
        spread = f" ± {row.aji_sd:.3f}" if row.seeds > 1 else ""
        axes.annotate(
            f"{row.aji:.3f}{spread}",
            (row.aji, place),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
        slides = f", {count} slide{'s' * (count != '1')}" if count else ""
        names.append(f"{KINDS[kind]}{slides}")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.2)
    axes.set_xlabel(f"Aggregated Jaccard index, mean of the organs, {split} slides")
    axes.spines[["top", "right"]].set_visible(False)
    with atomic(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)
