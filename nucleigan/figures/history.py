"""Curves of a training run."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from nucleigan.artifacts import atomic, read_table

# Columns with a panel of their own, and the words beside it.
PANELS = {
    "rate": "rate",
    "validation_aji": "AJI,\nvalidation",
    "spread": "spread",
    "hidden": "hidden",
    "contrast": "contrast",
    "bright": "bright",
    "woven": "woven",
    "kernel_distance": "kernel\ndistance",
}
# Points that are seen as such.
FEW = 60
NOT_LOSSES = {"epoch", "steps", "seconds", "waiting_seconds", *PANELS}


def plot_history(history: str | Path, output: str | Path) -> None:
    """Draw every loss over the steps, and below the learning rate and what was looked at.

    Parameters
    ----------
    history
        CSV with a row an epoch; the columns of :data:`PANELS` may be empty in some rows.
    output
        PNG.
    """
    table = read_table(history)
    losses = [name for name in table.columns if name not in NOT_LOSSES]
    panels = [name for name in PANELS if name in table.columns]
    figure, (upper, *lower) = plt.subplots(
        1 + len(panels),
        1,
        figsize=(8, 4 + len(panels)),
        sharex=True,
        height_ratios=(4, *(1 for _ in panels)),
        layout="constrained",
    )
    for name in losses:
        points = _points(len(table))
        upper.plot(table["steps"], table[name], label=name.replace("_", " "), marker=points)
    upper.set_ylabel("loss, weighted")
    upper.set_yscale("log")
    upper.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for name, axes in zip(panels, lower, strict=True):
        known = table.dropna(subset=[name])
        axes.plot(known["steps"], known[name], color="0.3", marker=_points(len(known)))
        axes.set_ylabel(PANELS[name])
        axes.set_ylim(min(0, known[name].min()), None)
    lower[-1].set_xlabel("step")
    with atomic(output) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def _points(number: int) -> str:
    """The marker of so many points; a line through one of them shows nothing."""
    return "." if number < FEW else ""
