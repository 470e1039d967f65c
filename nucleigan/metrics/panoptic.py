"""Panoptic quality (Kirillov et al. 2019)."""

from typing import NamedTuple

import numpy as np

from nucleigan.metrics.matching import pairs_above
from nucleigan.metrics.table import Contingency, contingency


class PanopticQuality(NamedTuple):
    """All in [0, 1]; ``pq`` is the product of the other two.

    Attributes
    ----------
    pq
        Panoptic quality.
    sq
        Segmentation quality: mean IoU of the matched pairs; 0 without any.
    dq
        Detection quality: F1 of the nuclei at IoU above one half.
    """

    pq: float
    sq: float
    dq: float


def panoptic_quality(truth: np.ndarray, prediction: np.ndarray) -> PanopticQuality:
    """Panoptic, segmentation and detection quality; pairs match when their IoU exceeds 0.5.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.

    Returns
    -------
    All 1 when both maps are empty, all 0 when one is.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared.
    """
    return panoptic_quality_of(contingency(truth, prediction))


def panoptic_quality_of(table: Contingency) -> PanopticQuality:
    """Panoptic quality of a contingency table; see :func:`panoptic_quality`."""
    if table.both_empty:
        return PanopticQuality(1.0, 1.0, 1.0)
    matched = pairs_above(table, 0.5)
    if len(matched) == 0:
        return PanopticQuality(0.0, 0.0, 0.0)
    sq = float(table.iou[matched].mean())
    dq = 2 * len(matched) / (table.truths + table.predictions)
    return PanopticQuality(sq * dq, sq, dq)
