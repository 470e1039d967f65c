"""Give one slide the stains of another, keeping its structure."""

import numpy as np

from nucleigan.config import StainSettings
from nucleigan.stain.optical_density import as_pixels, optical_density, to_image
from nucleigan.stain.profile import StainProfile
from nucleigan.stain.separation import CHUNK, MIN_PERCENTILE, solve


def normalize(
    image: np.ndarray,
    source: StainProfile,
    reference: StainProfile,
    settings: StainSettings | None = None,
) -> np.ndarray:
    """Replace the stains of an image.

    Every pixel's concentrations are scaled so that the high percentiles of both slides agree, then
    shown in the reference's colours. A stain that is nearly absent is not amplified. What neither
    stain explains is dropped; white stays white.

    Parameters
    ----------
    image
        (H, W, 3) uint8; a part of a slide gives that part of the slide's result.
    source, reference
        Stains of this slide and of the one to look like.
    settings
        ``concentration_sparsity`` of the concentrations.

    Returns
    -------
    (H, W, 3) uint8.
    """
    settings = settings or StainSettings()
    scale = reference.percentiles / source.percentiles
    scale = np.where(source.percentiles > MIN_PERCENTILE, scale, np.minimum(scale, 1.0))
    mixing = (scale[:, None] * reference.matrix).astype(np.float32)
    flat = as_pixels(image)
    result = np.empty_like(flat)
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        amounts = solve(optical_density(flat[part]), source.matrix, settings.concentration_sparsity)
        for channel, (first, second) in enumerate(mixing.T):
            density = amounts[:, 0] * first + amounts[:, 1] * second
            result[part, channel] = to_image(density)
    return result.reshape(image.shape)
