"""Aggregated Jaccard index (Kumar et al. 2017) and its one-to-one variant (Graham et al. 2019)."""

import numpy as np

from nucleigan.metrics.matching import pairs_of_greatest_iou
from nucleigan.metrics.table import Contingency, contingency


def aggregated_jaccard(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Aggregated Jaccard index, AJI.

    Each true nucleus takes the predicted one of highest IoU; a prediction may serve several.
    The intersections add up above, the unions, the missed nuclei and the unused predictions below.

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
    return aggregated_jaccard_of(contingency(truth, prediction))


def aggregated_jaccard_of(table: Contingency) -> float:
    """AJI of a contingency table; see :func:`aggregated_jaccard`."""
    return _aggregate(table, table.best_per_truth(table.iou))


def aggregated_jaccard_plus(truth: np.ndarray, prediction: np.ndarray) -> float:
    """AJI+, in which each prediction serves one true nucleus at most.

    The pairs are those whose IoUs add up to the most. Parameters, result and errors as for
    :func:`aggregated_jaccard`.
    """
    return aggregated_jaccard_plus_of(contingency(truth, prediction))


def aggregated_jaccard_plus_of(table: Contingency) -> float:
    """AJI+ of a contingency table; see :func:`aggregated_jaccard_plus`."""
    return _aggregate(table, pairs_of_greatest_iou(table))


def _aggregate(table: Contingency, cells: np.ndarray) -> float:
    if table.both_empty:
        return 1.0
    missed = np.ones(table.truths, bool)
    missed[table.row[cells]] = False
    unused = np.ones(table.predictions, bool)
    unused[table.column[cells]] = False
    below = (
        table.union[cells].sum()
        + table.truth_area[missed].sum()
        + table.prediction_area[unused].sum()
    )
    return float(table.overlap[cells].sum() / below)
