"""Stain concentrations of a phantom and the picture that they give (Beer and Lambert)."""

import numpy as np
from scipy import ndimage

from nucleigan.phantoms.layout import Tissue
from nucleigan.phantoms.noise import smooth
from nucleigan.phantoms.nuclei import EPITHELIAL, LYMPHOCYTE, SPINDLE, Nuclei
from nucleigan.phantoms.organs import Organ
from nucleigan.stain.vectors import TEXTBOOK

MAX_TURN = 10.0  # degrees between a phantom's stain vectors and the textbook's
BLUR = 0.6  # standard deviation of the optics, pixels
WHITE = 254.0  # grey level of an empty slide
# Haematoxylin outside of nuclei, relative to the organ's plan: enough to tint, little enough that
# fibres and cytoplasm show eosin nearly pure, as a separation of stains presumes.
TINT = 0.2


def stain_matrix(rng: np.random.Generator) -> np.ndarray:
    """Textbook stain vectors, turned by up to MAX_TURN degrees: (2, 3), rows of length 1.

    Haematoxylin turns away from blue and eosin away from red absorption: the other way, nuclei
    look grey and cytoplasm brown.
    """
    rows = []
    for vector, channel in zip(TEXTBOOK, (2, 0), strict=True):
        direction = np.cross(vector, rng.standard_normal(3))
        direction /= -np.copysign(np.linalg.norm(direction), direction[channel])
        turn = np.deg2rad(MAX_TURN) * np.sqrt(rng.random())
        turned = np.abs(np.cos(turn) * vector + np.sin(turn) * direction)
        rows.append(turned / np.linalg.norm(turned))
    return np.array(rows)


def concentrations(
    rng: np.random.Generator, organ: Organ, tissue: Tissue, nuclei: Nuclei
) -> np.ndarray:
    """Haematoxylin and eosin at each pixel of the canvas: (H, W, 2) float32, not negative."""
    h, e = _stroma(rng, organ, tissue)
    _cytoplasm(rng, organ, tissue, nuclei, h, e)
    _spaces(rng, tissue, h, e)
    _chromatin(rng, organ, nuclei, h, e)
    return np.maximum(np.stack((h, e), axis=-1), 0).astype(np.float32)


def photograph(
    rng: np.random.Generator, amounts: np.ndarray, matrix: np.ndarray, noise: float
) -> np.ndarray:
    """The camera's picture of stain amounts (H, W, 2): (H, W, 3) uint8."""
    light = WHITE * np.exp(-(amounts @ matrix.astype(np.float32)))
    light = ndimage.gaussian_filter(light, (BLUR, BLUR, 0))
    light += noise * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _stroma(
    rng: np.random.Generator, organ: Organ, tissue: Tissue
) -> tuple[np.ndarray, np.ndarray]:
    """Wavy collagen: a texture that is long along the fibres and short across them."""
    shape = tissue.depth.shape
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    across, along = tissue.fibre, 0.7 * x + 0.7 * y + 6 * smooth(rng, shape, 40)
    threads = np.zeros(shape, np.float32)
    for width, length, weight in ((2.0, 30, 0.5), (5.0, 45, 0.6), (16.0, 80, 0.45)):
        texture = smooth(rng, (512, 512), (width, length))
        # 512 rows and columns that repeat as mirror images serve canvases of any size.
        threads += weight * ndimage.map_coordinates(
            texture, (across, along), order=1, mode="mirror"
        )
    patches = smooth(rng, shape, 70)
    e = organ.collagen * (0.62 + 0.2 * threads + 0.1 * patches) + 0.03 * smooth(rng, shape, 2)
    # Short slits between bundles let light through.
    slits = smooth(rng, (512, 512), (4.5, 34))
    slits = ndimage.map_coordinates(slits, (across, along), order=1, mode="mirror")
    e *= 1 - 0.75 * np.clip(2.2 * (slits - 1.25), 0, 1)
    h = TINT * (0.10 + 0.035 * threads + 0.03 * smooth(rng, shape, 6))
    return np.maximum(h, 0.005).astype(np.float32), np.maximum(e, 0.04).astype(np.float32)


def _cytoplasm(
    rng: np.random.Generator,
    organ: Organ,
    tissue: Tissue,
    nuclei: Nuclei,
    h: np.ndarray,
    e: np.ndarray,
) -> None:
    """Cells around their nuclei: each its own shade, with granules, membranes and vacuoles."""
    shape = tissue.depth.shape
    cell, gap = _cells(rng, nuclei, shape)
    shade = 1 + 0.13 * rng.standard_normal(len(nuclei.polygons) + 1).astype(np.float32)
    granules = 0.6 * smooth(rng, shape, 2.2) + 0.6 * smooth(rng, shape, 5)
    body = shade[cell] * (1 + organ.granules * granules + 0.08 * smooth(rng, shape, 45))
    membrane = np.exp(-((gap / 1.6) ** 2))
    foam = np.clip(0.5 + 0.5 * smooth(rng, shape, 6) + 0.25 * smooth(rng, shape, 12), 0, 1)
    fullness = 1 - organ.clear * (0.75 * foam + 0.15) * (1 - membrane)
    eosin = organ.eosin * body * fullness + (0.05 + 0.22 * organ.clear) * membrane
    basophilia = (
        TINT * organ.basophilia * (1 + 0.35 * smooth(rng, shape, 9)) * (0.45 + 0.55 * fullness)
    )
    inside = tissue.epithelium
    e[inside] = eosin[inside]
    h[inside] = basophilia[inside]
    basement = np.exp(-(((tissue.depth + 0.5) / 1.6) ** 2))
    e += 0.22 * basement * ~tissue.lumen


def _cells(
    rng: np.random.Generator, nuclei: Nuclei, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The id of the epithelial cell at each pixel, and the distance to its border in pixels."""
    ids = np.flatnonzero(nuclei.kind == EPITHELIAL)
    if len(ids) < 2:
        return np.zeros(shape, np.int32), np.full(shape, 99, np.float32)
    from scipy.spatial import cKDTree

    centres = nuclei.polygons[ids].mean(axis=1)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bent = np.stack((x + 1.6 * smooth(rng, shape, 14), y + 1.6 * smooth(rng, shape, 14)), axis=-1)
    distance, nearest = cKDTree(centres).query(bent.reshape(-1, 2), k=2)
    # Exact at the border of a Voronoi cell: difference of squares over twice the distance.
    apart = np.linalg.norm(centres[nearest[:, 0]] - centres[nearest[:, 1]], axis=1)
    gap = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart)
    return (ids[nearest[:, 0]] + 1).reshape(shape), gap.reshape(shape).astype(np.float32)


def _spaces(rng: np.random.Generator, tissue: Tissue, h: np.ndarray, e: np.ndarray) -> None:
    """Lumens are nearly empty, with a trace of secretion; their edge is a thin pink line."""
    shape = tissue.depth.shape
    secretion = np.clip(smooth(rng, shape, 24) - 1.35, 0, 0.5) * (0.7 + 0.3 * smooth(rng, shape, 3))
    soft = ndimage.gaussian_filter(tissue.lumen.astype(np.float32), 1.0)
    h *= 1 - soft
    e *= 1 - soft
    e += soft * (0.015 + 0.6 * secretion)
    e += 0.5 * soft * (1 - soft)


def _chromatin(
    rng: np.random.Generator, organ: Organ, nuclei: Nuclei, h: np.ndarray, e: np.ndarray
) -> None:
    """Chromatin: clumps, a dark membrane, a pale centre in vesicular nuclei, nucleoli."""
    labels, kind = nuclei.labels, nuclei.kind
    number = len(kind)
    if number == 0:
        return
    shape = labels.shape
    inside = labels > 0
    which = labels[inside] - 1
    level = np.select([kind == LYMPHOCYTE, kind == SPINDLE], [1.5, 1.15], organ.chromatin) * np.exp(
        0.14 * rng.standard_normal(number)
    )
    pale = np.clip(organ.vesicular + 0.25 * rng.standard_normal(number), 0, 1)
    pale[kind == LYMPHOCYTE] *= 0.1
    pale[kind == SPINDLE] *= 0.4
    depth = ndimage.distance_transform_edt(_interior(labels))[inside]
    rim = np.exp(-(((depth - 1.5) / 1.3) ** 2))
    clumps = 0.6 * smooth(rng, shape, 2.6)[inside] + 0.5 * smooth(rng, shape, 5)[inside]
    body = 1 - 0.42 * pale[which] + (0.10 + 0.14 * pale[which]) * clumps
    amount = level[which] * (body + (0.12 + 0.38 * pale[which]) * rim)
    amount += _nucleoli(rng, organ, nuclei)[inside]
    amount *= np.clip(0.55 + 0.3 * depth, 0, 1)  # the edge of a sphere is thin
    h[inside] = np.maximum(amount, 0.2)
    e[inside] *= 0.05


def _interior(labels: np.ndarray) -> np.ndarray:
    """Nuclear pixels without those that face another nucleus."""
    inside = labels > 0
    for axis in (0, 1):
        other = np.roll(labels, 1, axis)
        facing = (other != labels) & (other > 0)
        inside &= ~facing
    return inside


def _nucleoli(rng: np.random.Generator, organ: Organ, nuclei: Nuclei) -> np.ndarray:
    """Haematoxylin of one or two dark dots in some epithelial nuclei: (H, W)."""
    side = nuclei.labels.shape[0]
    dots = np.zeros((side, side), np.float32)
    epithelial = np.flatnonzero(nuclei.kind == EPITHELIAL)
    chosen = epithelial[rng.random(len(epithelial)) < organ.nucleoli]
    chosen = np.concatenate((chosen, chosen[rng.random(len(chosen)) < 0.3]))
    centres = nuclei.polygons[chosen].mean(axis=1)
    towards = nuclei.polygons[chosen, rng.integers(nuclei.polygons.shape[1], size=len(chosen))]
    spots = centres + rng.uniform(0, 0.5, (len(chosen), 1)) * (towards - centres)
    grid = np.mgrid[-5:6, -5:6]
    for (x, y), radius in zip(spots, rng.uniform(1.4, 2.3, len(chosen)), strict=True):
        column, row = int(x), int(y)
        if not (5 <= column < side - 5 and 5 <= row < side - 5):
            continue
        square = (grid[0] + row - y) ** 2 + (grid[1] + column - x) ** 2
        dots[row - 5 : row + 6, column - 5 : column + 6] += 0.7 * np.exp(
            -((square / radius**2) ** 2)
        )
    return dots
