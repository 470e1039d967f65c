"""A slide drawn from stains that are known."""

from collections.abc import Callable

import numpy as np
import pytest

from nucleigan.stain.optical_density import to_image


def _render(
    matrix: np.ndarray, factors: tuple[float, float] = (1.0, 1.0), size: int = 256, seed: int = 0
) -> np.ndarray:
    """Beer-Lambert: nuclei of haematoxylin on eosin, a strip of glass, noise of the camera."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    nuclei = np.zeros((size, size))
    for _ in range(size * size // 1300):
        row, column = rng.integers(0, size, 2)
        inside = (rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(6, 11) ** 2
        nuclei[inside] = rng.uniform(0.8, 1.6)
    haematoxylin = np.where(nuclei > 0, nuclei * rng.uniform(0.8, 1.2, nuclei.shape), 0.03)
    eosin = rng.uniform(0.3, 0.9, nuclei.shape) * np.where(nuclei > 0, 0.15, 1.0)
    amounts = np.stack([haematoxylin, eosin], axis=-1)
    amounts[:, : size // 10] = 0
    density = (amounts * factors) @ matrix
    return to_image(density + rng.normal(0, 0.005, density.shape) * (density > 0))


@pytest.fixture(scope="session")
def render() -> Callable[..., np.ndarray]:
    """``render(matrix, factors=(1, 1), size=256, seed=0)`` to (size, size, 3) uint8."""
    return _render
