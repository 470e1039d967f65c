"""Images and label maps at another magnification."""

import numpy as np
from PIL import Image

# Magnifications closer than this are taken as equal.
SAME = 0.005


def scaled_shape(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    """Height and width after scaling; unchanged where the factor is 1 within half a per cent."""
    if abs(factor - 1) < SAME:
        return shape
    height, width = (max(1, round(length * factor)) for length in shape)
    return height, width


def resample_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring an image to a shape; shrinking averages the area that each new pixel covers.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    shape
        Height and width of the result.
    """
    if image.shape[:2] == shape:
        return image
    shrinks = shape[0] <= image.shape[0] and shape[1] <= image.shape[1]
    # Box is the area average; enlarging needs interpolation, bicubic keeps edges.
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize(shape[::-1], how))


def resample_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring a label map to a shape; each pixel takes the label at its centre.

    Parameters
    ----------
    labels
        (H, W) int32.
    shape
        Height and width of the result.
    """
    if labels.shape == shape:
        return labels
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(shape, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]
