"""Curves of a training run."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from nucleigan.artifacts import atomic

NOT_LOSSES = {"epoch", "steps", "rate", "seconds", "waiting_seconds"}


def plot_history(history: str | Path, output: str | Path) -> None:
    """Draw every loss over the steps, and the learning rate below.

    Parameters
    ----------
    history
        CSV with a row an epoch.
    output
        PNG.
    """
    table = pd.read_csv(history)
    losses = [name for name in table.columns if name not in NOT_LOSSES]
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(8, 5), sharex=True, height_ratios=(4, 1), layout="constrained"
    )
    for name in losses:
        upper.plot(table["steps"], table[name], label=name.replace("_", " "))
    upper.set_ylabel("loss, weighted")
    upper.set_yscale("log")
    upper.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    lower.plot(table["steps"], table["rate"], color="0.3")
    lower.set_ylabel("rate")
    lower.set_ylim(0, 1.1)
    lower.set_xlabel("step")
    with atomic(output) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)
