"""Read annotations of nuclei as label maps.

The rule, for every format with outlines:

- A pixel belongs to a nucleus when the outline winds around its centre (non-zero rule). Pixel (0, 0) has
  its centre at (0.5, 0.5) in GeoJSON, as QuPath has it. Aperio vertices are 1-based pixel centres:
  1 is subtracted from x and y, and the centre of pixel (0, 0) is then (0, 0).
- Where nuclei overlap, the one that is drawn later wins.
- Outlines that leave the image are cut at its border; nuclei outside of it are dropped.
- A nucleus that falls into several pieces keeps them under one id; pieces smaller than
  ``min_piece_area`` are dropped, except the largest.
- Outlines with fewer than three vertices or without any pixel are dropped with a warning; of
  outlines that cross themselves all loops count, with a warning.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nucleigan.errors import NucleiganError

MAX_VERTICES = 5_000_000
MIN_PIECE_AREA = 4.0
# Warnings of one kind are named up to here, then counted.
NAMED = 3
# Opposite loops of an outline smaller than this are the hand's tremor, pixels.
CROSSING_AREA = 4


@dataclass(frozen=True)
class Outline:
    """One annotated nucleus.

    Attributes
    ----------
    name
        As the file has it, for messages.
    rings
        Each (N, 2) float64, x and y such that the centre of pixel (0, 0) is (0, 0).
    holes
        The same for what is cut out.
    """

    name: str
    rings: list[np.ndarray]
    holes: list[np.ndarray] = field(default_factory=list)


def read_labels(
    path: str | Path,
    shape: tuple[int, int],
    max_vertices: int = MAX_VERTICES,
    min_piece_area: float = MIN_PIECE_AREA,
) -> np.ndarray:
    """Read an annotation as a label map.

    Parameters
    ----------
    path
        Aperio XML, GeoJSON, or a label map as PNG, TIFF, NPY or MAT.
    shape
        Height and width of the image that it belongs to, pixels.
    max_vertices
        Files with more are refused.
    min_piece_area
        Smaller pieces of a nucleus in several pieces are dropped, pixels.

    Returns
    -------
    (H, W) int32: 0 background, nuclei from 1.

    Raises
    ------
    NucleiganError
        Missing, damaged, of another size, or with impossible values.
    """
    return read_annotation(path, shape, max_vertices, min_piece_area)[0]


def read_annotation(
    path: str | Path,
    shape: tuple[int, int],
    max_vertices: int = MAX_VERTICES,
    min_piece_area: float = MIN_PIECE_AREA,
) -> tuple[np.ndarray, list[str]]:
    """As :func:`read_labels`, with the warnings in words."""
    path = Path(path)
    if not path.is_file():
        raise NucleiganError(f"{path}: there is no such annotation; check the sample sheet.")
    suffix = path.suffix.lower()
    warnings: list[str] = []
    try:
        if suffix in OUTLINES:
            outlines = OUTLINES[suffix](path)
            labels = rasterise(_checked(outlines, path, max_vertices), shape, path, warnings)
        elif suffix in LABEL_MAPS:
            labels = _checked_map(LABEL_MAPS[suffix](path), path, shape)
        else:
            raise NucleiganError(
                f"{path}: the ending {suffix!r} is not known; use "
                f"{', '.join(sorted(OUTLINES | LABEL_MAPS))}."
            )
    except NucleiganError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise NucleiganError(
            f"{path}: cannot be read as an annotation ({reason}); export it again."
        ) from error
    return _tidy(labels, min_piece_area), warnings


def rasterise(
    outlines: Sequence[Outline], shape: tuple[int, int], path: Path, warnings: list[str]
) -> np.ndarray:
    """Fill outlines in their order; the id of a nucleus is its place among them, from 1."""
    labels = np.zeros(shape, np.int32)
    crossing, empty = [], []
    for number, outline in enumerate(outlines, 1):
        found = [
            _fill(labels, ring, outline.holes, number) for ring in outline.rings if len(ring) >= 3
        ]
        if not any(covered for covered, _ in found):
            empty.append(outline.name)
        elif any(crosses for _, crosses in found):
            crossing.append(outline.name)
    for names, what in (
        (crossing, "cross themselves; both loops are taken as nucleus"),
        (empty, "cover no pixel and are dropped"),
    ):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            warnings.append(f"{path}: the regions {', '.join(names[:NAMED])}{more} {what}")
    return labels


def _fill(
    labels: np.ndarray, ring: np.ndarray, holes: list[np.ndarray], number: int
) -> tuple[bool, bool]:
    """Write a number inside a ring; says whether it covers a pixel, and whether it crosses."""
    height, width = labels.shape
    low = np.maximum(np.floor(ring.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(ring.max(axis=0)) + 1, [width, height]).astype(int)
    if (low >= high).any():
        return False, False
    turns = _winding(ring, low, high)
    inside = turns != 0
    for hole in holes:
        if len(hole) >= 3:
            inside &= _winding(hole, low, high) == 0
    window = labels[low[1] : high[1], low[0] : high[0]]
    window[inside] = number
    loops = min(int((turns > 0).sum()), int((turns < 0).sum()))
    return bool(inside.any()), loops >= CROSSING_AREA


def _winding(ring: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How often a ring winds around each pixel centre of a box, row by row from its edges.

    Unlike the even-odd rule this fills outlines that were drawn around twice, which hand-drawn
    ones often were at their ends.
    """
    height, width = high[1] - low[1], high[0] - low[0]
    turns = np.zeros((height, width + 1), np.int32)
    x0, y0 = (ring - low).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # Rows whose centre an edge crosses; the half-open interval counts shared vertices once. A
    # centre on the outline is inside at the lower right and outside at the upper left, which is
    # how the published label maps were made (Dice rises from .919 to .996 on one of them).
    first = np.clip(np.floor(np.minimum(y0, y1)) + 1, 0, height).astype(int)
    last = np.clip(np.floor(np.maximum(y0, y1)) + 1, 0, height).astype(int)
    counts = last - first
    edge = np.repeat(np.arange(len(ring)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    row = first[edge] + offset
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossing = x0[edge] + (row - y0[edge]) * slope
    column = np.clip(np.floor(crossing) + 1, 0, width).astype(int)
    np.add.at(turns, (row, column), np.where(y1 > y0, 1, -1)[edge])
    return np.cumsum(turns, axis=1)[:, :width]


def _checked(outlines: list[Outline], path: Path, max_vertices: int) -> list[Outline]:
    total = 0
    for outline in outlines:
        for ring in (*outline.rings, *outline.holes):
            total += len(ring)
            if not np.isfinite(ring).all():
                raise NucleiganError(
                    f"{path}: the region {outline.name} has a vertex that is no finite number; "
                    "correct it."
                )
    if total > max_vertices:
        raise NucleiganError(
            f"{path}: has {total} vertices, more than the {max_vertices} of "
            "ingestion.max_vertices; raise the limit or simplify the outlines."
        )
    return outlines


def _read_aperio(path: Path) -> list[Outline]:
    from defusedxml.ElementTree import parse

    outlines: list[Outline] = []
    for region in parse(path).getroot().iter("Region"):
        vertices = [
            (float(vertex.get("X", "nan")), float(vertex.get("Y", "nan")))
            for vertex in region.iter("Vertex")
        ]
        ring = np.array(vertices, dtype=np.float64).reshape(-1, 2) - 1.0
        if region.get("NegativeROA") == "1" and outlines:
            outlines[-1].holes.append(ring)
        else:
            outlines.append(Outline(region.get("Id", str(len(outlines) + 1)), [ring]))
    return outlines


def _read_geojson(path: Path) -> list[Outline]:
    content = json.loads(path.read_text(encoding="utf-8"))
    features = content.get("features", [content]) if isinstance(content, dict) else content
    outlines = []
    for number, feature in enumerate(features, 1):
        geometry = feature.get("geometry", feature)
        name = str(feature.get("id", number))
        parts = {
            "Polygon": lambda g: [g["coordinates"]],
            "MultiPolygon": lambda g: g["coordinates"],
        }.get(geometry["type"])
        if parts is None:
            raise NucleiganError(
                f"{path}: the feature {name} is a {geometry['type']}; expected Polygon or "
                "MultiPolygon: remove it."
            )
        polygons = [[_ring(ring) for ring in polygon] for polygon in parts(geometry)]
        outlines.append(
            Outline(
                name,
                [polygon[0] for polygon in polygons],
                [hole for polygon in polygons for hole in polygon[1:]],
            )
        )
    return outlines


def _ring(points: Any) -> np.ndarray:
    return np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2) - 0.5


def _read_picture(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


def _read_tiff(path: Path) -> np.ndarray:
    import tifffile

    return tifffile.imread(path)


def _read_npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _read_mat(path: Path) -> np.ndarray:
    from scipy.io import loadmat

    content = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    if "inst_map" in content:
        return content["inst_map"]
    flat = [value for value in content.values() if getattr(value, "ndim", 0) == 2]
    if len(flat) != 1:
        raise NucleiganError(
            f"{path}: holds the variables {', '.join(content)}; expected `inst_map` or a single "
            "matrix."
        )
    return flat[0]


OUTLINES: dict[str, Callable[[Path], list[Outline]]] = {
    ".xml": _read_aperio,
    ".geojson": _read_geojson,
    ".json": _read_geojson,
}
LABEL_MAPS: dict[str, Callable[[Path], np.ndarray]] = {
    ".png": _read_picture,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".npy": _read_npy,
    ".mat": _read_mat,
}


def _checked_map(labels: np.ndarray, path: Path, shape: tuple[int, int]) -> np.ndarray:
    if labels.shape != shape:
        raise NucleiganError(
            f"{path}: the label map is {'×'.join(map(str, labels.shape))}, its image "
            f"{'×'.join(map(str, shape))} pixels; give the label map of this image."
        )
    if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)):
        # MATLAB stores whole numbers as floats.
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub":
        raise NucleiganError(f"{path}: the label map holds {labels.dtype}; expected whole numbers.")
    if labels.size and labels.min() < 0:
        raise NucleiganError(
            f"{path}: the label map holds {labels.min()}; expected 0 for background and positive ids."
        )
    if labels.size and labels.max() > np.iinfo(np.int32).max:
        labels = np.unique(labels, return_inverse=True)[1].reshape(shape)
    return labels.astype(np.int32)


def _tidy(labels: np.ndarray, min_piece_area: float) -> np.ndarray:
    """Drop crumbs of nuclei in several pieces; number from 1 without gaps."""
    from scipy import ndimage

    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        pieces, count = ndimage.label(labels[box] == number, np.ones((3, 3)))
        if count > 1:
            areas = np.bincount(pieces.ravel())[1:]
            crumbs = 1 + np.flatnonzero((areas < min_piece_area) & (areas < areas.max()))
            labels[box][np.isin(pieces, crumbs)] = 0
    ids = np.unique(labels)
    renumbered = np.searchsorted(ids[ids > 0], labels) + 1
    return np.where(labels > 0, renumbered, 0).astype(np.int32)
