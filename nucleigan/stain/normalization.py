"""Give one slide the stains of another, keeping its structure."""

import numpy as np

from nucleigan.config import StainSettings
from nucleigan.slides.tissue import is_black
from nucleigan.stain.optical_density import as_pixels, optical_density, to_image
from nucleigan.stain.profile import StainProfile
from nucleigan.stain.separation import CHUNK, MIN_PERCENTILE, solve

# No stain is amplified more: between any two of the 30 Kumar tiles it takes 3.0 at most, and what
# has hardly any of a stain would be given that of another slide.
MOST_AMPLIFIED = 4.0


def normalize(
    image: np.ndarray,
    source: StainProfile,
    reference: StainProfile,
    settings: StainSettings | None = None,
) -> np.ndarray:
    """Replace the stains of an image.

    Every pixel's concentrations are scaled so that the high percentiles of both slides agree, then
    shown in the reference's colours; see :func:`scales`. What neither stain explains is dropped;
    white stays white, and the black of a slide that is padded with it becomes white.

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
    mixing = (scales(source, reference)[:, None] * reference.matrix).astype(np.float32)
    flat = as_pixels(image)
    result = np.empty_like(flat)
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        amounts = solve(optical_density(flat[part]), source.matrix, settings.concentration_sparsity)
        for channel, (first, second) in enumerate(mixing.T):
            density = amounts[:, 0] * first + amounts[:, 1] * second
            result[part, channel] = to_image(density)
        if source.padded:
            result[part][is_black(flat[part])] = 255
    return result.reshape(image.shape)


def scales(source: StainProfile, reference: StainProfile) -> np.ndarray:
    """What the concentrations of each stain are multiplied by, (2,).

    A stain that is nearly absent is not amplified, and none more than :data:`MOST_AMPLIFIED` times.
    """
    scale: np.ndarray = reference.percentiles / source.percentiles
    most = np.where(source.percentiles > MIN_PERCENTILE, MOST_AMPLIFIED, 1.0)
    return np.minimum(scale, most)
