"""Distributions of two groups beside each other."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nucleigan.artifacts import atomic
from nucleigan.figures.evaluation import BAR_COLOURS

BINS = 40
# Beyond this quantile of both groups the axis ends.
END = 0.99


def distributions(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]], names: tuple[str, str], output: str | Path
) -> None:
    """Draw one panel a quantity with the densities of both groups.

    Parameters
    ----------
    panels
        Label of the axis to the values of both groups, (N,) and (M,).
    names
        Of the groups.
    output
        PNG.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (label, groups) in zip(axes, panels.items(), strict=False):
        known = [values for values in groups if len(values)]
        if known:
            low = min(float(values.min()) for values in known)
            high = max(float(np.quantile(values, END)) for values in known)
            edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
            for name, values, colour in zip(names, groups, BAR_COLOURS, strict=False):
                axis.hist(values, edges, density=True, histtype="step", color=colour, label=name)
        axis.set(xlabel=label, yticks=[])
        axis.spines[["top", "right", "left"]].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    with atomic(output) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
