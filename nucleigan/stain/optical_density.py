"""Between 8-bit colours and optical densities, by table."""

import numpy as np

# OD = −ln((I + 1) / 256): 0 for white, finite for black.
DENSITY = -np.log((np.arange(256) + 1.0) / 256.0).astype(np.float32)

# sRGB to linear light (IEC 61966-2-1) with the weights of relative luminance.
_LEVELS = np.arange(256) / 255.0
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
LUMINANCE = (_LINEAR * np.array([[0.2126], [0.7152], [0.0722]])).astype(np.float32)


def as_pixels(image: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 to (N, 3); anything else, an image with opacity too, raises ValueError."""
    if image.dtype != np.uint8 or image.ndim < 2 or image.shape[-1] != 3:
        raise ValueError(f"stains need (H, W, 3) uint8, not {image.shape} {image.dtype}")
    return image.reshape(-1, 3)


def optical_density(image: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 to float32 optical densities, natural logarithm, from 0 to 5.55."""
    return DENSITY[image]


def to_image(density: np.ndarray) -> np.ndarray:
    """Optical densities back to uint8; the inverse of :func:`optical_density`."""
    levels = np.exp(-density)
    levels *= 256.0
    levels -= 0.5  # −1 for the offset, +0.5 to round
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def is_tissue(image: np.ndarray, threshold: float) -> np.ndarray:
    """Pixels darker than glass.

    Parameters
    ----------
    image
        (..., 3) uint8.
    threshold
        CIE lightness L* / 100 from which on a pixel is background.

    Returns
    -------
    (...) bool.
    """
    luminance = LUMINANCE[0][image[..., 0]]
    luminance += LUMINANCE[1][image[..., 1]]
    luminance += LUMINANCE[2][image[..., 2]]
    # L* = 116 Y^(1/3) − 16, solved for the luminance Y.
    return luminance < ((100.0 * threshold + 16.0) / 116.0) ** 3
