"""Where a slide holds tissue."""

import math

import numpy as np

from nucleigan.windows import Picture, bands

# Relative luminance of red, green and blue (ITU-R BT.709), and the grey that glass exceeds.
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
GLASS = 220.0
# Where no colour is brighter than this there is no tissue, but padding or what was not scanned: of
# the 30 tiles of Kumar et al. 2017 no pixel is that dark.
BLACK = 10
# Slides with more of it than this are taken to be padded; below, black is the darkest of nuclei.
MOST_BLACK = 0.01
# Rows at a time, so that a large slide is not held as floating point numbers.
ROWS = 1024


def tissue_mask(image: np.ndarray, threshold: float = GLASS) -> np.ndarray:
    """Pixels darker than glass, but not black.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    threshold
        Luminance from 0 to 255 above which a pixel is glass.

    Returns
    -------
    (H, W) bool.
    """
    mask = np.empty(image.shape[:2], bool)
    for top in range(0, len(image), ROWS):
        rows = slice(top, top + ROWS)
        mask[rows] = image[rows].astype(np.float32) @ LUMINANCE < threshold
        mask[rows] &= ~is_black(image[rows])
    return mask


def whitened(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 whose black is shown as glass; itself where there is none.

    Later stages then take it for what holds nothing, whatever stains they give the slide.
    """
    black = is_black(image)
    return np.where(black[..., None], np.uint8(255), image) if black.any() else image


def black_part(image: Picture) -> float:
    """How much of an image (H, W, 3) uint8 is black, 0 to 1; it is read in bands."""
    dark = sum(int(is_black(band).sum()) for band in bands(image))
    return dark / max(1, math.prod(image.shape[:2]))


def is_black(image: np.ndarray) -> np.ndarray:
    """Pixels of an image (..., 3) uint8 that are no part of the slide, (...) bool."""
    return (image[..., 0] <= BLACK) & (image[..., 1] <= BLACK) & (image[..., 2] <= BLACK)
