"""Where the centre of each pixel's nucleus lies: what a segmenter may learn beside the mask."""

import numpy as np

# Down and to the right.
CHANNELS = 2


def to_centres(labels: np.ndarray) -> np.ndarray:
    """The way from each pixel of a nucleus to its centre of mass.

    Two nuclei that touch point away from each other along their whole border, so that who learns
    this learns to tell them apart (Graham et al. 2019 use such maps, scaled by a nucleus's size).

    Parameters
    ----------
    labels
        (H, W) integers, 0 background, ids positive. A nucleus that the edge cuts has the centre of
        what is seen.

    Returns
    -------
    (2, H, W) float32, pixels down and to the right; NaN in the background.
    """
    ways = np.full((CHANNELS, *labels.shape), np.nan, np.float32)
    inside = labels != 0
    # Renumbered, for ids may be far larger than their number.
    index = np.unique(labels[inside], return_inverse=True)[1].ravel()
    areas = np.bincount(index)
    for way, places in zip(ways, np.nonzero(inside), strict=True):
        centres = np.bincount(index, places) / areas
        way[inside] = centres[index] - places
    return ways
