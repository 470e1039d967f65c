"""F1 of whole nuclei, matched by overlap or by centroid."""

from typing import NamedTuple

import numpy as np

from nucleigan.errors import NucleiganError
from nucleigan.metrics.matching import pairs_above
from nucleigan.metrics.table import Contingency, check, contingency, renumber

# Of the averaged F1, as in COCO.
THRESHOLDS = tuple(step / 100 for step in range(50, 100, 5))
# 12 pixels at 40× are 3 µm, the distance of Sirinukunwattana et al. 2016 (6 pixels at 20×).
RADIUS = 12.0


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
        When the maps cannot be compared.
    """
    truth, prediction = check(truth, prediction)
    true, predicted = centroids(truth), centroids(prediction)
    matched = _close_pairs(true, predicted, radius) if len(true) and len(predicted) else 0
    return _scores(matched, len(true), len(predicted)).f1


def centroids(labels: np.ndarray) -> np.ndarray:
    """Mean row and column of each nucleus, in reading order; (n, 2) float64, pixels."""
    ids, index = renumber(labels)
    pixels = np.flatnonzero(index)
    index = index[pixels] - 1
    area = np.bincount(index, minlength=len(ids))
    rows, columns = np.divmod(pixels, max(labels.shape[1], 1))
    sums = [np.bincount(index, axis, minlength=len(ids)) for axis in (rows, columns)]
    return np.stack(sums, axis=1) / area[:, None]


def _close_pairs(true: np.ndarray, predicted: np.ndarray, radius: float) -> int:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching
    from scipy.spatial import KDTree

    near = KDTree(true).query_ball_point(predicted, radius)
    counts = [len(partners) for partners in near]
    columns = np.concatenate([np.asarray(partners, np.int64) for partners in near])
    rows = np.repeat(np.arange(len(predicted)), counts)
    graph = csr_array(
        (np.ones(len(rows), bool), (rows, columns)), shape=(len(predicted), len(true))
    )
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))


def _scores(matched: int, truths: int, predictions: int) -> ObjectScores:
    if truths == 0 and predictions == 0:
        return ObjectScores(1.0, 1.0, 1.0, 0)
    precision = matched / predictions if predictions else 0.0
    recall = matched / truths if truths else 0.0
    return ObjectScores(precision, recall, 2 * matched / (truths + predictions), matched)
