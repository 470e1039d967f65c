"""Masks of images of any size, tile by tile, blended without seams."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from nucleigan.training.compute import CHANNELS_LAST, Compute
from nucleigan.training.data import to_network

# (quarter turns, mirrored), ordered so that the first 2 and 4 are balanced as well.
VIEWS = [(quarter, mirrored) for mirrored in (False, True) for quarter in (0, 2, 1, 3)]


def predict(
    network: nn.Module,
    image: np.ndarray,
    compute: Compute,
    tile: int = 256,
    overlap: int = 64,
    views: int = 1,
) -> np.ndarray:
    """The network's mask of an image.

    Parameters
    ----------
    network
        From (B, 3, h, w) to (B, C, h, w) before tanh, with the attribute ``factor``.
    image
        (H, W, 3) uint8, any size.
    compute
        Device and precision.
    tile, overlap
        Side of a tile and overlap of neighbours, pixels. Smaller images are one tile.
    views
        1, 2, 4 or 8 mirrored and turned views to average.

    Returns
    -------
    (C, H, W) float32 in [-1, 1].
    """
    factor = network.factor  # type: ignore[assignment]
    assert isinstance(factor, int)
    tile = -(-tile // factor) * factor
    height, width = image.shape[:2]
    padded = _pad(image, tile, overlap)
    total: np.ndarray | None = None
    weights = np.zeros(padded.shape[:2], np.float32)
    window = _window(tile, overlap)
    for y, x in _corners(padded.shape, tile, overlap):
        mask = _one_tile(network, padded[y : y + tile, x : x + tile], compute, views)
        if total is None:
            total = np.zeros((len(mask), *padded.shape[:2]), np.float32)
        total[:, y : y + tile, x : x + tile] += mask * window
        weights[y : y + tile, x : x + tile] += window
    assert total is not None
    border = overlap // 2
    inside = np.s_[border : border + height, border : border + width]
    return total[:, *inside] / weights[inside]


def _pad(image: np.ndarray, tile: int, overlap: int) -> np.ndarray:
    """Mirror the image around its border, and on to a whole number of tiles."""
    stride, border = tile - overlap, overlap // 2
    pads = []
    for length in image.shape[:2]:
        tiles = max(1, -(-(length + 2 * border - overlap) // stride))
        pads.append((border, tiles * stride + overlap - length - border))
    return np.pad(image, [*pads, (0, 0)], mode="symmetric")


def _corners(shape: tuple[int, ...], tile: int, overlap: int) -> Iterator[tuple[int, int]]:
    height, width = shape[:2]
    stride = tile - overlap
    for y in range(0, height - tile + 1, stride):
        for x in range(0, width - tile + 1, stride):
            yield y, x


def _window(tile: int, overlap: int) -> np.ndarray:
    """Weights that rise over the overlap, so that neighbours blend; positive everywhere."""
    place = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1.0
    ramp = np.minimum(1.0, place / (overlap + 1.0))
    return np.outer(ramp, ramp).astype(np.float32)


@torch.inference_mode()
def _one_tile(network: nn.Module, image: np.ndarray, compute: Compute, views: int) -> np.ndarray:
    base = to_network(image)
    summed = None
    for quarter, mirrored in VIEWS[:views]:
        view = np.rot90(base, quarter, axes=(1, 2))
        view = view[:, :, ::-1] if mirrored else view
        given = torch.from_numpy(np.ascontiguousarray(view))[None].to(compute.device)
        given = given.contiguous(memory_format=CHANNELS_LAST)
        with compute.autocast():
            mask = torch.tanh(network(given).float())[0].cpu().numpy()
        mask = mask[:, :, ::-1] if mirrored else mask
        mask = np.rot90(mask, -quarter, axes=(1, 2))
        summed = mask if summed is None else summed + mask
    assert summed is not None
    return summed / views
