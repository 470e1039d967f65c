"""Images and label maps at another magnification.

Images are read and made in bands of rows, so that neither has to fit into memory.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from nucleigan.windows import Picture, bands

# Magnifications closer than this are taken as equal.
SAME = 0.005
# Numbers that are averaged at a time; bounds the memory beside the image itself.
STRIP = 8_000_000
# Pixels along a side of one of a coarser label map that are asked, at most: the next takes that at
# its centre, which is less than an eighth of the new pixel off.
VOTING = 5
# By which corner a pixel decides between labels that cover as much of it, after the parities of row
# and column: along each row the upper ones and the lower ones in turns, along each column the left
# ones and the right ones.
_TURNS = {
    (0, 0): np.s_[:, :],
    (0, 1): np.s_[::-1, :],
    (1, 0): np.s_[::-1, ::-1],
    (1, 1): np.s_[:, ::-1],
}
# Keys' cubic convolution with a = −1/2, its reach in pixels, and the bits of its weights' fraction:
# those of Pillow.
CUBIC, REACH, FRACTION = -0.5, 2.0, 22


def scaled_shape(shape: tuple[int, int], factor: float) -> tuple[int, int]:
    """Height and width after scaling; unchanged where the factor is 1 within half a per cent."""
    if abs(factor - 1) < SAME:
        return shape
    height, width = (max(1, round(length * factor)) for length in shape)
    return height, width


def shrunk(image: Picture, side: int) -> np.ndarray:
    """An image at most so many pixels high and wide; a smaller one as it is."""
    scale = min(1.0, side / max(image.shape[:2]))
    return resample_image(image, scaled_shape((image.shape[0], image.shape[1]), scale))


def resample_image(image: Picture, shape: tuple[int, int]) -> np.ndarray:
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
        return image if isinstance(image, np.ndarray) else image[:, :]
    result = np.empty((*shape, 3), np.uint8)
    top = 0
    for band in resampled(image, shape):
        result[top : top + len(band)] = band
        top += len(band)
    return result


def resampled(
    image: Picture, shape: tuple[int, int], extent: tuple[float, float] | None = None
) -> Iterator[np.ndarray]:
    """The rows of :func:`resample_image`, from top to bottom in bands.

    Parameters
    ----------
    image
        (H, W, 3) uint8, read in bands of rows.
    shape
        Height and width of the result, pixels.
    extent
        Height and width that the result shows, in pixels of the image, less than one more or less
        than the image has; None for all of it.

    Yields
    ------
    (h, shape[1], 3) uint8.
    """
    if extent is None:
        extent = (image.shape[0], image.shape[1])
    if image.shape[:2] == shape == extent:
        return bands(image)
    # Where a side of the image was filled up, the result may be larger by less than a pixel.
    if shape[0] <= math.ceil(extent[0]) and shape[1] <= math.ceil(extent[1]):
        return _averaged(image, shape, extent)
    return _interpolated(image, shape, extent)


def resample_labels(labels: Picture, shape: tuple[int, int]) -> np.ndarray:
    """Bring a label map to a shape.

    Each pixel takes the label that covers most of it; of labels that cover as much, that of one of
    its corners, of each in turns, so that nuclei stay where they are. Where a pixel reaches over
    more than ``VOTING`` of those before, it takes the label at its centre.

    Parameters
    ----------
    labels
        (H, W) integers, read in bands of rows.
    shape
        Height and width of the result, pixels.
    """
    if labels.shape == shape:
        return labels[:, :]
    size = (labels.shape[0], labels.shape[1])
    return np.concatenate(list(resampled_labels(bands(labels), size, shape)))


def resampled_labels(
    rows: Iterable[np.ndarray], size: tuple[int, int], shape: tuple[int, int]
) -> Iterator[np.ndarray]:
    """The rows of :func:`resample_labels` for a map of some size that is given in bands of rows."""
    down, across = (_covered(old, new) for old, new in zip(size, shape, strict=True))
    held = np.empty((0, size[1]), np.int32)
    top = done = 0
    for band in rows:
        held = np.concatenate([held, band]) if len(held) else band
        ready = int(np.searchsorted(down.places[:, -1], top + len(held)))
        if ready > done:
            part = slice(done, ready)
            yield _voted(held, _Covered(down.places[part] - top, down.weights[part]), across, done)
            done = ready
        needed = int(down.places[done, 0]) - top if done < shape[0] else len(held)
        held, top = held[needed:], top + min(needed, len(held))


class _Covered(NamedTuple):
    """Which pixels each new one covers, (new, n), and how much of each in whole numbers."""

    places: np.ndarray
    weights: np.ndarray


def _covered(old: int, new: int) -> _Covered:
    """Along one side. Lengths are counted in 1 / new of a pixel, so that all are whole."""
    edges = np.arange(new + 1, dtype=np.int64) * old
    first = edges[:-1] // new
    most = int((-(-edges[1:] // new) - first).max())
    if most > VOTING:
        centres = (edges[:-1] + edges[1:]) // (2 * new)
        return _Covered(centres[:, None], np.ones((new, 1), np.int64))
    places = first[:, None] + np.arange(most)
    weights = np.minimum(edges[1:, None], (places + 1) * new) - np.maximum(
        edges[:-1, None], places * new
    )
    # A place that a pixel does not reach counts for nothing, and need not exist.
    last = np.where(weights > 0, places, 0).max(axis=1)
    return _Covered(np.minimum(places, last[:, None]), np.maximum(weights, 0))


def _voted(labels: np.ndarray, down: _Covered, across: _Covered, top: int) -> np.ndarray:
    """The labels that cover most of the new pixels; ``top`` is the number of their first row."""
    parts = [
        (labels[np.ix_(rows, columns)], (tall, wide))
        for rows, tall in zip(down.places.T, down.weights.T, strict=True)
        for columns, wide in zip(across.places.T, across.weights.T, strict=True)
    ]
    result = parts[0][0]
    differ = np.zeros(result.shape, bool)
    for part, _ in parts[1:]:
        differ |= part != result
    y, x = np.nonzero(differ)
    candidates = np.stack([part[y, x] for part, _ in parts])
    weights = np.stack([tall[y] * wide[x] for _, (tall, wide) in parts])
    votes = np.stack([(weights * (candidates == one)).sum(axis=0) for one in candidates])
    best = votes == votes.max(axis=0)
    cells = np.arange(len(parts)).reshape(down.places.shape[1], across.places.shape[1])
    chosen = np.empty(len(y), int)
    for (row, column), order in _TURNS.items():
        turn = ((y + top) % 2 == row) & (x % 2 == column)
        preferred = cells[order].ravel()
        chosen[turn] = preferred[best[preferred][:, turn].argmax(axis=0)]
    result[y, x] = candidates[chosen, np.arange(len(y))]
    return result


def _averaged(
    image: Picture, shape: tuple[int, int], extent: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Area averages, strip by strip."""
    height, width = image.shape[:2]
    step = max(1, round(STRIP * shape[0] / (height * width * 3)))
    # Where the image ends earlier, its last pixels stand for what they lack.
    columns = np.minimum(np.arange(shape[1] + 1) * (extent[1] / shape[1]), width)
    for top in range(0, shape[0], step):
        rows = np.arange(top, min(top + step, shape[0]) + 1)
        edges = np.minimum(rows * (extent[0] / shape[0]), height)
        first, last = int(edges[0]), min(height, int(np.ceil(edges[-1])))
        strip = _means(image[first:last, 0:width], edges, first)
        means = _means(strip.transpose(1, 0, 2), columns).transpose(1, 0, 2)
        yield np.rint(means).astype(np.uint8)


def _means(values: np.ndarray, edges: np.ndarray, first: int = 0) -> np.ndarray:
    """Means between edges along the first axis, of values of which the first has this number.

    From the differences of the running integral, which of whole numbers are exact: so the result
    does not depend on where a strip begins.
    """
    integral = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, dtype=np.float64, out=integral[1:])
    below = np.minimum(edges.astype(int), first + len(values) - 1)
    part = np.clip(edges - below, 0.0, 1.0)[:, None, None]
    below -= first
    return (np.diff(integral[below], axis=0) + np.diff(part * values[below], axis=0)) / np.diff(
        edges
    )[:, None, None]


def _interpolated(
    image: Picture, shape: tuple[int, int], extent: tuple[float, float]
) -> Iterator[np.ndarray]:
    """Pillow's bicubic interpolation, some rows at a time.

    Pillow interpolates along rows first, each by itself. Along columns it takes only whole images,
    so that its weights and its integers are repeated here.
    """
    height, width = image.shape[:2]
    if shape[0] < height:
        # One side shrinks, which no magnification asks for, and Pillow takes another order.
        yield _enlarged(image[0:height, 0:width], shape, extent)
        return
    starts, weights = _cubic_weights(height, shape[0], extent[0])
    step = max(1, STRIP // (shape[1] * 3))
    for top in range(0, shape[0], step):
        part = slice(top, top + step)
        first = int(starts[part][0])
        last = min(height, int(starts[part][-1]) + weights.shape[1])
        rows_read = image[first:last, 0:width]
        wide = _enlarged(rows_read, (last - first, shape[1]), (last - first, extent[1]))
        total = np.full((len(starts[part]), *wide.shape[1:]), 1 << (FRACTION - 1), np.int32)
        for number, weight in enumerate(weights[part].T):
            # Weights beyond the border are 0, whatever row they stand for.
            rows = np.minimum(starts[part] - first + number, len(wide) - 1)
            total += wide[rows] * weight[:, None, None]
        yield np.clip(total >> FRACTION, 0, 255).astype(np.uint8)


def _enlarged(
    pixels: np.ndarray, shape: tuple[int, int], extent: tuple[float, float]
) -> np.ndarray:
    """By Pillow, which takes no more than there is: its last pixels are repeated."""
    from PIL import Image

    lacking = [
        (0, max(0, math.ceil(wanted) - found))
        for wanted, found in zip(extent, pixels.shape, strict=False)
    ]
    drawn = Image.fromarray(np.pad(pixels, (*lacking, (0, 0)), mode="edge"))
    box = (0, 0, extent[1], extent[0])
    return np.asarray(drawn.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))


def _cubic_weights(old: int, new: int, extent: float) -> tuple[np.ndarray, np.ndarray]:
    """The first of the pixels that make each new one (new,), and their weights (new, n) int32.

    The new pixels lie over so many of the old ones; there are at least as many.
    """
    centres = (np.arange(new) + 0.5) * (extent / new)
    starts = np.maximum((centres - REACH + 0.5).astype(int), 0)
    ends = np.minimum((centres + REACH + 0.5).astype(int), old)
    places = np.arange((ends - starts).max())
    away = np.abs(places + starts[:, None] - centres[:, None] + 0.5)
    near = ((CUBIC + 2) * away - (CUBIC + 3)) * away * away + 1
    far = (((away - 5) * away + 8) * away - 4) * CUBIC
    weights = np.where(away < 1, near, np.where(away < REACH, far, 0.0))
    weights[places >= (ends - starts)[:, None]] = 0
    total = np.zeros(new)
    # In this order, since the last bit of a sum depends on it.
    for column in weights.T:
        total += column
    weights = np.divide(weights, total[:, None]) * (1 << FRACTION)
    return starts, np.trunc(weights + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
