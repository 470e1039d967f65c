"""Smooth random fields, the material that all textures are made of."""

import numpy as np
from PIL import Image


def smooth(
    rng: np.random.Generator, shape: tuple[int, int], scale: float | tuple[float, float]
) -> np.ndarray:
    """A smooth random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    rng
        Source of all randomness.
    shape
        (H, W).
    scale
        Size of its blobs, pixels; or (down, across).

    Returns
    -------
    numpy.ndarray
        (H, W) float32.
    """
    down, across = scale if isinstance(scale, tuple) else (scale, scale)
    rows, columns = int(np.ceil(shape[0] / down)) + 3, int(np.ceil(shape[1] / across)) + 3
    coarse = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    left, top = rng.random(2)
    box = (left, top, left + shape[1] / across, top + shape[0] / down)
    field = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))
    # The loss of variance by interpolation; per-image division would couple the field to its size.
    return field / np.float32(0.74 if min(down, across) > 1.5 else 0.9)


def ring(rng: np.random.Generator, angles: np.ndarray, harmonics: range) -> np.ndarray:
    """Smooth periodic noise over angles in radians, standard deviation about 1, of their shape."""
    orders = np.array(harmonics, float)
    weights = rng.standard_normal(len(orders)) / orders
    weights *= np.sqrt(2 / np.sum(1 / orders**2))
    table_angles = np.linspace(-np.pi, np.pi, 181)
    phases = rng.random(len(orders)) * 2 * np.pi
    table = (weights[:, None] * np.cos(orders[:, None] * table_angles + phases[:, None])).sum(
        axis=0
    )
    return np.interp(angles, table_angles, table)
