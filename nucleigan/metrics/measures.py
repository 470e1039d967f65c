"""All metrics of two label maps at once, each with its unit, matching rule and match rate."""

from dataclasses import dataclass

import numpy as np

from nucleigan.metrics.contours import (
    ContourDistances,
    Direction,
    Misses,
    Statistic,
    contour_distances,
    hausdorff_of,
)
from nucleigan.metrics.jaccard import aggregated_jaccard_of, aggregated_jaccard_plus_of
from nucleigan.metrics.matching import pairs_of_greatest_iou
from nucleigan.metrics.objects import (
    RADIUS,
    RADIUS_UM,
    THRESHOLDS,
    detection_scores_of,
    object_scores_of,
)
from nucleigan.metrics.panoptic import panoptic_quality_of
from nucleigan.metrics.pixels import pixel_dice_of
from nucleigan.metrics.table import Contingency, contingency

FRACTION, PIXELS = "1", "pixels"

GREATEST_IOU = "each true nucleus to the prediction of highest IoU, which may serve several"
GREATEST_SUM = "one to one, so that the IoUs add up to the most"
HALF = "one to one, IoU above 0.5"
MANY_THRESHOLDS = "one to one, IoU above 0.50, 0.55, ..., 0.95; the mean of the ten"
CLOSE = (
    f"one to one, centroids at most {RADIUS_UM:g} µm apart ({RADIUS:g} pixels at 0.25 µm per "
    "pixel), as many pairs as possible"
)
NO_MATCHING = "none: pixels of all nuclei together"
GREATEST_OVERLAP = (
    "each true nucleus to the prediction that covers the most of it, which may serve several"
)
CHARGED = f"{GREATEST_OVERLAP}; missed nuclei count with the diameter of a disk of their area"

# The variants of the distance between contours, by name.
VARIANTS: dict[str, tuple[Statistic, Direction, Misses]] = {
    "hausdorff": ("maximum", "symmetric", "ignore"),
    "hausdorff_to_prediction": ("maximum", "truth_to_prediction", "ignore"),
    "hausdorff_to_truth": ("maximum", "prediction_to_truth", "ignore"),
    "hausdorff_95": ("percentile95", "symmetric", "ignore"),
    "surface_distance": ("mean", "symmetric", "ignore"),
    "hausdorff_misses": ("maximum", "symmetric", "diameter"),
}

# The matching rule of each measure by name, in the order of :func:`measure_all`.
MATCHING = {
    "aji": GREATEST_IOU,
    "aji_plus": GREATEST_SUM,
    "pq": HALF,
    "sq": HALF,
    "dq": HALF,
    "f1": HALF,
    "precision": HALF,
    "recall": HALF,
    "f1_mean": MANY_THRESHOLDS,
    "detection_f1": CLOSE,
    "dice": NO_MATCHING,
} | {
    name: GREATEST_OVERLAP if misses == "ignore" else CHARGED
    for name, (_, _, misses) in VARIANTS.items()
}


@dataclass(frozen=True)
class Measure:
    """The value of a metric, and what has to be known to quote it.

    Attributes
    ----------
    value
        NaN where undefined.
    unit
        :data:`FRACTION`, in [0, 1] and better when larger, or :data:`PIXELS`, better when smaller.
    matching
        Which predicted nuclei are held against which true ones.
    match_rate
        Part of the true nuclei that this rule finds a partner for; NaN without true nuclei, and
        where nothing is matched.
    """

    value: float
    unit: str
    matching: str
    match_rate: float


def measure_all(truth: np.ndarray, prediction: np.ndarray) -> dict[str, Measure]:
    """Every metric of a predicted label map, from one table of overlaps.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.

    Returns
    -------
    ``aji``, ``aji_plus``, ``pq``, ``sq``, ``dq``, ``f1``, ``precision``, ``recall``, ``f1_mean``,
    ``detection_f1``, ``dice``, and the distances of :data:`VARIANTS`.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    table = contingency(truth, prediction)
    distances = contour_distances(truth, prediction, table)
    return overlap_measures_of(table) | distance_measures_of(table, distances)


def overlap_measures_of(table: Contingency, radius: float = RADIUS) -> dict[str, Measure]:
    """The metrics of a contingency table alone; see :func:`measure_all`.

    Parameters
    ----------
    table
        Overlaps of two maps.
    radius
        Greatest distance of centroids that ``detection_f1`` matches, pixels.
    """
    quality, scores = panoptic_quality_of(table), object_scores_of(table)
    detection = detection_scores_of(table, radius)
    at_thresholds = [object_scores_of(table, threshold) for threshold in THRESHOLDS]
    half = _rate(table, scores.matched)
    touched = _rate(table, len(np.unique(table.row)))
    assigned = _rate(table, len(pairs_of_greatest_iou(table)))
    strict = _rate(table, float(np.mean([s.matched for s in at_thresholds])))
    found = {
        "aji": (aggregated_jaccard_of(table), touched),
        "aji_plus": (aggregated_jaccard_plus_of(table), assigned),
        "pq": (quality.pq, half),
        "sq": (quality.sq, half),
        "dq": (quality.dq, half),
        "f1": (scores.f1, half),
        "precision": (scores.precision, half),
        "recall": (scores.recall, half),
        "f1_mean": (float(np.mean([s.f1 for s in at_thresholds])), strict),
        "detection_f1": (detection.f1, _rate(table, detection.matched)),
        "dice": (pixel_dice_of(table), float("nan")),
    }
    return {
        name: Measure(value, FRACTION, MATCHING[name], rate)
        for name, (value, rate) in found.items()
    }


def distance_measures_of(table: Contingency, distances: ContourDistances) -> dict[str, Measure]:
    """The variants of the distance between contours; see :func:`measure_all`."""
    found = {}
    for name, (statistic, direction, misses) in VARIANTS.items():
        distance, rate = hausdorff_of(
            table, distances, statistic=statistic, direction=direction, misses=misses
        )
        found[name] = Measure(distance, PIXELS, MATCHING[name], rate)
    return found


def _rate(table: Contingency, matched: float) -> float:
    return matched / table.truths if table.truths else float("nan")
