"""Distances between the contours of matched nuclei."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nucleigan.metrics.table import Contingency, contingency

Statistic = Literal["maximum", "percentile95", "mean"]
Direction = Literal["symmetric", "truth_to_prediction", "prediction_to_truth"]
Misses = Literal["ignore", "diameter"]


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
class ContourDistances:
    """Distances between the contours of each matched true nucleus and its prediction.

    Attributes
    ----------
    cells
        (p,) positions in the contingency table of the pairs.
    outward
        One float64 array a pair, pixels: from each contour pixel of the true nucleus to the nearest
        of the predicted one.
    inward
        The same from the predicted contour to the true one.
    """

    cells: np.ndarray
    outward: list[np.ndarray]
    inward: list[np.ndarray]


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
        When the maps cannot be compared.
    """
    table = contingency(truth, prediction)
    distances = contour_distances(np.asarray(truth), np.asarray(prediction), table)
    return hausdorff_of(table, distances, statistic=statistic, direction=direction, misses=misses)


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
    reduce = _STATISTICS[statistic]
    if direction == "truth_to_prediction":
        values = [reduce(a) for a in distances.outward]
    elif direction == "prediction_to_truth":
        values = [reduce(b) for b in distances.inward]
    else:
        both = zip(distances.outward, distances.inward, strict=True)
        if statistic == "mean":
            values = [_mean(np.concatenate(pair)) for pair in both]
        else:
            values = [max(reduce(a), reduce(b)) for a, b in both]
    return np.asarray(values, np.float64)


def _maximum(values: np.ndarray) -> float:
    return float(values.max())


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def _percentile95(values: np.ndarray) -> float:
    """np.percentile(values, 95) without its overhead for short arrays."""
    place = 0.95 * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    ordered = np.sort(values)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


_STATISTICS: dict[Statistic, Callable[[np.ndarray], float]] = {
    "maximum": _maximum,
    "percentile95": _percentile95,
    "mean": _mean,
}


def contour_distances(
    truth: np.ndarray, prediction: np.ndarray, table: Contingency
) -> ContourDistances:
    """Measure the distances between the contours of each true nucleus and its best prediction.

    One search tree serves all pairs: a third coordinate sets them so far apart that the nearest
    point always belongs to the same pair.

    Parameters
    ----------
    truth, prediction
        (H, W) integer label maps.
    table
        Their contingency table.
    """
    from scipy.spatial import KDTree

    cells = table.best_per_truth(table.overlap)
    if len(cells) == 0:
        return ContourDistances(cells, [], [])
    far = float(sum(truth.shape))
    ours = _contours(truth, table.truth_ids[table.row[cells]], far)
    theirs = _contours(prediction, table.prediction_ids[table.column[cells]], far)
    outward = KDTree(np.concatenate(theirs)).query(np.concatenate(ours))[0]
    inward = KDTree(np.concatenate(ours)).query(np.concatenate(theirs))[0]
    return ContourDistances(cells, _split_like(outward, ours), _split_like(inward, theirs))


def _contours(labels: np.ndarray, ids: np.ndarray, far: float) -> list[np.ndarray]:
    """Contour pixels of each nucleus named, each nucleus on a level of its own."""
    inside = np.pad(labels, 1)
    middle = inside[1:-1, 1:-1]
    edge = np.zeros(labels.shape, bool)
    for shifted in (inside[:-2, 1:-1], inside[2:, 1:-1], inside[1:-1, :-2], inside[1:-1, 2:]):
        edge |= middle != shifted
    rows, columns = np.nonzero(edge & (labels != 0))
    owner = labels[rows, columns]
    order = np.argsort(owner, kind="stable")
    points = np.stack([rows, columns], axis=1)[order].astype(np.float64)
    owner = owner[order]
    starts = np.searchsorted(owner, ids, side="left")
    ends = np.searchsorted(owner, ids, side="right")
    return [
        np.column_stack([points[start:end], np.full(end - start, level * far)])
        for level, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def _split_like(values: np.ndarray, groups: list[np.ndarray]) -> list[np.ndarray]:
    return np.split(values, np.cumsum([len(group) for group in groups])[:-1])
