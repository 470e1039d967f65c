"""Where the tissue compartments of a phantom lie."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nucleigan.phantoms.noise import ring, smooth
from nucleigan.phantoms.organs import Organ

# Depth outside any epithelium, pixels below the basement membrane, at most.
DEEPEST = 90.0


@dataclass(frozen=True)
class Tissue:
    """Compartments of a canvas.

    Attributes
    ----------
    depth : (H, W) float32, pixels above the basement membrane; negative in the stroma.
    lumen : (H, W) bool, empty space.
    fibre : (H, W) float32, coordinate across the fibres of the stroma, pixels.
    """

    depth: np.ndarray
    lumen: np.ndarray
    fibre: np.ndarray

    @property
    def epithelium(self) -> np.ndarray:
        """(H, W) bool."""
        return (self.depth > 0) & ~self.lumen

    @property
    def stroma(self) -> np.ndarray:
        """(H, W) bool."""
        return (self.depth <= 0) & ~self.lumen


def build(rng: np.random.Generator, organ: Organ, side: int) -> Tissue:
    """Lay out a square canvas of ``side`` pixels."""
    depth, lumen = LAYOUTS[organ.layout](rng, organ, side)
    depth = depth.astype(np.float32)
    return Tissue(depth, lumen, _fibres(rng, depth))


def _fibres(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    """Fibres run along one direction, in waves, and bend around the epithelium."""
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float32)
    angle = rng.random() * np.pi
    across = x * np.sin(angle) + y * np.cos(angle)
    waves = 16 * smooth(rng, depth.shape, 75) + 2.0 * smooth(rng, depth.shape, 22)
    return (0.9 * across + waves - 0.5 * np.maximum(depth, -DEEPEST)).astype(np.float32)


def scatter(rng: np.random.Generator, side: int, distance: float, tries: int) -> np.ndarray:
    """Random points, (N, 2) x and y, no two closer than ``distance``; some outside the canvas."""
    drawn = rng.uniform(-0.4 * distance, side + 0.4 * distance, (tries, 2))
    kept = np.empty((0, 2))
    for point in drawn:
        if not len(kept) or ((kept - point) ** 2).sum(axis=1).min() >= distance**2:
            kept = np.vstack((kept, point))
    return kept


def _blob_depth(
    rng: np.random.Generator, organ: Organ, side: int, distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Depth inside irregular blobs, and the noise that roughens their inner surface."""
    centres = scatter(rng, side, distance, 500)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    # Two nearest blobs share the space between them; each edge keeps half of the gap.
    distances = np.full((2, side, side), 1e6, np.float32)
    depth = np.full((side, side), -1e6, np.float32)
    for cx, cy in centres:
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        r = np.hypot(dx, dy)
        reach = organ.radius * (1 + 0.14 * ring(rng, np.linspace(-np.pi, np.pi, 361), range(2, 7)))
        bins = ((np.arctan2(dy, dx) + np.pi) * (360 / (2 * np.pi))).astype(np.int16)
        np.maximum(depth, reach.astype(np.float32)[bins] - r, out=depth)
        nearer = np.minimum(distances[0], r)
        distances[1] = np.minimum(distances[1], np.maximum(distances[0], r))
        distances[0] = nearer
    wall = (distances[1] - distances[0] - organ.gap) / 2
    return np.minimum(depth, wall + 3 * smooth(rng, depth.shape, 40)), wall


def _glands(rng: np.random.Generator, organ: Organ, side: int) -> tuple[np.ndarray, np.ndarray]:
    depth, _ = _blob_depth(rng, organ, side, 1.6 * organ.radius)
    edge = organ.height * (
        1 + 0.12 * smooth(rng, depth.shape, 28) + 0.05 * smooth(rng, depth.shape, 9)
    )
    return depth, depth > edge


def _nests(rng: np.random.Generator, organ: Organ, side: int) -> tuple[np.ndarray, np.ndarray]:
    depth, _ = _blob_depth(rng, organ, side, 1.6 * organ.radius)
    # A few small lumens in the middle of the nests, and clefts where tissue shrank off the stroma.
    spaces = smooth(rng, depth.shape, 34) + 0.25 * smooth(rng, depth.shape, 9)
    lumen = (depth > 24) & (spaces > 1.75)
    cleft = (np.abs(depth + 2.5) < 2.5) & (smooth(rng, depth.shape, 45) > 1.0)
    return depth, lumen | cleft


def _fascicles(rng: np.random.Generator, organ: Organ, side: int) -> tuple[np.ndarray, np.ndarray]:
    depth, _ = _blob_depth(rng, organ, side, 2.0 * organ.radius + organ.gap)
    lumen = (depth > 26) & (smooth(rng, depth.shape, 30) > 0.9)
    vessels = (depth < -15) & (smooth(rng, depth.shape, 28) > 2.3)
    return depth, lumen | vessels


def _layers(rng: np.random.Generator, organ: Organ, side: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    tilt = rng.uniform(-0.25, 0.25)
    waves = 22 * smooth(rng, (1, side), 110) + 6 * smooth(rng, (1, side), 45)
    level = side * rng.uniform(0.68, 0.82) + tilt * (x - side / 2) + waves
    depth = level - y + 2 * smooth(rng, (side, side), 25)
    surface = organ.height + 9 * smooth(rng, (side, side), 45) + 2.5 * smooth(rng, (side, side), 8)
    capillaries = (depth < -18) & (smooth(rng, depth.shape, 26) > 1.9)
    return depth, (depth > surface) | capillaries


def _cords(rng: np.random.Generator, organ: Organ, side: int) -> tuple[np.ndarray, np.ndarray]:
    # Sinusoids follow the zero lines of a smooth field; its slope turns values into pixels.
    field = smooth(rng, (side, side), organ.radius) + 0.12 * smooth(rng, (side, side), 25)
    down, across = np.gradient(field)
    slope = np.maximum(np.hypot(down, across), 0.35 / organ.radius)
    depth = np.abs(field) / slope - organ.gap
    wall = organ.gap * (
        0.7 + 0.3 * smooth(rng, depth.shape, 16) + 0.12 * smooth(rng, depth.shape, 6)
    )
    return depth, depth < -organ.gap + wall


LAYOUTS: dict[str, Callable[[np.random.Generator, Organ, int], tuple[np.ndarray, np.ndarray]]] = {
    "glands": _glands,
    "nests": _nests,
    "layers": _layers,
    "cords": _cords,
    "fascicles": _fascicles,
}
