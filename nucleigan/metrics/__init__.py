"""Metrics of nucleus segmentation: all take a true and a predicted label map, (H, W) integers.

Two empty maps agree perfectly (1); one empty map against another scores 0; distances of nothing are
NaN. Maps that cannot be compared raise :class:`nucleigan.errors.NucleiganError`. Functions whose
name ends in ``_of`` take the shared table instead, so that several metrics need only one;
:func:`measure_all` makes all of them at once and says unit, matching rule and match rate of each.
"""

from nucleigan.metrics.contours import Hausdorff, hausdorff
from nucleigan.metrics.jaccard import aggregated_jaccard, aggregated_jaccard_plus
from nucleigan.metrics.measures import Measure, measure_all
from nucleigan.metrics.objects import detection_f1, object_f1, object_f1_mean
from nucleigan.metrics.panoptic import PanopticQuality, panoptic_quality
from nucleigan.metrics.pixels import pixel_dice, pixel_f1
from nucleigan.metrics.table import Contingency, contingency

__all__ = [
    "Contingency",
    "Hausdorff",
    "Measure",
    "PanopticQuality",
    "aggregated_jaccard",
    "aggregated_jaccard_plus",
    "contingency",
    "detection_f1",
    "hausdorff",
    "measure_all",
    "object_f1",
    "object_f1_mean",
    "panoptic_quality",
    "pixel_dice",
    "pixel_f1",
]
