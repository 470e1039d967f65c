"""Images and label maps at another magnification."""

import numpy as np

# Magnifications closer than this are taken as equal.
SAME = 0.005
# Numbers that are averaged at a time; bounds the memory beside the image itself.
STRIP = 8_000_000


def scaled_shape(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    """Height and width after scaling; unchanged where the factor is 1 within half a per cent."""
    if abs(factor - 1) < SAME:
        return shape
    height, width = (max(1, round(length * factor)) for length in shape)
    return height, width


def resample_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring an image to a shape.

    Shrinking averages the area that each new pixel covers, with the pixels at its border counted by
    the part of them that it covers, so that the mean colour stays. Enlarging is bicubic.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    shape
        Height and width of the result, pixels.

    Returns
    -------
    (*shape, 3) uint8.
    """
    if image.shape[:2] == shape:
        return image
    if shape[0] <= image.shape[0] and shape[1] <= image.shape[1]:
        return _averaged(image, shape)
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC))


def resample_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring a label map to a shape; each pixel takes the label at its centre.

    Parameters
    ----------
    labels
        (H, W) integers.
    shape
        Height and width of the result, pixels.
    """
    if labels.shape == shape:
        return labels
    # In whole numbers: (pixel + 1/2) · old / new, rounded down.
    rows, columns = (
        (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
        for new, old in zip(shape, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _averaged(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Area averages, strip by strip."""
    height, width = image.shape[:2]
    step = max(1, round(STRIP * shape[0] / (height * width * 3)))
    result = np.empty((*shape, 3), np.uint8)
    for top in range(0, shape[0], step):
        edges = np.arange(top, min(top + step, shape[0]) + 1) * (height / shape[0])
        first, last = int(edges[0]), min(height, int(np.ceil(edges[-1])))
        strip = _means(image[first:last], edges - first)
        columns = np.arange(shape[1] + 1) * (width / shape[1])
        means = _means(strip.transpose(1, 0, 2), columns).transpose(1, 0, 2)
        result[top : top + step] = np.rint(means)
    return result


def _means(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Means between edges along the first axis, from the differences of the running integral."""
    integral = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, dtype=np.float64, out=integral[1:])
    below = np.minimum(edges.astype(int), len(values) - 1)
    part = np.clip(edges - below, 0.0, 1.0)[:, None, None]
    at_edges = integral[below] + part * values[below]
    return np.diff(at_edges, axis=0) / np.diff(edges)[:, None, None]
