"""Judge predictions: measures of a slide, rows of its nuclei."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from nucleigan.artifacts import read_tiff
from nucleigan.errors import NucleiganError
from nucleigan.evaluation.columns import MATCH_RATES, MEASURES, MODEL, NUCLEUS, SLIDE, write_rows
from nucleigan.metrics.contours import ContourDistances, contour_distances, per_nucleus
from nucleigan.metrics.measures import distance_measures_of, overlap_measures_of
from nucleigan.metrics.objects import FULL_MPP, RADIUS_UM
from nucleigan.metrics.table import Contingency, contingency


def evaluate_slide(
    truth: np.ndarray, prediction: np.ndarray, mpp: float = FULL_MPP
) -> dict[str, float]:
    """Judge one predicted label map.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.
    mpp
        µm per pixel of both, by which centroids are close.

    Returns
    -------
    One number for each of :data:`MEASURES`. ``f1``, ``precision`` and ``recall`` count nuclei
    matched at IoU above 0.5, ``f1_mean`` averages over IoU 0.5 to 0.95, ``detection_f1`` matches
    centroids. Distances are in pixels, NaN without matches; ``hausdorff_misses`` charges missed
    nuclei their diameter. ``match_rate`` is the part of the true nuclei that the other distances
    cover, and AJI; :data:`~nucleigan.evaluation.columns.MATCH_RATES` names those of the rest.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    table = contingency(truth, prediction)
    return _measures(table, contour_distances(truth, prediction, table), mpp)


def _measures(table: Contingency, contours: ContourDistances, mpp: float) -> dict[str, float]:
    found = overlap_measures_of(table, RADIUS_UM / mpp) | distance_measures_of(table, contours)
    values = {name: measure.value for name, measure in found.items()}
    rates = {column: found[measure].match_rate for measure, column in MATCH_RATES.items()}
    # Recall is a measure of its own, defined without true nuclei as well.
    values = rates | values
    values["true_nuclei"], values["predicted_nuclei"] = table.truths, table.predictions
    return {name: values[name] for name in MEASURES}


def _nuclei(
    truth: np.ndarray, table: Contingency, contours: ContourDistances
) -> Iterable[dict[str, object]]:
    """One row for each true nucleus."""
    best = np.zeros(table.truths)
    cells = table.best_per_truth(table.iou)
    best[table.row[cells]] = table.iou[cells]
    distance = np.full(table.truths, np.nan)
    distance[table.row[contours.cells]] = per_nucleus(contours)
    for i, (row, column) in enumerate(table.truth_centroid):
        yield {
            "nucleus": int(table.truth_ids[i]),
            "area": int(table.truth_area[i]),
            "row": round(float(row), 2),
            "column": round(float(column), 2),
            "best_iou": float(best[i]),
            "matched": int(best[i] > 0.5),
            "hausdorff": float(distance[i]),
        }


def judge_slide(
    slide: Mapping[str, str],
    model: Mapping[str, str],
    truth: str | Path,
    prediction: str | Path,
    measures_output: str | Path,
    nuclei_output: str | Path,
    mpp: float = FULL_MPP,
) -> None:
    """Judge a model's prediction of one slide and write its rows of the tables.

    Parameters
    ----------
    slide
        ``slide``, ``organ``, ``split`` and ``patient``, which may be empty.
    model
        ``method``, ``data`` and ``seed``.
    truth, prediction
        Label TIFFs.
    measures_output
        CSV of one row: model, slide, :data:`MEASURES`.
    nuclei_output
        CSV, a row per true nucleus: model, slide, id, area (pixels), centroid (pixels), IoU with
        the best prediction, whether that exceeds 0.5, Hausdorff distance (pixels).
    mpp
        µm per pixel of both.

    Raises
    ------
    NucleiganError
        When a file is not there or cannot be read, or the maps differ in size; names the slide.
    """
    name = {key: model[key] for key in MODEL} | {key: slide[key] for key in SLIDE}
    true = _read_map(truth, f"Slide {slide['slide']} has no true label map")
    predicted = _read_map(prediction, f"Slide {slide['slide']} has no prediction to judge")
    try:
        table = contingency(true, predicted)
    except NucleiganError as error:
        raise NucleiganError(f"Slide {slide['slide']}: {error}") from error
    contours = contour_distances(true, predicted, table)
    measures = _measures(table, contours, mpp)
    write_rows(measures_output, (*MODEL, *SLIDE, *MEASURES), [{**name, **measures}])
    rows = [{**name, **row} for row in _nuclei(true, table, contours)]
    write_rows(nuclei_output, (*MODEL, *SLIDE, *NUCLEUS), rows)


def _read_map(path: str | Path, missing: str) -> np.ndarray:
    if not Path(path).is_file():
        raise NucleiganError(
            f"{missing}: {path} is not there; make it by running the same command again, or leave "
            "the slide out of evaluation.splits."
        )
    return read_tiff(path)
