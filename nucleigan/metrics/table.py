"""The one table that every overlap metric is computed from.

Ties between equally good partners go to the larger overlap, then to the higher IoU, then to the
nucleus that comes first in reading order, so no result depends on which ids the nuclei have.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nucleigan.errors import NucleiganError

# Tables of at most this many cells are counted directly; larger ones by sorting.
DIRECT = 20_000_000


@dataclass(frozen=True)
class Contingency:
    """How many pixels each true nucleus shares with each predicted one.

    Attributes
    ----------
    truth_ids, prediction_ids
        (n,) and (m,): ids as in the label maps, nuclei in reading order.
    truth_area, prediction_area
        (n,) and (m,) int64, pixels.
    row, column
        (k,) int64: indices of the nuclei that overlap, sorted by row, then column.
    overlap
        (k,) int64, pixels they share; at least 1.
    """

    truth_ids: np.ndarray
    prediction_ids: np.ndarray
    truth_area: np.ndarray
    prediction_area: np.ndarray
    row: np.ndarray
    column: np.ndarray
    overlap: np.ndarray

    @property
    def truths(self) -> int:
        """Number of true nuclei."""
        return len(self.truth_ids)

    @property
    def predictions(self) -> int:
        """Number of predicted nuclei."""
        return len(self.prediction_ids)

    @property
    def both_empty(self) -> bool:
        """Whether there is nothing to find and nothing was found."""
        return self.truths == 0 and self.predictions == 0

    @cached_property
    def union(self) -> np.ndarray:
        """(k,) int64: pixels that either nucleus of a pair covers."""
        return self.truth_area[self.row] + self.prediction_area[self.column] - self.overlap

    @cached_property
    def iou(self) -> np.ndarray:
        """(k,) float64: intersection over union of each pair."""
        return self.overlap / self.union

    def best_per_truth(self, score: np.ndarray) -> np.ndarray:
        """Positions in the table of the highest-scoring pair of each true nucleus that has one."""
        order = np.lexsort((self.column, -self.iou, -self.overlap, -score, self.row))
        rows = self.row[order]
        return order[np.r_[True, rows[1:] != rows[:-1]]] if len(order) else order


def check(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both label maps as arrays, after checking that they can be compared.

    Raises
    ------
    NucleiganError
        When one is not a two-dimensional map of integers from 0, or their shapes differ.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    for name, labels in (("true", truth), ("predicted", prediction)):
        if labels.ndim != 2 or labels.dtype.kind not in "iu":
            raise NucleiganError(
                f"The {name} label map has shape {labels.shape} and type {labels.dtype}; expected "
                "(height, width) of an integer type; convert it first."
            )
        if labels.size and labels.min() < 0:
            raise NucleiganError(
                f"The {name} label map holds the id {labels.min()}; expected 0 for background and "
                "positive ids for nuclei; renumber it."
            )
    if truth.shape != prediction.shape:
        raise NucleiganError(
            f"The true label map is {truth.shape[0]}×{truth.shape[1]} pixels but the predicted one "
            f"{prediction.shape[0]}×{prediction.shape[1]}; expected one size; compare maps of the "
            "same slide at the same magnification."
        )
    return truth, prediction


def contingency(truth: np.ndarray, prediction: np.ndarray) -> Contingency:
    """Count the pixels that true and predicted nuclei share.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared; see :func:`check`.
    """
    truth, prediction = check(truth, prediction)
    truth_ids, truth_index = renumber(truth)
    prediction_ids, prediction_index = renumber(prediction)
    n, m = len(truth_ids), len(prediction_ids)
    shared = (truth_index > 0) & (prediction_index > 0)
    pairs = (truth_index[shared] - 1) * m + prediction_index[shared] - 1
    if n * m <= DIRECT:
        counts = np.bincount(pairs, minlength=n * m)
        cells = np.flatnonzero(counts)
        overlap = counts[cells]
    else:
        cells, overlap = np.unique(pairs, return_counts=True)
    row, column = np.divmod(cells, max(m, 1))
    return Contingency(
        truth_ids,
        prediction_ids,
        np.bincount(truth_index, minlength=n + 1)[1:],
        np.bincount(prediction_index, minlength=m + 1)[1:],
        row,
        column,
        overlap,
    )


def renumber(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number nuclei 1, 2, ... in the order of their first pixel, row by row.

    Returns
    -------
    ids
        (n,): the old id of each nucleus.
    index
        (H·W,) int64: the new number of each pixel, 0 background.
    """
    flat = labels.ravel()
    if flat.size and int(flat.max()) > 4 * flat.size:
        old, flat = np.unique(flat, return_inverse=True)
        if old[0] != 0:
            old, flat = np.r_[np.zeros(1, old.dtype), old], flat + 1
    else:
        old = np.arange(int(flat.max(initial=0)) + 1)
    first = np.full(len(old), flat.size)
    pixels = np.flatnonzero(flat)[::-1]
    # Of several values for one index the last is kept, here the smallest position.
    first[flat[pixels]] = pixels
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < flat.size)]
    number = np.zeros(len(old), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return old[order], number[flat]
