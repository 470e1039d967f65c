"""Segmentations in the formats that other programs open: GeoJSON for QuPath."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from skimage import measure

from nucleigan.artifacts import atomic
from nucleigan.masks.streaming import Nucleus, nuclei_of


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
    return [(one.number, _contour(one)) for one in nuclei_of(labels)]


def _contour(nucleus: Nucleus) -> np.ndarray:
    mask = np.pad(nucleus.mask, 1).astype(np.float32)
    # Nuclei hold together at corners, too.
    contour = max(measure.find_contours(mask, 0.5, fully_connected="high"), key=len)
    # Half a pixel to the pixel's corner, one pixel for the padding.
    points = contour + [nucleus.top - 0.5, nucleus.left - 0.5]
    return points[:, ::-1]


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
    with geojson(path, mpp) as features:
        features.add(nuclei_of(labels))


@dataclass
class Features:
    """The nuclei of a GeoJSON file that is being written.

    Attributes
    ----------
    count
        How many there are so far.
    """

    stream: TextIO
    mpp: float | None
    scale: tuple[float, float]
    count: int = 0

    def add(self, nuclei: Iterable[Nucleus]) -> None:
        """Write further ones."""
        for nucleus in nuclei:
            between = ", " if self.count else ""
            self.stream.write(between + json.dumps(_feature(nucleus, self.mpp, self.scale)))
            self.count += 1


@contextmanager
def geojson(
    path: str | Path, mpp: float | None = None, scale: tuple[float, float] = (1.0, 1.0)
) -> Iterator[Features]:
    """Write such a file little by little.

    ``scale`` is the file's height and width of a pixel in which the nuclei were found.
    """
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        yield Features(stream, mpp, scale)
        stream.write("]}")


def _feature(nucleus: Nucleus, mpp: float | None, scale: tuple[float, float]) -> dict[str, Any]:
    points = np.round(_contour(nucleus) * scale[::-1], 1)
    area = round(int(nucleus.mask.sum()) * scale[0] * scale[1])
    measurements: dict[str, float] = {"Area px^2": area}
    if mpp is not None:
        measurements["Area µm^2"] = round(area * mpp**2, 3)
    return {
        "type": "Feature",
        "id": str(nucleus.number),
        "geometry": {"type": "Polygon", "coordinates": [points.tolist()]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": "Nucleus"},
            "measurements": measurements,
        },
    }
