"""Random changes of a training patch.

Geometry is applied to the image (bilinear) and the label map (nearest) at once, in one affine
step; masks are encoded afterwards, so that they stay crisp. Colours change in the space of stain
concentrations, the way slides differ.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

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

    def move(picture: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        moved = _affine(picture, matrix, crop, resample)
        moved = np.rot90(moved, quarter)
        return moved[:, ::-1] if mirrored else moved

    if labels is not None:
        labels = move(labels.astype(np.int32, copy=False), Image.Resampling.NEAREST)
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


def _affine(
    picture: np.ndarray, matrix: np.ndarray, crop: int, resample: Image.Resampling
) -> np.ndarray:
    """Resample; what lies outside of the patch is its mirror image."""
    corners = matrix @ np.array([[0, crop, 0, crop], [0, 0, crop, crop], [1, 1, 1, 1]])
    height, width = picture.shape[:2]
    before = np.maximum(0, np.ceil(-corners.min(axis=1))).astype(int)
    after = np.maximum(0, np.ceil(corners.max(axis=1) - [width, height])).astype(int)
    before, after = before + (before > 0), after + (after > 0)
    if before.any() or after.any():
        borders = [(before[1], after[1]), (before[0], after[0])] + [(0, 0)] * (picture.ndim - 2)
        picture = np.pad(picture, borders, mode="symmetric")
        matrix = matrix.copy()
        matrix[:, 2] += before
    source = Image.fromarray(np.ascontiguousarray(picture))
    moved = source.transform(
        (crop, crop), Image.Transform.AFFINE, tuple(matrix.ravel()), resample=resample
    )
    return np.asarray(moved)


def _colour(image: np.ndarray, jitter: JitterSettings, rng: np.random.Generator) -> np.ndarray:
    gains = np.exp(rng.normal(0.0, 1.0, 3) * jitter.stain).astype(np.float32)
    # The residual is no stain: half the freedom keeps colours plausible.
    gains[2] = np.sqrt(gains[2])
    brightness = float(np.exp(rng.normal() * jitter.brightness))
    blur = float(rng.random() * jitter.blur)
    if blur > MIN_BLUR:
        image = ndimage.gaussian_filter(image, (blur, blur, 0), mode="mirror", truncate=2.5)
    if jitter.stain == 0 and jitter.brightness == 0:
        return np.ascontiguousarray(image)
    mixing = (UNMIX @ np.diag(gains) @ STAINS).astype(np.float32)
    density = optical_density(image) @ mixing
    return to_image(density - np.float32(np.log(brightness)))
