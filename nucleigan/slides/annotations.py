"""Read annotations of nuclei as label maps.

The rule, for every format with outlines:

- A pixel belongs to a nucleus when the outline winds around its centre (non-zero rule). Pixel
  (0, 0) has its centre at (0.5, 0.5) in GeoJSON, as QuPath has it. Aperio vertices are 1-based
  pixel centres: 1 is subtracted from x and y, and the centre of pixel (0, 0) is then (0, 0). A
  centre exactly on the outline is inside at its right and lower sides.
- Where nuclei overlap, the one that was drawn first keeps the pixels. So were the label maps of
  Kumar et al. 2017 made: on all 13 tiles that have both, AJI between outlines and label map is .993
  to .998 with this rule, .945 to .996 if the last one wins.
- An Aperio region with NegativeROA="1" cuts a hole into that nucleus, among those before it, that
  holds most of it. Of a rectangle or an ellipse the file may have two corners of its box alone.
- Outlines that leave the image are cut at its border; nuclei outside of it are dropped, and a file
  most of whose outlines (three or more) lie there is another image's, and refused.
- A nucleus that falls into several pieces keeps them under one id; pieces smaller than
  ``min_piece_area`` are dropped, except the largest.
- Outlines without any pixel, or wholly under earlier ones, are dropped with a warning; of outlines
  that cross themselves all loops count, with a warning.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError, lacks_memory, let_through, reason, shown
from nucleigan.slides.endings import check_ending, ending
from nucleigan.slides.images import (
    check_length,
    check_pixels,
    opened,
    opened_tiff,
    too_much_memory,
)
from nucleigan.slides.limits import bounded_memory, check_bytes, read_text
from nucleigan.slides.matlab import MatFile
from nucleigan.slides.resample import resample_labels

DEFAULTS = IngestionSettings()
# Bytes that a pixel of a label map may need by right: its numbers, their order, pieces, and owners.
MAP_ROOM = 64
# Beyond this the difference of two coordinates is no number any more.
FARTHEST = 1e304
# Images smaller than this may be covered as often as one of this size, pixels.
SMALL = 10_000_000
# Crossings of edges and rows that are held at a time; bounds the memory of zigzags.
AT_ONCE = 4_000_000
# Warnings of one kind name so many regions, and count the others.
NAMED = 20
# Loops of an outline smaller than this are the hand's tremor, pixels.
CROSSING_AREA = 4
CROSSES = "cross themselves; all their loops are taken as nucleus"
EMPTY = "cover no pixel of the image and are dropped"
FEW = "have fewer than three vertices and are dropped"
HIDDEN = "lie wholly under earlier ones, or repeat them, and are dropped"
ASTRAY = "are holes (NegativeROA) in no nucleus before them and are left out"
FRAMES = (
    "are tiles, cores, annotations around a detection or more than four times as large as the "
    "largest, or no areas; they are taken as frames of what was detected, and left out"
)
AROUND = "lie around several others, and count as nuclei all the same; remove them if they are none"
# So many others wholly inside of a nucleus are said; of a cell with its parts there are fewer.
SEVERAL = 4
# An annotation so many times as large as the largest detection is no nucleus that was added.
LARGER = 4
# A label map more than this part of whose ids, with so many pieces too many, lie in several pieces
# has other numbers than nuclei: in maps of Kumar et al. 2017 one id of hundreds does.
IN_PIECES, TOO_MANY = 0.1, 10
# So many outlines beside the image are strays, of which a warning tells.
STRAY = 2
# What QuPath calls its objects: nuclei, and what lies around them where both are in a file. Before
# 0.3 it wrote the kind in the place of an id.
ANNOTATION = "annotation"
DETECTED, FRAMING = {"detection", "cell"}, {ANNOTATION, "tile", "tma_core", "root"}
QUPATH_IDS = {
    "PathAnnotationObject": ANNOTATION,
    "PathCellObject": "cell",
    "PathDetectionObject": "detection",
    "PathRootObject": "root",
    "PathTileObject": "tile",
    "TMACoreObject": "tma_core",
}
AREAS = ("Polygon", "MultiPolygon")
# ImageScope's types of regions that it writes as two corners of a box.
BOX, ELLIPSE = "1", "2"
# Vertices that an ellipse is drawn by: less than a thousandth of its size off.
ROUND = 64


@dataclass(frozen=True)
class Outline:
    """One annotated nucleus.

    Attributes
    ----------
    name
        As the file has it, for messages.
    pieces
        Each a ring and its holes; rings are (N, 2) float64, x and y such that the centre of pixel
        (0, 0) is (0, 0).
    cuts
        Whether it is no nucleus, but a hole in one before it.
    """

    name: str
    pieces: list[tuple[np.ndarray, list[np.ndarray]]]
    cuts: bool = False


class Remarks:
    """Warnings about regions of one file, collected by their kind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, name: str) -> None:
        """Note a region."""
        self.names[kind].append(name)

    def sentences(self) -> list[str]:
        """One warning for each kind."""
        return [
            f"{self.path}: the regions {', '.join(names[:NAMED])}"
            f"{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''} {kind}"
            for kind, names in self.names.items()
        ]


def read_labels(
    path: str | Path,
    shape: tuple[int, int],
    max_vertices: int = DEFAULTS.max_vertices,
    min_piece_area: float = DEFAULTS.min_piece_area,
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
    (H, W) int32: 0 background, nuclei from 1 without gaps, in the order of the file.

    Raises
    ------
    NucleiganError
        Missing, damaged, of another size, or with impossible values.
    """
    settings = IngestionSettings(max_vertices=max_vertices, min_piece_area=min_piece_area)
    return read_annotation(path, shape, settings)[0]


def read_annotation(
    path: str | Path,
    shape: tuple[int, int],
    settings: IngestionSettings = DEFAULTS,
    target: tuple[int, int] | None = None,
) -> tuple[np.ndarray, list[str]]:
    """As :func:`read_labels`, at another magnification if wanted, with the warnings in words.

    Parameters
    ----------
    path, shape
        As of :func:`read_labels`.
    settings
        Limits of what is read, and ``min_piece_area`` in pixels of the result.
    target
        Height and width of the result where it differs from the image; outlines are scaled before
        they are filled, in label maps each pixel takes the label that covers most of it.

    Returns
    -------
    Label map of the size of the target, int32, and warnings that name file and regions.
    """
    path = Path(path)
    target = target or shape
    suffix = ending(path)
    if not path.is_file():
        raise NucleiganError(f"{path}: there is no such annotation; check its path.")
    check_ending(path, OUTLINES | LABEL_MAPS, str(path))
    remarks = Remarks(path)
    drawn = "its label map, at the working magnification," if target != shape else "its label map"
    check_pixels(path, target, settings, whole=True, what=drawn)
    if suffix in LABEL_MAPS:
        check_pixels(path, shape, settings, whole=True)
    pixels = max(shape[0] * shape[1] * (suffix in LABEL_MAPS), target[0] * target[1])
    try:
        with bounded_memory(settings.decoder_memory + MAP_ROOM * pixels):
            if suffix in OUTLINES:
                outlines = OUTLINES[suffix](path, remarks, settings)
                scale = np.array([target[1] / shape[1], target[0] / shape[0]])
                outlines = [_scaled(outline, scale) for outline in outlines]
                _check_inside(outlines, target, path)
                labels = rasterise(outlines, target, remarks, Allowance(path, settings, target))
                warnings = remarks.sentences()
            else:
                original = LABEL_MAPS[suffix](path, shape, settings)
                original = _checked_map(original, path, shape)
                labels = resample_labels(original, target)
            labels, pieces = _tidy(labels, settings.min_piece_area)
            if suffix in LABEL_MAPS:
                _check_ids(pieces, path)
                warnings = _map_warnings(original, pieces, path)
            return labels, warnings
    except NucleiganError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise too_much_memory(path, settings) from error
        let_through(error)
        raise NucleiganError(
            f"{path}: cannot be read as an annotation ({reason(error)}); export it again."
        ) from error


def _check_inside(outlines: Sequence[Outline], shape: tuple[int, int], path: Path) -> None:
    """Refuse outlines most of which lie beside the image: they are those of another one."""
    drawn = [np.concatenate([ring for ring, _ in one.pieces]) for one in outlines if one.pieces]
    drawn = [vertices for vertices in drawn if len(vertices)]
    beside = [
        (vertices.max(axis=0) < 0).any() or (vertices.min(axis=0) > shape[::-1]).any()
        for vertices in drawn
    ]
    if sum(beside) > max(STRAY, len(beside) / 2):
        raise NucleiganError(
            f"{path}: {sum(beside)} of its {len(beside)} outlines lie outside of the image of "
            f"{shape[0]}×{shape[1]} pixels (at the working magnification), as those of a whole "
            "slide do that a part was cut from, or of another magnification; give coordinates in "
            "pixels of this image, from its own upper left corner, and leave out other outlines."
        )


class Allowance:
    """What filling the outlines of one file may cost altogether.

    Parameters
    ----------
    path
        For the messages.
    settings
        ``max_crossings`` and ``max_cover``.
    shape
        Height and width of the label map, pixels.
    """

    def __init__(self, path: Path, settings: IngestionSettings, shape: tuple[int, int]) -> None:
        self.path = path
        self.settings = settings
        self.crossings = settings.max_crossings
        self.pixels = settings.max_cover * max(shape[0] * shape[1], SMALL)

    def cover(self, pixels: int) -> None:
        """Take the box of an outline."""
        self.pixels -= pixels
        if self.pixels < 0:
            raise NucleiganError(
                f"{self.path}: its outlines cover the image more than the "
                f"{self.settings.max_cover:g} times of ingestion.max_cover; remove what is no "
                "nucleus, or raise the limit."
            )

    def cross(self, crossings: int) -> None:
        """Take the crossings of a ring with rows of pixels."""
        self.crossings -= crossings
        if self.crossings < 0:
            raise NucleiganError(
                f"{self.path}: its outlines cross rows of pixels more than the "
                f"{self.settings.max_crossings} times of ingestion.max_crossings; remove zigzags, "
                "or raise the limit."
            )


def rasterise(
    outlines: Sequence[Outline], shape: tuple[int, int], remarks: Remarks, allowance: Allowance
) -> np.ndarray:
    """Fill outlines in their order.

    Parameters
    ----------
    outlines
        In pixels of the result.
    shape
        Height and width of the result, pixels.
    remarks
        Takes what there is to warn of.
    allowance
        Bounds the work.

    Returns
    -------
    (H, W) int32; the id of a nucleus is its place among the outlines, from 1.
    """
    labels = np.zeros(shape, np.int32)
    areas = np.zeros(len(outlines) + 1, np.int64)
    within: Counter[int] = Counter()
    for number, outline in enumerate(outlines, 1):
        box, inside, crosses = _filled(outline, shape, allowance)
        window = labels[box]
        free = inside & (window == 0)
        if crosses:
            remarks.add(CROSSES, outline.name)
        if not any(len(ring) >= 3 for ring, _ in outline.pieces):
            remarks.add(FEW, outline.name)
        elif not inside.any():
            remarks.add(EMPTY, outline.name)
        elif outline.cuts:
            if not _cut(window, inside):
                remarks.add(ASTRAY, outline.name)
        else:
            owners, counts = np.unique(window[inside & ~free], return_counts=True)
            whole = counts == areas[owners]
            if free.any():
                within[number] += int(whole.sum())
                window[free] = number
                areas[number] = free.sum()
            else:
                remarks.add(HIDDEN, outline.name)
                # One that repeats another is not inside of it.
                within[int(owners[0])] += len(owners) == 1 and not whole[0]
    for number, others in sorted(within.items()):
        if others >= SEVERAL:
            remarks.add(AROUND, outlines[number - 1].name)
    return labels


def _cut(window: np.ndarray, inside: np.ndarray) -> bool:
    """Cut a hole into the nucleus that holds most of it; says whether there is one."""
    owners = window[inside & (window > 0)]
    if not owners.size:
        return False
    ids, areas = np.unique(owners, return_counts=True)
    window[inside & (window == ids[areas.argmax()])] = 0
    return True


def _filled(
    outline: Outline, shape: tuple[int, int], allowance: Allowance
) -> tuple[tuple[slice, slice], np.ndarray, bool]:
    """The box of an outline within the image, its pixels there, and whether it crosses itself."""
    pieces = [(ring, holes) for ring, holes in outline.pieces if len(ring) >= 3]
    vertices = np.concatenate([ring for ring, _ in pieces]) if pieces else np.zeros((1, 2)) - 2.0
    low = np.clip(np.floor(vertices.min(axis=0)), 0, shape[::-1]).astype(int)
    high = np.clip(np.ceil(vertices.max(axis=0)) + 1, low, shape[::-1]).astype(int)
    # Each ring is filled by itself.
    rings = sum(1 + len(holes) for _, holes in pieces)
    allowance.cover(rings * int(np.prod(high - low)))
    inside = np.zeros(high[::-1] - low[::-1], bool)
    crosses = False
    for ring, holes in pieces:
        turns = _winding(ring, low, high, allowance)
        # A ring that does not cross itself winds once around all that it holds, one way.
        odd = min((turns > 0).sum(), (turns < 0).sum()) + (np.abs(turns) > 1).sum()
        crosses |= bool(odd >= CROSSING_AREA)
        piece = turns != 0
        for hole in holes:
            piece &= _winding(hole, low, high, allowance) == 0
        inside |= piece
    return (slice(low[1], high[1]), slice(low[0], high[0])), inside, crosses


def _winding(
    ring: np.ndarray, low: np.ndarray, high: np.ndarray, allowance: Allowance
) -> np.ndarray:
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
    before = np.concatenate([[0], np.cumsum(counts)])
    allowance.cross(int(before[-1]))
    way = np.where(y1 > y0, 1, -1)
    for some in _parts(before):
        edge = np.repeat(np.arange(some.start, some.stop), counts[some])
        row = first[edge] + np.arange(len(edge)) - (before[edge] - before[some.start])
        slope = (x1 - x0)[edge] / (y1 - y0)[edge]
        crossing = x0[edge] + (row - y0[edge]) * slope
        column = np.clip(np.floor(crossing) + 1, 0, width).astype(int)
        np.add.at(turns, (row, column), way[edge])
    return np.cumsum(turns, axis=1, out=turns)[:, :width]


def _parts(before: np.ndarray) -> Iterator[slice]:
    """Runs of edges with a bounded number of crossings each; of one edge at least."""
    start, edges = 0, len(before) - 1
    while start < edges:
        stop = int(np.searchsorted(before, before[start] + AT_ONCE, side="right")) - 1
        stop = min(max(stop, start + 1), edges)
        yield slice(start, stop)
        start = stop


def _scaled(outline: Outline, scale: np.ndarray) -> Outline:
    """An outline at another magnification, of which pixel corners, not centres, stay in place."""
    if (scale == 1.0).all():
        return outline

    def moved(ring: np.ndarray) -> np.ndarray:
        return (ring + 0.5) * scale - 0.5

    pieces = [(moved(ring), [moved(hole) for hole in holes]) for ring, holes in outline.pieces]
    return Outline(outline.name, pieces, outline.cuts)


class Vertices:
    """Counts the vertices of a file while it is read, so that too many are refused early."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.count = 0

    def add(self, number: int) -> None:
        """Count some more."""
        self.count += number
        if self.count > self.limit:
            raise NucleiganError(
                f"{self.path}: has at least {self.count} vertices, more than the {self.limit} of "
                "ingestion.max_vertices; raise the limit or simplify the outlines."
            )


def _check_finite(ring: np.ndarray, name: str, path: Path) -> None:
    # NaN is not below anything either.
    if not (np.abs(ring) < FARTHEST).all():
        raise NucleiganError(
            f"{path}: the region {name} has a vertex that is no finite number; correct it."
        )


def _read_aperio(path: Path, remarks: Remarks, settings: IngestionSettings) -> list[Outline]:
    check_bytes(path, settings.max_text_bytes)
    outlines: list[Outline] = []
    for number, (attributes, numbers) in enumerate(_regions(path, settings), 1):
        name = shown(attributes.get("Id") or f"number {number}")
        ring = np.array(numbers).reshape(-1, 2) - 1.0
        _check_finite(ring, name, path)
        ring = _shaped(ring, attributes.get("Type"))
        outlines.append(Outline(name, [(ring, [])], attributes.get("NegativeROA") == "1"))
    return outlines


def _shaped(ring: np.ndarray, kind: str | None) -> np.ndarray:
    """The ring of a region, of which the file may have two corners of its box alone."""
    if len(ring) != 2 or kind not in (BOX, ELLIPSE):
        return ring
    middle, half = ring.mean(axis=0), np.abs(ring[1] - ring[0]) / 2
    if kind == BOX:
        return middle + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    angles = np.arange(ROUND) * (2 * np.pi / ROUND)
    return middle + half * np.column_stack([np.cos(angles), np.sin(angles)])


def _regions(path: Path, settings: IngestionSettings) -> list[tuple[dict[str, str], array]]:
    """Attributes of each region with x and y of its vertices in turn, in the file's order.

    Elements are forgotten as they end, so that the memory does not grow with what is no vertex.
    """
    from defusedxml.ElementTree import iterparse

    vertices = Vertices(path, settings.max_vertices)
    regions: list[tuple[dict[str, str], array]] = []
    around: list[Any] = []
    inside: list[array] = []
    for event, element in iterparse(path, events=("start", "end")):
        if event == "end":
            around.pop()
            if element.tag == "Region":
                inside.pop()
            if around:
                around[-1].remove(element)
            continue
        _check_place(path, element, len(around), settings.max_depth)
        around.append(element)
        if element.tag == "Region":
            vertices.add(1)
            inside.append(array("d"))
            regions.append((dict(element.attrib), inside[-1]))
        elif element.tag == "Vertex" and inside:
            # Its region counts as the first.
            vertices.add(1 if inside[-1] else 0)
            inside[-1].extend((_number(element.get("X")), _number(element.get("Y"))))
    return regions


def _check_place(path: Path, element: Any, depth: int, most: int) -> None:
    if not depth and element.tag != "Annotations":
        raise NucleiganError(
            f"{path}: begins with <{shown(element.tag)}>; expected <Annotations> as Aperio "
            "ImageScope writes it, convert the file to that or to GeoJSON."
        )
    if depth > most:
        raise NucleiganError(
            f"{path}: its elements are nested deeper than the {most} levels of "
            "ingestion.max_depth; expected regions of vertices, export it again."
        )


def _number(text: str | None) -> float:
    """A coordinate; what is no number becomes NaN, which is refused with its region's name."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _read_geojson(path: Path, remarks: Remarks, settings: IngestionSettings) -> list[Outline]:
    content = json.loads(read_text(path, settings.max_text_bytes))
    vertices = Vertices(path, settings.max_vertices)
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list) or not all(isinstance(item, dict) for item in features):
        raise NucleiganError(
            f"{path}: holds no features; expected a GeoJSON FeatureCollection or a list of "
            "features, export it again."
        )
    kinds = [_kind(feature) for feature in features]
    detected = any(kind in DETECTED for kind in kinds)
    outlines, nuclei = {}, []
    for number, (feature, kind) in enumerate(zip(features, kinds, strict=True), 1):
        name = shown(feature.get("id", f"number {number}"))
        # A cell of QuPath has its own outline and that of its nucleus.
        geometry = feature.get("nucleusGeometry") or feature.get("geometry", feature)
        added = kind == ANNOTATION and isinstance(geometry, dict) and geometry.get("type") in AREAS
        added = added and bool(geometry.get("coordinates"))
        if detected and kind in FRAMING and not added:
            remarks.add(FRAMES, name)
            continue
        outlines[number] = Outline(name, _pieces(geometry, name, path, vertices))
        nuclei += [outlines[number]] * (kind in DETECTED)
    if detected:
        # QuPath exports the frame in which it detected nuclei beside them, and nuclei that were
        # added by hand.
        frames = _Frames(nuclei)
        for number in [number for number in outlines if kinds[number - 1] == ANNOTATION]:
            if frames.hold(outlines[number]):
                remarks.add(FRAMES, outlines.pop(number).name)
    return list(outlines.values())


class _Frames:
    """Tells the frames of detected nuclei from nuclei that were added to them."""

    def __init__(self, nuclei: Sequence[Outline]) -> None:
        rings = [ring for outline in nuclei for ring, _ in outline.pieces if len(ring)]
        self._largest = max(map(_area, rings), default=0.0)
        centres = np.array([ring.mean(axis=0) for ring in rings]).reshape(-1, 2)
        # In the order of y, so that an annotation is compared with those of its height alone.
        self._centres = centres[np.argsort(centres[:, 1], kind="stable")]

    def hold(self, outline: Outline) -> bool:
        """Whether an annotation is a frame: around the centre of a detection, or too large."""
        from skimage.measure import points_in_poly

        for ring in (ring for ring, _ in outline.pieces if len(ring)):
            if _area(ring) > LARGER * self._largest:
                return True
            low, high = ring.min(axis=0), ring.max(axis=0)
            first = np.searchsorted(self._centres[:, 1], low[1])
            last = np.searchsorted(self._centres[:, 1], high[1], side="right")
            near = self._centres[first:last]
            near = near[(near[:, 0] >= low[0]) & (near[:, 0] <= high[0])]
            if len(near) and points_in_poly(near, ring).any():
                return True
        return False


def _area(ring: np.ndarray) -> float:
    """Within a ring (N, 2), pixels."""
    x, y = ring.T - ring[0][:, None]
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _kind(feature: dict[str, Any]) -> str:
    """What an object is to the version of QuPath that wrote it; empty where nobody says."""
    properties = feature.get("properties") or {}
    kind = properties.get("objectType") or properties.get("object_type")
    return str(kind or QUPATH_IDS.get(str(feature.get("id"))) or "").lower()


def _pieces(
    geometry: Any, name: str, path: Path, vertices: Vertices
) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in AREAS:
        raise NucleiganError(
            f"{path}: the feature {name} has the geometry {shown(kind)}; expected Polygon or "
            "MultiPolygon, remove it."
        )
    try:
        coordinates = geometry["coordinates"]
        polygons = [coordinates] if kind == "Polygon" else coordinates
        rings = [[_ring(points, vertices) for points in polygon] for polygon in polygons]
        pieces = [(ring, holes) for ring, *holes in rings]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise NucleiganError(
            f"{path}: the feature {name} has coordinates that are no rings of x and y "
            f"({shown(str(error))}); export it again."
        ) from error
    for ring in (ring for piece, holes in pieces for ring in (piece, *holes)):
        _check_finite(ring, name, path)
    return pieces


def _ring(points: Any, vertices: Vertices) -> np.ndarray:
    vertices.add(max(1, len(points)))
    return np.array([point[:2] for point in points], dtype=np.float64).reshape(len(points), 2) - 0.5


def _read_picture(path: Path, shape: tuple[int, int], limits: IngestionSettings) -> np.ndarray:
    with opened(path) as image:
        _check_shape(path, (image.height, image.width), shape)
        return np.asarray(image)


def _read_tiff(path: Path, shape: tuple[int, int], limits: IngestionSettings) -> np.ndarray:
    with opened_tiff(path, limits) as file:
        series = file.series[0]
        _check_shape(path, series.shape, shape)
        check_length(path, series.keyframe, file.filehandle.size)
        return series.asarray()


def _read_npy(path: Path, shape: tuple[int, int], limits: IngestionSettings) -> np.ndarray:
    # Mapped, so that one of another size is not read.
    return np.lib.format.open_memmap(path, mode="r")


def _read_mat(path: Path, shape: tuple[int, int], limits: IngestionSettings) -> np.ndarray:
    file = MatFile(path, limits.max_variables)
    maps = [
        variable for variable in file.variables if variable.numbers and len(variable.shape) == 2
    ]
    # In MATLAB single numbers and vectors are matrices, too.
    maps = [variable for variable in maps if min(variable.shape) > 1] or maps
    named = [variable for variable in maps if variable.name == "inst_map"]
    maps = named or maps
    if len(maps) != 1:
        names = ", ".join(variable.name for variable in file.variables)
        raise NucleiganError(
            f"{path}: holds the variables {shown(names) or 'none'}; expected `inst_map` or a "
            "single matrix of whole numbers."
        )
    # From its head: of another size it is not unpacked.
    _check_shape(path, maps[0].shape, shape)
    return file.read(maps[0])


OUTLINES: dict[str, Callable[[Path, Remarks, IngestionSettings], list[Outline]]] = {
    ".xml": _read_aperio,
    ".geojson": _read_geojson,
    ".json": _read_geojson,
}
LABEL_MAPS: dict[str, Callable[[Path, tuple[int, int], IngestionSettings], np.ndarray]] = {
    ".png": _read_picture,
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".npy": _read_npy,
    ".mat": _read_mat,
}


def _check_shape(path: Path, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    if tuple(found) != tuple(shape):
        raise NucleiganError(
            f"{path}: the label map is {'×'.join(map(str, found))}, its image "
            f"{'×'.join(map(str, shape))} pixels; give the label map of this image."
        )


def _checked_map(labels: np.ndarray, path: Path, shape: tuple[int, int]) -> np.ndarray:
    _check_shape(path, labels.shape, shape)
    if (
        labels.dtype.kind == "f"
        and np.isfinite(labels).all()
        and np.array_equal(labels, np.rint(labels))
    ):
        # MATLAB stores whole numbers as floats.
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub":
        raise NucleiganError(
            f"{path}: the label map holds {labels.dtype} numbers with fractions; expected whole "
            "numbers, export it again."
        )
    if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
        raise NucleiganError(
            f"{path}: the label map holds {labels.min()}; expected 0 for background and positive "
            "ids, correct it."
        )
    return labels


def _map_warnings(original: np.ndarray, pieces: np.ndarray, path: Path) -> list[str]:
    """What is doubtful about a label map, whose nuclei have so many pieces each once tidied."""
    from scipy import ndimage

    ids = np.unique(original[original > 0])
    warnings = []
    if len(ids) == 1 and ndimage.label(original)[1] > 1:
        warnings.append(
            f"{path} holds the id {ids[0]} alone, in several pieces; it looks like a mask of all "
            "nuclei, and they are taken as one"
        )
    lost = len(ids) - len(pieces)
    if lost:
        warnings.append(f"{path}: {lost} nuclei are too small for the working magnification")
    if original.dtype.itemsize == 1 and len(pieces) == 255 and (pieces > 1).any():
        warnings.append(
            f"{path} has all of the 255 ids of 8 bits, some in several pieces; of more nuclei the "
            "ids were cut off, and those of one id are taken as one"
        )
    return warnings


def _check_ids(pieces: np.ndarray, path: Path) -> None:
    """Refuse ids that do not tell one nucleus from another."""
    several = int((pieces > 1).sum())
    if several > IN_PIECES * len(pieces) and pieces.sum() - len(pieces) >= TOO_MANY:
        raise NucleiganError(
            f"{path}: {several} of its {len(pieces)} ids lie in several pieces, {pieces.sum()} in "
            "all, as in a map of classes, in a mask of all nuclei, or where ids were cut off at 8 "
            "bits; expected a number of its own for each nucleus, export it so."
        )


def _tidy(labels: np.ndarray, min_piece_area: float) -> tuple[np.ndarray, np.ndarray]:
    """Number from 1 without gaps; drop crumbs of nuclei in several pieces.

    Returns
    -------
    The label map, and how many pieces each nucleus has left, (N,).
    """
    from skimage import measure

    ids, places = np.unique(labels, return_inverse=True)
    labels = places.reshape(labels.shape).astype(np.int32) + int(ids.min(initial=1) > 0)
    # In one go for all nuclei: their boxes may overlap, each as large as the image.
    pieces = measure.label(labels, background=0, connectivity=2)
    areas = np.bincount(pieces.ravel())
    owners = np.zeros(len(areas), np.int64)
    owners[pieces] = labels
    # Of each nucleus its largest piece first, of equal ones the upper one.
    order = np.lexsort((np.arange(len(areas)), -areas, owners))
    kept = areas >= min_piece_area
    kept[order[np.unique(owners[order], return_index=True)[1]]] = True
    labels[~kept[pieces]] = 0
    return labels, np.bincount(owners[kept])[1:]
