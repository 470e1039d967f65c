"""Curves of models: F1 over IoU thresholds, detection over size, calibration."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nucleigan.artifacts import atomic
from nucleigan.figures.evaluation import BAR_COLOURS, MARKERS
from nucleigan.figures.legends import legend_below

# Of a figure with a short legend, and of a further line of it, inches.
HEIGHT, LINE = 4.6, 0.21


def f1_over_thresholds(models: Mapping[str, pd.DataFrame], split: str, output: str | Path) -> None:
    """Draw a line a model.

    Parameters
    ----------
    models
        Name to the columns ``threshold`` and ``f1``.
    split
        Of the slides.
    output
        PNG.
    """
    figure, axes = _empty(f"F1 of nuclei, split {split}")
    lines = {}
    for style, (name, table) in zip(_styles(), models.items(), strict=False):
        lines[name] = axes.plot(table["threshold"], table["f1"], **style)[0]
    axes.set(xlabel="IoU that a match must exceed", ylabel="F1", xlim=(0.48, 0.97), ylim=(0, 1))
    _write(figure, lines, output)


def detection_by_size(models: Mapping[str, pd.DataFrame], split: str, output: str | Path) -> None:
    """Draw a line a model, with intervals.

    Parameters
    ----------
    models
        Name to the columns ``diameter`` (µm), ``rate``, ``rate_low`` and ``rate_high``.
    split
        Of the slides.
    output
        PNG.
    """
    figure, axes = _empty(f"Nuclei found by size, split {split}")
    lines = {}
    for style, (name, table) in zip(_styles(), models.items(), strict=False):
        lines[name] = axes.plot(table["diameter"], table["rate"], **style)[0]
        axes.vlines(table["diameter"], table["rate_low"], table["rate_high"], color=style["color"])
    axes.set(xlabel="Diameter of a disc of the nucleus's area, µm", ylim=(0, 1.02))
    axes.set_ylabel("Part found (IoU above 0.5)")
    _write(figure, lines, output)


def calibration(models: Mapping[str, pd.DataFrame], output: str | Path) -> None:
    """Draw observed against predicted probability, a line a model.

    Parameters
    ----------
    models
        Name to the columns ``predicted``, ``observed`` and ``pixels``.
    output
        PNG.
    """
    figure, axes = _empty("Probability of the mask")
    lines = {"perfect": axes.plot([0, 1], [0, 1], color="0.6", linestyle="--")[0]}
    for style, (name, table) in zip(_styles(), models.items(), strict=False):
        error = calibration_error(table)
        label = f"{name} ({'no probability' if np.isnan(error) else f'error {error:.3f}'})"
        lines[label] = axes.plot(table["predicted"], table["observed"], **style)[0]
    axes.set(xlabel="Predicted probability", ylabel="Observed part of the pixels")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _write(figure, lines, output)


def calibration_error(table: pd.DataFrame) -> float:
    """Mean distance of observed from predicted probability over pixels, in [0, 1]; NaN of none."""
    known = table[table["pixels"] > 0]
    if known.empty:
        return float("nan")
    gap = (known["predicted"] - known["observed"]).abs()
    return float(np.average(gap, weights=known["pixels"]))


def _styles() -> Iterator[dict[str, Any]]:
    """Colours with markers, so that lines differ in print as well; they repeat without end."""
    return itertools.cycle(
        {"color": colour, "marker": marker, "markersize": 5}
        for marker in ("o", *MARKERS)
        for colour in BAR_COLOURS
    )


def _empty(title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(color="0.9", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _write(figure: Any, lines: Mapping[str, Any], output: str | Path) -> None:
    rows = legend_below(figure, list(lines.values()), list(lines), most=2)
    # The legend lies below, and must not press the axes flat.
    figure.set_figheight(HEIGHT + LINE * max(0, rows - 2))
    with atomic(output) as temporary:
        # Without the program's version, equal results give equal files.
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
