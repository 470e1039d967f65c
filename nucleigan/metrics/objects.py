"""F1 of whole nuclei, matched by overlap or by centroid."""

from typing import NamedTuple

import numpy as np

from nucleigan.errors import NucleiganError
from nucleigan.metrics.matching import pairs_above
from nucleigan.metrics.table import Contingency, contingency

# Of the averaged F1, as in COCO.
THRESHOLDS = tuple(step / 100 for step in range(50, 100, 5))
# µm per pixel of a slide at 40×.
FULL_MPP = 0.25
# The distance of Sirinukunwattana et al. 2016 (6 pixels at 20×), µm, and in pixels at 40×.
RADIUS_UM = 3.0
RADIUS = RADIUS_UM / FULL_MPP


class ObjectScores(NamedTuple):
    """Precision, recall and their harmonic mean, each in [0, 1], with the number of matches."""

    precision: float
    recall: float
    f1: float
    matched: int


def object_f1(truth: np.ndarray, prediction: np.ndarray, threshold: float = 0.5) -> float:
    """F1 of nuclei that are matched one to one when their IoU exceeds a threshold.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.
    threshold
        In [0, 1). The IoU must exceed it, so an IoU of exactly 0.5 is no match at 0.5; at 0 any
        overlap counts. Below 0.5, where partners can compete, as many pairs as possible are made.

    Returns
    -------
    In [0, 1]; 1 when both maps are empty, 0 when one is.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared, or the threshold lies outside its range.
    """
    return object_scores_of(contingency(truth, prediction), threshold).f1


def object_scores_of(table: Contingency, threshold: float = 0.5) -> ObjectScores:
    """Precision, recall and F1 of a contingency table; see :func:`object_f1`."""
    if not 0 <= threshold < 1:
        raise NucleiganError(
            f"The IoU threshold is {threshold}; expected a number from 0 to below 1; change it."
        )
    return _scores(len(pairs_above(table, threshold)), table.truths, table.predictions)


def object_f1_mean(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Mean of :func:`object_f1` over the thresholds 0.50, 0.55, ..., 0.95."""
    return object_f1_mean_of(contingency(truth, prediction))


def object_f1_mean_of(table: Contingency) -> float:
    """Mean F1 of a contingency table; see :func:`object_f1_mean`."""
    return float(np.mean([object_scores_of(table, threshold).f1 for threshold in THRESHOLDS]))


def detection_f1(truth: np.ndarray, prediction: np.ndarray, radius: float = RADIUS) -> float:
    """F1 of nuclei that are matched one to one when their centroids are close.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.
    radius
        Greatest distance of matched centroids, pixels. As many pairs as possible are made.

    Returns
    -------
    In [0, 1]; 1 when both maps are empty, 0 when one is.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared, or the radius is negative.
    """
    return detection_scores_of(contingency(truth, prediction), radius).f1


def detection_scores_of(table: Contingency, radius: float = RADIUS) -> ObjectScores:
    """Precision, recall and F1 by centroid of a contingency table; see :func:`detection_f1`."""
    if not radius >= 0:
        raise NucleiganError(
            f"The radius of detection is {radius}; expected pixels, 0 or more; change it."
        )
    return _scores(_close_pairs(table, radius), table.truths, table.predictions)


def centroids(labels: np.ndarray) -> np.ndarray:
    """Mean row and column of each nucleus, in reading order; (n, 2) float64, pixels."""
    return contingency(labels, labels).truth_centroid


def _close_pairs(table: Contingency, radius: float) -> int:
    """How many one-to-one pairs of centroids within a radius there can be."""
    if table.truths == 0 or table.predictions == 0:
        return 0
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching
    from scipy.spatial import KDTree

    near = KDTree(table.truth_centroid).sparse_distance_matrix(
        KDTree(table.prediction_centroid), radius, output_type="ndarray"
    )
    shape = (table.truths, table.predictions)
    graph = csr_array((np.ones(len(near), bool), (near["i"], near["j"])), shape=shape)
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))


def _scores(matched: int, truths: int, predictions: int) -> ObjectScores:
    if truths == 0 and predictions == 0:
        return ObjectScores(1.0, 1.0, 1.0, 0)
    precision = matched / predictions if predictions else 0.0
    recall = matched / truths if truths else 0.0
    return ObjectScores(precision, recall, 2 * matched / (truths + predictions), matched)
