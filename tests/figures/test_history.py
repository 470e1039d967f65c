"""Curves of a training run."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nucleigan.artifacts import write_table
from nucleigan.figures.history import plot_history


@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_losses_are_seen_of_however_many_epochs(epochs, tmp_path):
    rows = {"epoch": range(1, epochs + 1), "rate": 1.0, "fool": np.linspace(2, 1, epochs)}
    table = pd.DataFrame({"steps": range(10, 10 * epochs + 1, 10), **rows})
    write_table(tmp_path / "history.csv", table)
    plot_history(tmp_path / "history.csv", tmp_path / "history.png")
    picture = np.asarray(Image.open(tmp_path / "history.png").convert("RGB")).astype(int)
    # The first colour, in the panel of the losses, which the legend lies beside.
    blue = (np.abs(picture - (31, 119, 180)).sum(axis=2) < 20)[: picture.shape[0] // 2]
    assert blue[:, : int(0.8 * picture.shape[1])].sum() > 8
