"""Where the centre of each pixel's nucleus lies: what a segmenter may learn beside the mask."""

import numpy as np

from nucleigan.masks.encoding import small_ids

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
    index = small_ids(labels)[inside]
    areas = np.bincount(index)
    for way, places in zip(ways, np.nonzero(inside), strict=True):
        # Ids that the map does not hold have no area.
        centres = np.bincount(index, places) / areas.clip(min=1)
        way[inside] = centres[index] - places
    return ways
