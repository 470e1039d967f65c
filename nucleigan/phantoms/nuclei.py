"""Nuclei of a phantom: where they lie, how large they are, what their outline is."""

from dataclasses import dataclass, replace

import numpy as np

from nucleigan.masks.polygons import outlines, rasterise
from nucleigan.phantoms.layout import Tissue
from nucleigan.phantoms.organs import Organ

VERTICES = 28
IRREGULARITY = 0.035
MIN_VISIBLE = 12  # pixels; a nucleus of which the border leaves less is not drawn
DECIMALS = 2  # of vertices, in the annotation and here: both mean the same polygon
EPITHELIAL, SPINDLE, LYMPHOCYTE = 0, 1, 2


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of a canvas; row i of every array is id i + 1.

    Attributes
    ----------
    labels : (H, W) int32.
    polygons : (N, VERTICES, 2) x and y, pixel centres at whole numbers; may leave the canvas.
    kind : (N,) EPITHELIAL, SPINDLE or LYMPHOCYTE.
    """

    labels: np.ndarray
    polygons: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class _Candidates:
    """Nuclei to be tried, best first: centres (N, 2), what they are, and their distance."""

    centre: np.ndarray
    kind: np.ndarray
    area: np.ndarray
    elongation: np.ndarray
    angle: np.ndarray
    distance: np.ndarray


def place(rng: np.random.Generator, organ: Organ, tissue: Tissue) -> Nuclei:
    """Put nuclei into the compartments; they may touch and never overlap."""
    groups = [_epithelial(rng, organ, tissue), _stromal(rng, organ, tissue)]
    fields = ("centre", "kind", "area", "elongation", "angle", "distance")
    every = _Candidates(*(np.concatenate([getattr(g, name) for g in groups]) for name in fields))
    return _settle(rng, every, tissue)


def _angles(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Direction in which a field rises at points (N, 2) of whole pixels, radians."""
    side = field.shape[0]
    x, y = points[:, 0].astype(int), points[:, 1].astype(int)
    low, high = np.maximum(x - 4, 0), np.minimum(x + 4, side - 1)
    top, bottom = np.maximum(y - 4, 0), np.minimum(y + 4, side - 1)
    return np.arctan2(field[bottom, x] - field[top, x], field[y, high] - field[y, low])


def _draw(rng: np.random.Generator, where: np.ndarray, number: int) -> np.ndarray:
    """Random pixels (N, 2) of a compartment; fewer where it is small."""
    y, x = np.nonzero(where)
    if len(y) == 0:
        return np.zeros((0, 2))
    chosen = rng.integers(len(y), size=number)
    return np.stack((x[chosen], y[chosen]), axis=1) + rng.random((number, 2)) - 0.5


def _epithelial(rng: np.random.Generator, organ: Organ, tissue: Tissue) -> _Candidates:
    low, high = organ.band
    where = tissue.epithelium & (tissue.depth >= low) & (tissue.depth <= high)
    tries = int(5 * where.sum() / (organ.spacing * organ.diameter) ** 2 * 3)
    points = _draw(rng, where, tries)
    number = len(points)
    depth = (
        tissue.depth[points[:, 1].astype(int), points[:, 0].astype(int)] if number else np.zeros(0)
    )
    size = organ.diameter * np.exp(0.10 * np.clip(rng.standard_normal(number), -2, 2.5))
    distance = organ.spacing * size * rng.uniform(0.85, 1.12, number)
    elongation = 1 + (organ.elongation - 1) * rng.uniform(0.4, 1.7, number)
    angle = rng.random(number) * np.pi
    rise = _angles(tissue.depth, points)
    if organ.radial:
        angle = rise + 0.22 * rng.standard_normal(number)
    if organ.layout == "layers":
        # Maturation: basal cells are small and crowded, surface cells wide and flat.
        part = np.clip(depth / organ.height, 0, 1)
        size = size * np.where(part < 0.12, 0.85, 1 - 0.18 * part)
        distance = distance * np.where(part < 0.12, 0.72, 0.85 + 0.75 * part)
        flat = part > 0.7
        angle = np.where(flat, rise + np.pi / 2 + 0.15 * rng.standard_normal(number), angle)
        elongation = np.where(flat, 1.3 + 1.1 * rng.random(number), elongation)
    kind = np.full(number, EPITHELIAL)
    return _Candidates(points, kind, np.pi / 4 * size**2, elongation, angle, distance)


def _stromal(rng: np.random.Generator, organ: Organ, tissue: Tissue) -> _Candidates:
    stroma = tissue.stroma & (tissue.depth < (-4 if organ.layout != "cords" else 2))
    wanted = organ.stromal * stroma.sum() / 1e4
    points = _draw(rng, stroma, int(wanted * 2.2) + 1)
    number = len(points)
    # Lymphocytes come in crowds: one random wave decides where.
    wave = (
        np.sin(points @ rng.uniform(-0.03, 0.03, 2) + rng.random() * 6) if number else np.zeros(0)
    )
    crowd = organ.lymphocytes * (1 + 0.8 * wave)
    lymphocyte = rng.random(number) < crowd
    long_ = 1.9 + 1.9 * rng.random(number)
    area = np.where(lymphocyte, 200, 210) * np.exp(
        0.2 * np.clip(rng.standard_normal(number), -2, 2)
    )
    elongation = np.where(lymphocyte, 1.05 + 0.15 * rng.random(number), long_)
    angle = _angles(tissue.fibre, points) + np.pi / 2 + 0.18 * rng.standard_normal(number)
    distance = np.where(
        lymphocyte, 15.5, 100 / np.sqrt(2.2 * organ.stromal) * rng.uniform(0.6, 1, number)
    )
    kind = np.where(lymphocyte, LYMPHOCYTE, SPINDLE)
    return _Candidates(points, kind, area, elongation, angle, distance)


def _settle(rng: np.random.Generator, every: _Candidates, tissue: Tissue) -> Nuclei:
    """Take the candidates that keep their distance, lie in tissue and do not overlap."""
    side = tissue.depth.shape[0]
    rows = _apart(every)
    every = replace(every, **{name: value[rows] for name, value in vars(every).items()})
    shapes = outlines(rng, every.area, every.elongation, every.angle, IRREGULARITY, VERTICES)
    polygons = np.round(shapes + every.centre[:, None], DECIMALS)
    if len(polygons) == 0:
        return Nuclei(np.zeros((side, side), np.int32), polygons, every.kind)
    masks, origins = rasterise(polygons)
    pad = masks.shape[1]
    labels = np.zeros((side + 2 * pad, side + 2 * pad), np.int32)
    space = np.pad(tissue.lumen, pad)
    kept: list[int] = []
    for row, (mask, (left, top)) in enumerate(zip(masks, origins + pad, strict=True)):
        box = (slice(top, top + pad), slice(left, left + pad))
        outside = np.count_nonzero(space[box] & mask) > 0.1 * every.area[row]
        if outside or np.any(labels[box][mask]):
            continue
        kept.append(row)
        labels[box][mask] = len(kept)
    inner = labels[pad : pad + side, pad : pad + side]
    return Nuclei(inner, polygons[kept], every.kind[kept])


def _apart(every: _Candidates) -> np.ndarray:
    """Rows that keep the distance to all rows taken before them."""
    taken = np.empty((len(every.centre), 3))
    rows: list[int] = []
    for row, (point, distance) in enumerate(zip(every.centre, every.distance, strict=True)):
        near = taken[: len(rows)]
        squares = (near[:, 0] - point[0]) ** 2 + (near[:, 1] - point[1]) ** 2
        # The smaller of both distances counts, so that a small cell may sit beside a wide one.
        if np.any(squares < np.minimum(near[:, 2], distance) ** 2):
            continue
        taken[len(rows)] = (*point, distance)
        rows.append(row)
    return np.array(rows, int)


def crop(nuclei: Nuclei, margin: int) -> Nuclei:
    """Cut a margin off all sides and number the nuclei that remain visible from 1."""
    labels = nuclei.labels[margin:-margin, margin:-margin]
    visible = np.bincount(labels.ravel(), minlength=len(nuclei.polygons) + 1)[1:] >= MIN_VISIBLE
    table = np.r_[0, np.where(visible, np.cumsum(visible), 0)].astype(np.int32)
    return Nuclei(table[labels], nuclei.polygons[visible] - margin, nuclei.kind[visible])
