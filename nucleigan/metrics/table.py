"""The one sparse table that every metric but the distances of contours is computed from.

Ties between equally good partners go to the larger overlap, then to the higher IoU, then to the
nucleus that comes first in reading order, so no result depends on which ids the nuclei have.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nucleigan.errors import NucleiganError

# Pixels compared at a time when runs are looked for, so that large maps need little memory.
BLOCK = 1 << 22


@dataclass(frozen=True)
class Contingency:
    """How many pixels each true nucleus shares with each predicted one.

    Attributes
    ----------
    truth_ids, prediction_ids
        (n,) and (m,): ids as in the label maps, nuclei in reading order.
    truth_area, prediction_area
        (n,) and (m,) int64, pixels.
    truth_centroid, prediction_centroid
        (n, 2) and (m, 2) float64: mean row and column, pixels.
    row, column
        (k,) int64: indices of the nuclei that overlap, sorted by row, then column.
    overlap
        (k,) int64, pixels they share; at least 1.
    """

    truth_ids: np.ndarray
    prediction_ids: np.ndarray
    truth_area: np.ndarray
    prediction_area: np.ndarray
    truth_centroid: np.ndarray
    prediction_centroid: np.ndarray
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

    def keeping(self, kept: np.ndarray) -> "Contingency":
        """The table without the other predictions; ``kept`` is (m,) bool."""
        cells = kept[self.column]
        return Contingency(
            self.truth_ids,
            self.prediction_ids[kept],
            self.truth_area,
            self.prediction_area[kept],
            self.truth_centroid,
            self.prediction_centroid[kept],
            self.row[cells],
            (np.cumsum(kept) - 1)[self.column[cells]],
            self.overlap[cells],
        )

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
    runs = _runs(truth, prediction)
    truth_ids, truth_index = _renumber(truth.ravel()[runs.start])
    prediction_ids, prediction_index = _renumber(prediction.ravel()[runs.start])
    n, m = len(truth_ids), len(prediction_ids)
    truth_area, truth_centroid = _places(runs, truth_index, n)
    prediction_area, prediction_centroid = _places(runs, prediction_index, m)
    shared = (truth_index > 0) & (prediction_index > 0)
    pairs = (truth_index[shared] - 1) * m + prediction_index[shared] - 1
    cells, inverse = np.unique(pairs, return_inverse=True)
    overlap = np.bincount(inverse, runs.length[shared], minlength=len(cells)).astype(np.int64)
    row, column = np.divmod(cells, max(m, 1))
    return Contingency(
        truth_ids,
        prediction_ids,
        truth_area,
        prediction_area,
        truth_centroid,
        prediction_centroid,
        row,
        column,
        overlap,
    )


class _Runs(NamedTuple):
    """Pixels next to each other in a row of which both maps say the same.

    Attributes
    ----------
    start
        (r,) int64: position of the first pixel, row by row; not of runs of background alone.
    length
        (r,) int64, pixels.
    width
        Of the maps, pixels.
    """

    start: np.ndarray
    length: np.ndarray
    width: int


def _runs(truth: np.ndarray, prediction: np.ndarray) -> _Runs:
    """Cut two maps into runs: some dozens of times fewer than pixels, in reading order."""
    height, width = truth.shape
    starts, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    rows = max(1, BLOCK // max(width, 1))
    for top in range(0, height if width else 0, rows):
        true, predicted = truth[top : top + rows], prediction[top : top + rows]
        begins = np.ones(true.shape, bool)
        begins[:, 1:] = true[:, 1:] != true[:, :-1]
        begins[:, 1:] |= predicted[:, 1:] != predicted[:, :-1]
        start = np.flatnonzero(begins)
        length = np.diff(start, append=true.size)
        covered = (true.ravel()[start] != 0) | (predicted.ravel()[start] != 0)
        starts.append(start[covered] + top * width)
        lengths.append(length[covered])
    return _Runs(np.concatenate(starts), np.concatenate(lengths), width)


def _renumber(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number nuclei 1, 2, ... in the order of their first run.

    Parameters
    ----------
    ids
        (r,) integers: the id of each run, 0 background.

    Returns
    -------
    The old id of each nucleus, (n,), and the new number of each run, (r,) int64, 0 background.
    """
    if ids.size and int(ids.max()) > 4 * ids.size:
        old, index = np.unique(ids, return_inverse=True)
        if old[0] != 0:
            old, index = np.r_[np.zeros(1, old.dtype), old], index + 1
    else:
        old, index = np.arange(int(ids.max(initial=0)) + 1), ids
    first = np.full(len(old), ids.size)
    runs = np.flatnonzero(index)[::-1]
    # Of several values for one index the last is kept, here the smallest position.
    first[index[runs]] = runs
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < ids.size)]
    number = np.zeros(len(old), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return old[order], number[index]


def _places(runs: _Runs, index: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Areas (n,) int64 and centroids (n, 2) float64 of nuclei 1 to ``count``."""
    row, column = np.divmod(runs.start, max(runs.width, 1))
    middle = column + (runs.length - 1) / 2
    # Sums of whole and half numbers: exact.
    area, rows, columns = (
        np.bincount(index, weights, minlength=count + 1)[1:]
        for weights in (runs.length, row * runs.length, middle * runs.length)
    )
    return area.astype(np.int64), np.stack([rows, columns], axis=1) / area[:, None]
