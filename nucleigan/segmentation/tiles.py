"""Masks of images of any size, tile by tile, blended without seams."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nucleigan.slides.tissue import tissue_mask
from nucleigan.training.compute import CHANNELS_LAST, Compute
from nucleigan.training.data import to_network
from nucleigan.windows import Picture

# (quarter turns, mirrored), ordered so that the first 2 and 4 are balanced as well.
VIEWS = [(quarter, mirrored) for mirrored in (False, True) for quarter in (0, 2, 1, 3)]
# So many views a pass: a GPU is idle with one, and on a CPU more bring nothing.
TOGETHER = {"cpu": 1, "cuda": len(VIEWS)}
# Of an image that nobody has named another for, pixels.
TILE = 256
# Rows that are given on at a time: what follows holds several copies of them.
BAND = 128


def learned_tile(crop: int) -> int:
    """Side of a tile, pixels, for a network that has learned from windows of ``crop``.

    Of smaller ones a deep network may make nothing that it could normalise.
    """
    return max(TILE, crop)


def predict(
    network: nn.Module,
    image: np.ndarray,
    compute: Compute,
    tile: int = TILE,
    overlap: int = 64,
    views: int = 1,
    least_tissue: float = 0.0,
    scales: Sequence[float] = (1.0,),
    shift: Sequence[float] = (0.0, 0.0),
) -> np.ndarray:
    """The network's mask of an image.

    Parameters
    ----------
    network
        From (B, 3, h, w) to (B, C, h, w) before tanh, with the attribute ``factor``; ``lengths`` is
        true where it finds lengths in pixels, proportional to tanh.
    image
        (H, W, 3) uint8, any size.
    compute
        Device and precision.
    tile, overlap
        Side of a tile and overlap of neighbours, pixels. Smaller images are one tile.
    views
        1, 2, 4 or 8 mirrored and turned views to average.
    least_tissue
        A tile with a smaller part of tissue than this is glass: where no other tile sees more, the
        mask is −1.
    scales
        Enlargements of a tile in which the network sees it, to average; its side is rounded to what
        the network takes.
    shift
        How far the mask is moved to the right and down, pixels, from -1 to 1.

    Returns
    -------
    (C, H, W) float32 in [-1, 1].
    """
    bands = predict_bands(
        network, image, compute, tile, overlap, views, least_tissue, scales, shift
    )
    return joined(bands, image.shape[0])


def joined(bands: Iterable[np.ndarray], height: int) -> np.ndarray:
    """The whole mask (C, height, W) from bands of its rows, (C, h, W) each."""
    found: np.ndarray | None = None
    top = 0
    for band in bands:
        if found is None:
            found = np.empty((len(band), height, band.shape[2]), band.dtype)
        found[:, top : top + band.shape[1]] = band
        top += band.shape[1]
    assert found is not None
    return found


def predict_bands(
    network: nn.Module,
    image: Picture,
    compute: Compute,
    tile: int = TILE,
    overlap: int = 64,
    views: int = 1,
    least_tissue: float = 0.0,
    scales: Sequence[float] = (1.0,),
    shift: Sequence[float] = (0.0, 0.0),
) -> Iterator[np.ndarray]:
    """The rows of :func:`predict`, from top to bottom, a row of tiles at a time.

    Parameters
    ----------
    network, compute, tile, overlap, views, least_tissue, scales, shift
        As of :func:`predict`.
    image
        (H, W, 3) uint8, read by the row of tiles.

    Yields
    ------
    (C, h, W) float32 in [-1, 1].
    """
    factor = network.factor  # type: ignore[assignment]
    assert isinstance(factor, int)
    tile = -(-tile // factor) * factor
    stride, border = tile - overlap, overlap // 2
    height, width = image.shape[:2]
    rows, columns = (_mirrored(length, tile, overlap) for length in (height, width))
    window = _window(tile, overlap)
    total: np.ndarray | None = None
    weights = np.zeros((tile, len(columns)), np.float32)
    for y in range(0, len(rows) - overlap, stride):
        pixels = _rows(image, rows[y : y + tile])
        for x in range(0, len(columns) - overlap, stride):
            seen = pixels[:, columns[x : x + tile]]
            glass = least_tissue > 0 and tissue_mask(seen).mean() < least_tissue
            # The network alone knows its number of channels, so that it sees the first in any case.
            if total is None or not glass:
                mask = _one_tile(network, seen, compute, views, scales, shift)
            if total is None:
                total = np.zeros((len(mask), tile, len(columns)), np.float32)
            # What a neighbour finds in the overlap stands.
            if not glass:
                total[:, :, x : x + tile] += mask * window
                weights[:, x : x + tile] += window
        assert total is not None
        # No later tile reaches these rows; the others move up to meet the next row of tiles.
        done = stride if y + tile < len(rows) else tile
        inside = np.s_[max(border - y, 0) : min(done, border + height - y), border : border + width]
        for top in range(inside[0].start, inside[0].stop, BAND):
            part = np.s_[top : min(top + BAND, inside[0].stop), inside[1]]
            known = weights[part]
            seen = known > 0
            yield np.where(seen, total[:, *part] / np.where(seen, known, 1), np.float32(-1))
        for sums in (*total, weights):
            sums[:overlap] = sums[stride:].copy()
            sums[overlap:] = 0


def _mirrored(length: int, tile: int, overlap: int) -> np.ndarray:
    """Which pixel stands where: mirrored at the borders, and on to a whole number of tiles."""
    stride, border = tile - overlap, overlap // 2
    tiles = max(1, -(-(length + 2 * border - overlap) // stride))
    places = np.arange(tiles * stride + overlap) - border
    places %= 2 * length
    return np.minimum(places, 2 * length - 1 - places)


def _rows(image: Picture, rows: np.ndarray) -> np.ndarray:
    """The rows of these numbers, (len(rows), W, 3)."""
    first = int(rows.min())
    return image[first : int(rows.max()) + 1, 0 : image.shape[1]][rows - first]


def _window(tile: int, overlap: int) -> np.ndarray:
    """Weights that rise over the overlap, so that neighbours blend; positive everywhere."""
    place = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1.0
    ramp = np.minimum(1.0, place / (overlap + 1.0))
    return np.outer(ramp, ramp).astype(np.float32)


@torch.inference_mode()
def _one_tile(
    network: nn.Module,
    image: np.ndarray,
    compute: Compute,
    views: int,
    scales: Sequence[float],
    shift: Sequence[float],
) -> np.ndarray:
    tile, factor = len(image), network.factor
    assert isinstance(factor, int)
    base = torch.from_numpy(to_network(image))[None].to(compute.device)
    average = torch.zeros((), device=compute.device)
    for scale in scales:
        scaled = _resized(base, max(1, round(tile * scale / factor)) * factor)
        seen = [torch.rot90(scaled, quarter, (2, 3)) for quarter, _ in VIEWS[:views]]
        seen = [
            one.flip(3) if mirrored else one
            for one, (_, mirrored) in zip(seen, VIEWS, strict=False)
        ]
        found: list[torch.Tensor] = []
        for some in torch.cat(seen).split(TOGETHER[compute.device.type]):
            with compute.autocast():
                mask = torch.tanh(network(some.contiguous(memory_format=CHANNELS_LAST)).float())
            found += mask.split(1)
        summed = torch.zeros((), device=compute.device)
        for mask, (quarter, mirrored) in zip(found, VIEWS, strict=False):
            mask = mask.flip(3) if mirrored else mask
            summed = summed + torch.rot90(mask, -quarter, (2, 3))
        # Lengths are those of the enlarged tile, in multiples of it.
        enlarged = scaled.shape[-1] / tile if getattr(network, "lengths", False) else 1.0
        average = average + _resized(summed / (views * enlarged), tile)
    return moved(average / len(scales), shift)[0].cpu().numpy()


def moved(mask: torch.Tensor, shift: Sequence[float]) -> torch.Tensor:
    """A mask (B, C, H, W) moved to the right and down by parts of a pixel, bilinearly.

    What comes in at a border is what stood there.
    """
    for axis, by in ((3, shift[0]), (2, shift[1])):
        if by:
            length = mask.shape[axis]
            places = torch.arange(length, device=mask.device) - (1 if by > 0 else -1)
            behind = mask.index_select(axis, places.clamp(0, length - 1))
            mask = torch.lerp(mask, behind, abs(by))
    return mask


def _resized(image: torch.Tensor, side: int) -> torch.Tensor:
    """A square image (B, C, H, H) at another size."""
    if side == image.shape[-1]:
        return image
    return functional.interpolate(image, (side, side), mode="bilinear", antialias=True)
