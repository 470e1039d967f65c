"""Stain vectors of slides."""

from pathlib import Path

import numpy as np
import pandas as pd

from nucleigan.artifacts import atomic
from nucleigan.figures.legends import legend_below

# Blue and reddish purple of Okabe & Ito 2008.
COLOURS = {"haematoxylin": "#0072B2", "eosin": "#CC79A7"}
MARKERS = {"haematoxylin": "o", "eosin": "s"}


def stain_vectors(
    table: pd.DataFrame, reference: np.ndarray, name: str, output: str | Path
) -> None:
    """Draw the red and blue part of every stain vector, before and after normalisation.

    Parameters
    ----------
    table
        Columns ``stain``, ``time``, ``red``, ``blue`` and ``angle`` (degrees to the reference).
    reference
        (2, 3) unit rows, haematoxylin and eosin, of the reference slide.
    name
        Of the reference slide.
    output
        PNG.
    """
    from matplotlib.figure import Figure

    times = [time for time in ("before", "after") if (table["time"] == time).any()]
    figure = Figure(figsize=(4.6 * len(times) + 0.4, 4.8), layout="constrained")
    panels = figure.subplots(1, len(times), sharex=True, sharey=True, squeeze=False)[0]
    for axes, time in zip(panels, times, strict=True):
        parts = []
        for stain, colour in COLOURS.items():
            rows = table[(table["time"] == time) & (table["stain"] == stain)]
            style = {"color": colour, "marker": MARKERS[stain], "alpha": 0.7}
            axes.scatter(rows["red"], rows["blue"], s=28, linewidths=0, label=stain, **style)
            parts.append(f"{stain} {rows['angle'].mean():.1f}°")
        axes.scatter(
            reference[:, 0],
            reference[:, 2],
            s=150,
            marker="*",
            color="black",
            edgecolors="white",
            label=f"reference: {name}",
            zorder=3,
        )
        axes.set_title(f"{time} normalisation\nmean angle to the reference: {', '.join(parts)}")
        axes.title.set_fontsize(9)
        axes.set_xlabel("optical density, red (unit vector)")
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("optical density, blue")
    handles, names = panels[0].get_legend_handles_labels()
    legend_below(figure, handles, names, most=3)
    with atomic(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
