"""Random changes of a training patch.

Geometry is applied to the image (bilinear) and the label map (nearest) at once, in one affine
step; masks are encoded afterwards, so that they stay crisp. Where a window reaches beyond its patch
the patch is mirrored. Colours change in the space of stain concentrations, the way slides differ.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import measure

from nucleigan.config import JitterSettings
from nucleigan.stain.optical_density import optical_density, to_image
from nucleigan.stain.vectors import TEXTBOOK

# Haematoxylin, eosin, and what is perpendicular to both, unit rows.
_RESIDUAL = np.cross(*TEXTBOOK)
STAINS = np.vstack([TEXTBOOK, _RESIDUAL / np.linalg.norm(_RESIDUAL)]).astype(np.float32)
# A narrower blur changes nothing that can be seen, pixels.
MIN_BLUR = 0.3
UNMIX = np.linalg.inv(STAINS).astype(np.float32)


def augment(
    image: np.ndarray | None,
    labels: np.ndarray | None,
    crop: int,
    jitter: JitterSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Change a patch and cut a square of it.

    Parameters
    ----------
    image, labels
        (H, W, 3) uint8 and (H, W) int32; either may be None.
    crop
        Side of the result, pixels.
    jitter
        What may change, and how much.
    rng
        Of this patch and step alone.

    Returns
    -------
    (crop, crop, 3) uint8 and (crop, crop) int32, each None where it was not given.
    """
    given = image if image is not None else labels
    assert given is not None
    matrix = _geometry(given.shape[0], given.shape[1], crop, jitter, rng)
    quarter, mirrored = _symmetry(jitter, rng)

    borders = _beyond(given.shape[:2], matrix, crop)

    def move(picture: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        moved = _affine(picture, matrix, borders, crop, resample)
        moved = np.rot90(moved, quarter)
        return moved[:, ::-1] if mirrored else moved

    if labels is not None:
        labels = move(labels.astype(np.int32, copy=False), Image.Resampling.NEAREST)
        if borders.any():
            # A nucleus and its mirror image are two, unless they touch.
            labels = measure.label(labels, connectivity=2).astype(np.int32, copy=False)
        labels = np.ascontiguousarray(labels)
    if image is not None:
        image = _colour(move(image, Image.Resampling.BILINEAR), jitter, rng)
    return image, labels


def _symmetry(jitter: JitterSettings, rng: np.random.Generator) -> tuple[int, bool]:
    quarter, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    return (quarter, mirrored) if jitter.flip else (0, False)


def _geometry(
    height: int, width: int, crop: int, jitter: JitterSettings, rng: np.random.Generator
) -> np.ndarray:
    """(2, 3) matrix from positions in the result to positions in the patch, x before y.

    The patch is resized (``jitter.resize`` for a crop of 256, in proportion for others), magnified,
    turned, and a window of it cut at a random place.
    """
    resized = jitter.resize / 256.0
    magnification = max(resized, crop / min(height, width))
    low, high = jitter.scale
    magnification *= float(np.exp(rng.uniform(np.log(low), np.log(high))))
    angle = float(rng.uniform(-np.pi, np.pi)) if jitter.rotate else 0.0
    seen = crop / magnification
    centre = [_centre(length, seen, float(rng.random())) for length in (width, height)]
    cos, sin = np.cos(angle) / magnification, np.sin(angle) / magnification
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = np.array(centre) - linear @ np.array([crop / 2, crop / 2])
    if (linear == np.eye(2)).all():
        # Between pixels a window would be blurred, and what learns from it paints blurred ones.
        shift = np.rint(shift)
    return np.column_stack([linear, shift])


def _centre(length: int, seen: float, draw: float) -> float:
    """Centre of a window of size ``seen`` inside ``length``; the middle where it does not fit."""
    room = length - seen
    return length / 2 if room <= 0 else seen / 2 + draw * room


def _beyond(shape: Sequence[int], matrix: np.ndarray, crop: int) -> np.ndarray:
    """How many pixels the window reaches beyond the patch: rows, columns; before, after."""
    corners = matrix @ np.array([[0, crop, 0, crop], [0, 0, crop, crop], [1, 1, 1, 1]])
    height, width = shape
    before = np.maximum(0, np.ceil(-corners.min(axis=1))).astype(int)
    after = np.maximum(0, np.ceil(corners.max(axis=1) - [width, height])).astype(int)
    borders = np.column_stack([before, after])[::-1]
    return borders + (borders > 0)


def _affine(
    picture: np.ndarray,
    matrix: np.ndarray,
    borders: np.ndarray,
    crop: int,
    resample: Image.Resampling,
) -> np.ndarray:
    """Resample; in the borders outside of the patch lies its mirror image."""
    if borders.any():
        picture = np.pad(picture, [*borders, (0, 0)][: picture.ndim], mode="symmetric")
        matrix = matrix.copy()
        matrix[:, 2] += borders[::-1, 0]

    def moved(plane: np.ndarray) -> np.ndarray:
        source = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(
            source.transform(
                (crop, crop), Image.Transform.AFFINE, tuple(matrix.ravel()), resample=resample
            )
        )

    if resample == Image.Resampling.NEAREST:
        return moved(picture)
    # Of bytes it would make bytes without rounding, half a grey level too dark.
    planes = np.moveaxis(picture, -1, 0).astype(np.float32)
    return np.rint(np.stack([moved(plane) for plane in planes], axis=-1)).astype(np.uint8)


def _colour(image: np.ndarray, jitter: JitterSettings, rng: np.random.Generator) -> np.ndarray:
    gains = np.exp(rng.normal(0.0, 1.0, 3) * jitter.stain).astype(np.float32)
    # The residual is no stain: half the freedom keeps colours plausible.
    gains[2] = np.sqrt(gains[2])
    brightness = float(np.exp(rng.normal() * jitter.brightness))
    blur = float(rng.random() * jitter.blur)
    if blur > MIN_BLUR:
        # Of bytes the filter would make bytes without rounding, a grey level too dark.
        exact = image.astype(np.float32)
        exact = ndimage.gaussian_filter(exact, (blur, blur, 0), mode="mirror", truncate=2.5)
        image = np.rint(exact).astype(np.uint8)
    if jitter.stain == 0 and jitter.brightness == 0:
        return np.ascontiguousarray(image)
    mixing = (UNMIX @ np.diag(gains) @ STAINS).astype(np.float32)
    density = optical_density(image) @ mixing
    return to_image(density - np.float32(np.log(brightness)))
