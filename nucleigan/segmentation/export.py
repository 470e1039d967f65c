"""Segmentations in the formats that other programs open: GeoJSON for QuPath."""

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from scipy import ndimage
from skimage import measure

from nucleigan.artifacts import atomic
from nucleigan.masks.streaming import Nucleus, nuclei_of

# A member of its own that GeoJSON allows (RFC 7946, 6.1), before the features, and the most
# characters that it may take.
ORIGIN, FEATURES, HEAD = "nucleigan", ', "features": [', 4096


def outlines(labels: np.ndarray) -> list[tuple[int, list[list[np.ndarray]]]]:
    """The contours of every nucleus.

    Parameters
    ----------
    labels
        (H, W) int32.

    Returns
    -------
    Pairs of an id and its pieces, mostly one. Each is a list of closed contours, the outer one and
    those of its holes, (N, 2) x and y in pixels; the centre of the first pixel is (0.5, 0.5), as
    QuPath has it.
    """
    return [(one.number, _pieces(one)) for one in nuclei_of(labels)]


def _pieces(nucleus: Nucleus) -> list[list[np.ndarray]]:
    # Nuclei hold together at corners, too.
    pieces, count = ndimage.label(np.pad(nucleus.mask, 1), np.ones((3, 3)))
    # Half a pixel to the pixel's corner, one pixel for the padding.
    corner = [nucleus.top - 0.5, nucleus.left - 0.5]
    found = []
    for number in range(1, count + 1):
        piece = (pieces == number).astype(np.float32)
        contours = measure.find_contours(piece, 0.5, fully_connected="high")
        # The outer contour goes around all others.
        contours.sort(key=lambda points: -np.ptp(points, axis=0).sum())
        found.append([(points + corner)[:, ::-1] for points in contours])
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
    path: str | Path,
    mpp: float | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
    origin: dict[str, Any] | None = None,
) -> Iterator[Features]:
    """Write such a file little by little.

    ``scale`` is the file's height and width of a pixel in which the nuclei were found; ``origin``
    says what they were found by, for :func:`read_origin`.
    """
    head: dict[str, Any] = {"type": "FeatureCollection"}
    if origin is not None:
        head[ORIGIN] = origin
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head).removesuffix("}") + FEATURES)
        yield Features(stream, mpp, scale)
        stream.write("]}")


def read_origin(path: str | Path) -> dict[str, Any] | None:
    """What the nuclei of such a file were found by; None where it does not say so."""
    with Path(path).open(encoding="utf-8", errors="replace") as stream:
        head, found, _ = stream.read(HEAD).partition(FEATURES)
    try:
        return json.loads(head + "}")[ORIGIN] if found else None
    except (ValueError, KeyError, TypeError):
        return None


def _feature(nucleus: Nucleus, mpp: float | None, scale: tuple[float, float]) -> dict[str, Any]:
    # A tenth of a pixel of the model, too, where those of the file are larger.
    digits = 1 + max(0, math.ceil(-math.log10(min(scale))))
    pieces = [
        [np.round(points * scale[::-1], digits).tolist() for points in rings]
        for rings in _pieces(nucleus)
    ]
    area = int(nucleus.mask.sum()) * scale[0] * scale[1]
    measurements: dict[str, float] = {"Area px^2": round(area)}
    if mpp is not None:
        measurements["Area µm^2"] = round(area * mpp**2, 3)
    whole = len(pieces) == 1
    return {
        "type": "Feature",
        "id": str(nucleus.number),
        "geometry": {
            "type": "Polygon" if whole else "MultiPolygon",
            "coordinates": pieces[0] if whole else pieces,
        },
        "properties": {
            "objectType": "detection",
            "classification": {"name": "Nucleus"},
            "measurements": measurements,
        },
    }
