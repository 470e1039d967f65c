"""Distances between the contours of matched nuclei."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from nucleigan.errors import NucleiganError
from nucleigan.metrics.table import Contingency, contingency

Statistic = Literal["maximum", "percentile95", "mean"]
Direction = Literal["symmetric", "truth_to_prediction", "prediction_to_truth"]
Misses = Literal["ignore", "diameter"]

# Two contours are compared point by point up to this many pairs of points, else by search trees.
POINT_BY_POINT = 20_000_000


class Hausdorff(NamedTuple):
    """An average distance, never to be quoted without its match rate.

    Attributes
    ----------
    distance
        Mean over nuclei, pixels; NaN when there is no nucleus to average over.
    match_rate
        Part of the true nuclei that overlap a prediction; NaN when there are no true nuclei.
    """

    distance: float
    match_rate: float


@dataclass(frozen=True)
class OneWay:
    """Distances from each pixel of one contour to the nearest of another, pair by pair, pixels.

    Attributes
    ----------
    maximum, percentile95, mean
        (p,) float64 each.
    count
        (p,) int64: pixels of the first contour.
    """

    maximum: np.ndarray
    percentile95: np.ndarray
    mean: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class ContourDistances:
    """Distances between the contours of each matched true nucleus and its prediction.

    Attributes
    ----------
    cells
        (p,) positions in the contingency table of the pairs.
    outward
        From the contour of the true nucleus to the predicted one.
    inward
        From the predicted contour to the true one.
    """

    cells: np.ndarray
    outward: OneWay
    inward: OneWay


def hausdorff(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    statistic: Statistic = "maximum",
    direction: Direction = "symmetric",
    misses: Misses = "ignore",
) -> Hausdorff:
    """Average Hausdorff distance between true nuclei and their predictions.

    Each true nucleus is compared with the prediction that covers the most of it; a prediction may
    serve several. The contour of a nucleus is its pixels with a neighbour (of four) outside it.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.
    statistic
        Of the distances from one contour to the other: ``maximum`` (the Hausdorff distance),
        ``percentile95``, or ``mean`` (the average surface distance).
    direction
        ``symmetric`` takes the larger of the two directions, for the mean that of all distances of
        both; the others take one direction only.
    misses
        ``ignore`` averages over matched nuclei; ``diameter`` charges each missed nucleus the
        diameter of a disk of its area.

    Returns
    -------
    The distance in pixels, and the match rate.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared, or there is no such variant.
    """
    _check_variant(statistic, direction, misses)
    table = contingency(truth, prediction)
    distances = contour_distances(np.asarray(truth), np.asarray(prediction), table)
    return hausdorff_of(table, distances, statistic=statistic, direction=direction, misses=misses)


def _check_variant(statistic: str, direction: str, misses: str) -> None:
    known = {"statistic": Statistic, "direction": Direction, "misses": Misses}
    for (name, values), given in zip(known.items(), (statistic, direction, misses), strict=True):
        if given not in get_args(values):
            raise NucleiganError(
                f"The {name} of the distance is {given!r}; expected one of "
                f"{', '.join(get_args(values))}; change it."
            )


def hausdorff_of(
    table: Contingency,
    distances: ContourDistances,
    *,
    statistic: Statistic = "maximum",
    direction: Direction = "symmetric",
    misses: Misses = "ignore",
) -> Hausdorff:
    """Average Hausdorff distance of known contour distances; see :func:`hausdorff`."""
    each = per_nucleus(distances, statistic, direction)
    missed = np.ones(table.truths, bool)
    missed[table.row[distances.cells]] = False
    if misses == "diameter":
        each = np.concatenate([each, 2 * np.sqrt(table.truth_area[missed] / np.pi)])
    return Hausdorff(
        float(each.mean()) if len(each) else float("nan"),
        float(1 - missed.mean()) if table.truths else float("nan"),
    )


def per_nucleus(
    distances: ContourDistances,
    statistic: Statistic = "maximum",
    direction: Direction = "symmetric",
) -> np.ndarray:
    """One distance for each matched nucleus; (p,) float64, pixels. See :func:`hausdorff`."""
    there, back = distances.outward, distances.inward
    outward, inward = getattr(there, statistic), getattr(back, statistic)
    if direction == "truth_to_prediction":
        values = outward
    elif direction == "prediction_to_truth":
        values = inward
    elif statistic == "mean":
        values = (outward * there.count + inward * back.count) / (there.count + back.count)
    else:
        values = np.maximum(outward, inward)
    return np.asarray(values, np.float64)


def contour_distances(
    truth: np.ndarray, prediction: np.ndarray, table: Contingency
) -> ContourDistances:
    """Measure the distances between the contours of each true nucleus and its best prediction.

    Parameters
    ----------
    truth, prediction
        (H, W) integer label maps.
    table
        Their contingency table.
    """
    cells = table.best_per_truth(table.overlap)
    ours = _Contours(truth, table.truth_ids[table.row[cells]])
    theirs = _Contours(prediction, table.prediction_ids[table.column[cells]])
    outward, inward = np.zeros((2, len(cells), 4))
    for pair in range(len(cells)):
        there, back = _both_ways(ours[pair], theirs[pair])
        outward[pair], inward[pair] = _statistics(there), _statistics(back)
    return ContourDistances(cells, _one_way(outward), _one_way(inward))


class _Contours:
    """Contour pixels of nuclei, looked up by their place among the ids given.

    The pixels of all nuclei lie in one array, sorted by nucleus.
    """

    def __init__(self, labels: np.ndarray, ids: np.ndarray) -> None:
        rows, columns = _edge_pixels(labels)
        owner = labels[rows, columns]
        order = np.argsort(owner, kind="stable")
        self.points = np.stack([rows[order], columns[order]], axis=1).astype(np.float64)
        owner = owner[order]
        self.start = np.searchsorted(owner, ids, side="left").tolist()
        self.end = np.searchsorted(owner, ids, side="right").tolist()

    def __getitem__(self, place: int) -> np.ndarray:
        """(c, 2) float64: rows and columns."""
        return self.points[self.start[place] : self.end[place]]


def _edge_pixels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of nucleus pixels with a neighbour (of four) outside the nucleus."""
    inside = np.zeros(labels.shape, bool)
    if min(labels.shape) > 2:
        middle = labels[1:-1, 1:-1]
        within = inside[1:-1, 1:-1]
        within[...] = middle == labels[:-2, 1:-1]
        for shifted in (labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:]):
            within &= middle == shifted
    edge = np.logical_not(inside, out=inside)
    edge &= labels != 0
    rows, columns = np.divmod(np.flatnonzero(edge), max(labels.shape[1], 1))
    return rows, columns


def _both_ways(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From each point of ``a`` the distance to the nearest of ``b``, and the other way round."""
    from scipy.spatial import KDTree
    from scipy.spatial.distance import cdist

    if len(a) * len(b) > POINT_BY_POINT:
        return KDTree(b).query(a)[0], KDTree(a).query(b)[0]
    # Squares are whole numbers, so nothing is lost before the root.
    squares = cdist(a, b, "sqeuclidean")
    return np.sqrt(squares.min(axis=1)), np.sqrt(squares.min(axis=0))


def _statistics(distances: np.ndarray) -> tuple[float, float, float, int]:
    """Maximum, 95th percentile (as ``np.percentile``, without its overhead), mean and count."""
    ordered = np.sort(distances)
    last = len(ordered) - 1
    below = int(0.95 * last)
    above = min(below + 1, last)
    percentile = ordered[below] + (0.95 * last - below) * (ordered[above] - ordered[below])
    return ordered[-1], percentile, ordered.mean(), len(ordered)


def _one_way(table: np.ndarray) -> OneWay:
    maximum, percentile95, mean, count = table.T
    return OneWay(maximum, percentile95, mean, count.astype(np.int64))
