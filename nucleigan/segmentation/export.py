"""Segmentations in the formats that other programs open: GeoJSON for QuPath."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage import measure

from nucleigan.artifacts import atomic


def outlines(labels: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The outer contour of every nucleus.

    Parameters
    ----------
    labels
        (H, W) int32.

    Returns
    -------
    Pairs of an id and its closed contour, (N, 2) x and y in pixels; the centre of the first pixel
    is (0.5, 0.5), as QuPath has it.
    """
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        mask = np.pad(labels[box] == number, 1).astype(np.float32)
        contour = max(measure.find_contours(mask, 0.5), key=len)
        # Half a pixel to the pixel's corner, one pixel for the padding.
        points = contour + [box[0].start - 0.5, box[1].start - 0.5]
        found.append((number, points[:, ::-1]))
    return found


def write_geojson(path: str | Path, labels: np.ndarray, mpp: float | None = None) -> None:
    """Write the nuclei as a GeoJSON FeatureCollection that QuPath opens as detections.

    Parameters
    ----------
    path
        Where to.
    labels
        (H, W) int32.
    mpp
        µm per pixel, for areas in µm².
    """
    areas = np.bincount(labels.ravel())
    features = [
        _feature(number, points, int(areas[number]), mpp) for number, points in outlines(labels)
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _feature(number: int, points: np.ndarray, area: int, mpp: float | None) -> dict[str, Any]:
    measurements: dict[str, float] = {"Area px^2": area}
    if mpp is not None:
        measurements["Area µm^2"] = round(area * mpp**2, 3)
    return {
        "type": "Feature",
        "id": str(number),
        "geometry": {"type": "Polygon", "coordinates": [np.round(points, 1).tolist()]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": "Nucleus"},
            "measurements": measurements,
        },
    }
