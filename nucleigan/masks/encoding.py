"""Label maps as mask images.

Every encoding is a row of :data:`ENCODINGS`; one more needs a function here, one in
:data:`nucleigan.masks.decoding.DECODERS`, and its name in :data:`nucleigan.config.Encoding`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nucleigan.config import MaskSettings
from nucleigan.errors import NucleiganError

# A nucleus keeps at least the pixels that lie deeper than this part of its greatest depth, so that
# a nucleus thinner than two boundaries still has a core to be found by.
CORE = 0.5


@dataclass(frozen=True)
class Encoding:
    """One way to draw label maps.

    Attributes
    ----------
    channels
        Number of channels.
    draw
        (H, W) integer labels and settings to (channels, H, W) bool.
    """

    channels: int
    draw: Callable[[np.ndarray, MaskSettings], np.ndarray]


def encode(labels: np.ndarray, settings: MaskSettings) -> np.ndarray:
    """Draw a label map as a mask image.

    Parameters
    ----------
    labels
        (H, W) integers, 0 background, ids positive.
    settings
        Which encoding, and how wide its boundaries are.

    Returns
    -------
    (C, H, W) float32, -1 outside and 1 inside of what each channel marks.

    Raises
    ------
    NucleiganError
        When ``labels`` is not a label map.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise NucleiganError(
            f"The label map to encode has shape {labels.shape} and type {labels.dtype}; expected "
            "(height, width) of an integer type; convert it first."
        )
    mask = ENCODINGS[settings.encoding].draw(labels, settings).astype(np.float32)
    mask *= 2
    mask -= 1
    return mask


def channels(settings: MaskSettings) -> int:
    """Return the number of channels of the chosen encoding."""
    return ENCODINGS[settings.encoding].channels


def depth(labels: np.ndarray, limit: float) -> np.ndarray:
    """Distance of each pixel to the nearest pixel of another label, up to a limit.

    The outside of the image counts as no label, so a nucleus cut by the image's edge has no
    boundary there. The nearest such pixel of each row is looked for first. What it is for a pixel
    above or below of the same label it is for this pixel as well, that many rows away; one of
    another label is the nearest itself. That is exact and, for the few pixels of a boundary,
    several times faster than a distance transform.

    Parameters
    ----------
    labels
        (H, W) integers.
    limit
        Greatest distance told apart, pixels.

    Returns
    -------
    (H, W) float32, pixels; ``limit`` where nothing else is nearer.
    """
    # Rows, or columns, that far away are nearer than the limit.
    reach = max(int(np.ceil(limit)) - 1, 0)
    # Squared lengths in bytes where they fit: the narrower the numbers, the faster they compare.
    far = int(np.ceil(limit * limit))
    kind = np.min_scalar_type(reach * reach + far)
    if labels.min(initial=0) >= 0 and labels.max(initial=0) <= np.iinfo(np.uint16).max:
        labels = labels.astype(np.uint16)
    in_row = np.full(labels.shape, far, kind)
    for dx in range(1, min(reach, labels.shape[1] - 1) + 1):
        # All bits set where the labels are the same: beyond far.
        found = _where(labels[:, :-dx] == labels[:, dx:], kind)
        found |= kind.type(dx * dx)
        for side in (in_row[:, :-dx], in_row[:, dx:]):
            np.minimum(side, found, out=side)
    squared = in_row.copy()
    for dy in range(1, min(reach, labels.shape[0] - 1) + 1):
        same = _where(labels[:-dy] == labels[dy:], kind)
        above, below = np.s_[:-dy], np.s_[dy:]
        for here, there in ((above, below), (below, above)):
            found = in_row[there] & same
            found += kind.type(dy * dy)
            np.minimum(squared[here], found, out=squared[here])
    lengths = np.sqrt(np.arange(far + 1)).clip(max=limit).astype(np.float32)
    return lengths[squared]


def _where(condition: np.ndarray, kind: np.dtype) -> np.ndarray:
    """All bits of unsigned integers where something is the case, else none."""
    bits = condition.astype(kind)
    return np.negative(bits, out=bits)


def interior(labels: np.ndarray, boundary_width: float) -> np.ndarray:
    """Nuclei without the boundary inside them: (H, W) bool.

    A pixel is boundary when another nucleus or background lies within ``boundary_width`` pixels.
    In a nucleus too thin for that, the boundary is :data:`CORE` of its greatest depth wide.
    """
    limit = max(boundary_width / CORE, 1.01)
    distance = depth(labels, limit)
    index = small_ids(labels)
    greatest = np.zeros(int(index.max(initial=0)) + 1, np.float32)
    np.maximum.at(greatest, index.ravel(), distance.ravel())
    width = np.minimum(np.float32(boundary_width), np.float32(CORE) * greatest)
    core: np.ndarray = distance > width[index]
    core &= labels != 0
    return core


def small_ids(labels: np.ndarray) -> np.ndarray:
    """The labels, renumbered where their ids are too large to index a table with."""
    if int(labels.max(initial=0)) <= 4 * labels.size:
        return labels
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _filled(labels: np.ndarray, settings: MaskSettings) -> np.ndarray:
    return (labels != 0)[None]


def _outline(labels: np.ndarray, settings: MaskSettings) -> np.ndarray:
    # The frame counts as background here: an outline that the image's edge leaves open could
    # not be told from the background when it is filled.
    core = interior(np.pad(labels, 1), settings.boundary_width)[1:-1, 1:-1]
    return ((labels != 0) & ~core)[None]


def _interior_boundary(labels: np.ndarray, settings: MaskSettings) -> np.ndarray:
    return np.stack([labels != 0, interior(labels, settings.boundary_width)])


ENCODINGS: dict[str, Encoding] = {
    "filled": Encoding(1, _filled),
    "outline": Encoding(1, _outline),
    "interior_boundary": Encoding(2, _interior_boundary),
}
