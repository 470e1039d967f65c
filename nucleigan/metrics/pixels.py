"""Agreement of nucleus pixels, whichever nucleus they belong to."""

import numpy as np

from nucleigan.metrics.table import Contingency, contingency


def pixel_dice(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Dice coefficient of nucleus pixels, which is also their F1.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.

    Returns
    -------
    In [0, 1]; 1 when both maps are empty, 0 when one is.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared.
    """
    return pixel_dice_of(contingency(truth, prediction))


# 2 TP / (2 TP + FP + FN) is both: one function, two names.
pixel_f1 = pixel_dice


def pixel_dice_of(table: Contingency) -> float:
    """Pixel Dice of a contingency table; see :func:`pixel_dice`."""
    if table.both_empty:
        return 1.0
    both = table.truth_area.sum() + table.prediction_area.sum()
    return float(2 * table.overlap.sum() / both)
