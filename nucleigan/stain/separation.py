"""Sparse stain separation (Vahadane et al. 2016) with SPAMS."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nucleigan.config import StainSettings
from nucleigan.slides.tissue import MOST_BLACK, is_black
from nucleigan.stain.optical_density import as_pixels, is_tissue, optical_density
from nucleigan.stain.profile import STAINS, StainProfile
from nucleigan.stain.vectors import TEXTBOOK
from nucleigan.windows import Picture, bands

# Fewer tissue pixels say little about two stains; the textbook says more.
MIN_TISSUE = 1000
# Atoms closer than this are one stain seen twice, degrees; those of the 30 Kumar tiles lie 12 to 26
# apart, the textbook's 22.
MIN_SEPARATION = 8.0
# A stain whose high percentile is below this is nearly absent; divided by, it would explode.
MIN_PERCENTILE = 0.1
# The learning starts from the directions at this percentile of the angle, from either side (the
# robust extremes of Macenko et al. 2009).
EXTREME = 1.0
# Pixels handled at once, so that temporary arrays stay in the cache.
CHUNK = 1 << 16
# Pixels of tissue that are held until it is known which are chosen; for more, read the image twice.
HELD = 1 << 23


def estimate_stains(image: Picture, settings: StainSettings | None = None) -> StainProfile:
    """Estimate a slide's two stains by sparse non-negative dictionary learning.

    The result is a function of the image and the settings alone: number of steps, their size and
    one thread are fixed, and SPAMS never sees an input that crashes it.

    Parameters
    ----------
    image
        (H, W, 3) uint8; one that is larger than memory is read in bands.
    settings
        Sparsity, threshold of tissue, steps, percentile.

    Returns
    -------
    Profile with haematoxylin first: the atom that absorbs more red.
    """
    settings = settings or StainSettings()
    pixels, black = _tissue(image, settings)
    warnings = []
    if black > MOST_BLACK:
        warnings.append(f"{black:.0%} of the slide is black, which no stain is, and left out")
    problem = None
    if len(pixels) < MIN_TISSUE:
        problem = f"only {len(pixels)} pixels of tissue"
    elif (pixels.max(axis=0) == pixels.min(axis=0)).all():
        problem = "the tissue has one colour only"
    else:
        matrix = _learn(optical_density(pixels).astype(np.float64), settings)
        problem = _problem(matrix)
    if problem:
        warnings.append(f"{problem}: the textbook's stain vectors are used")
        matrix = TEXTBOOK
    return replace(_profile(pixels, matrix, settings, warnings), black=black)


def _tissue(image: Picture, settings: StainSettings) -> tuple[np.ndarray, float]:
    """At most ``max_pixels`` of the pixels of tissue, (N, 3) uint8; the black part of the image."""

    def found() -> Iterator[tuple[np.ndarray, int]]:
        for band in bands(image):
            pixels = as_pixels(band)
            pixels = pixels[is_tissue(pixels, settings.luminance_threshold)]
            black = is_black(pixels)
            yield pixels[~black] if black.any() else pixels, int(black.sum())

    number = dark = 0
    kept: list[np.ndarray] = []
    most = max(settings.max_pixels, HELD)
    for pixels, without in found():
        number += len(pixels)
        dark += without
        if number <= most:
            kept.append(pixels)
    black = dark / (image.shape[0] * image.shape[1])
    if number <= settings.max_pixels:
        return np.concatenate(kept), black
    # Evenly spread over the image, and without chance.
    chosen = np.linspace(0, number - 1, settings.max_pixels).astype(np.int64)
    if number <= most:
        return np.concatenate(kept)[chosen], black
    # Read again, since not all need fit into memory.
    kept = []
    first = 0
    for pixels, _ in found():
        part = chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, first + len(pixels))]
        kept.append(pixels[part - first])
        first += len(pixels)
    return np.concatenate(kept), black


def concentrations(
    image: np.ndarray, profile: StainProfile, settings: StainSettings | None = None
) -> np.ndarray:
    """How much of each stain every pixel holds: the exact non-negative lasso of two atoms.

    Minimises ½‖x − aM‖² + λ‖a‖₁ over a ≥ 0. With non-negative atoms the solution is the
    unconstrained one where that is non-negative, else that of one atom alone. A pixel's result
    depends on that pixel only.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    profile
        Stains of the slide.
    settings
        ``concentration_sparsity`` is λ.

    Returns
    -------
    (H, W, 2) float32, optical density; haematoxylin, eosin.
    """
    settings = settings or StainSettings()
    flat = as_pixels(image)
    found = np.empty((len(flat), 2), np.float32)
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        density = optical_density(flat[part])
        found[part] = solve(density, profile.matrix, settings.concentration_sparsity)
    return found.reshape(*image.shape[:-1], 2)


def solve(density: np.ndarray, matrix: np.ndarray, sparsity: float) -> np.ndarray:
    """The lasso of :func:`concentrations` for optical densities (N, 3); (N, 2) of their type.

    The rows of the matrix have unit length. Written out instead of as a matrix product, whose
    rounding depends on a pixel's position, on the number of threads and on the library behind it.
    """
    matrix = matrix.astype(density.dtype)
    cosine = matrix[0] @ matrix[1]
    red, green, blue = density.T
    first, second = (
        red * row[0] + green * row[1] + blue * row[2] - density.dtype.type(sparsity)
        for row in matrix
    )
    scale = 1 / (1 - cosine**2)
    amounts = np.empty((len(density), 2), density.dtype)
    # Where the other stain would be negative, a stain alone is the smaller of the two solutions.
    np.minimum((first - cosine * second) * scale, first, out=amounts[:, 0])
    np.minimum((second - cosine * first) * scale, second, out=amounts[:, 1])
    return np.maximum(amounts, 0, out=amounts)


def _learn(density: np.ndarray, settings: StainSettings) -> np.ndarray:
    """(N, 3) optical densities to a (2, 3) matrix of unit rows, haematoxylin first."""
    import spams

    dictionary = spams.trainDL(
        np.asfortranarray(density.T),
        D=np.asfortranarray(_extremes(density).T),
        K=2,
        lambda1=settings.sparsity,
        mode=2,
        modeD=0,
        posAlpha=True,
        posD=True,
        iter=settings.iterations,
        batchsize=settings.batch_size,
        numThreads=1,
        verbose=False,
    )
    matrix = np.asarray(dictionary).T
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = matrix / lengths
    return matrix[np.argsort(-matrix[:, 0], kind="stable")]


def _extremes(density: np.ndarray) -> np.ndarray:
    """(N, 3) optical densities to the (2, 3) unit directions of their robust extremes.

    From fixed vectors that lie far from a slide's stains, 200 steps end up to 13° short of the
    minimum; from a slide's own extremes within 0.8° (haematoxylin) and 2.2° (eosin) of it, on ten
    Kumar tiles at λ = 0.02. The second moments are summed without a matrix product, whose rounding
    may depend on the number of threads.
    """
    moments = np.empty((3, 3))
    for row in range(3):
        for column in range(3):
            moments[row, column] = np.mean(density[:, row] * density[:, column])
    # The two main directions, through the origin as in Beer-Lambert's law.
    axes = np.linalg.eigh(moments)[1][:, :0:-1]
    axes *= np.where(axes.sum(axis=0) < 0, -1.0, 1.0)
    along, across = (
        density[:, 0] * axis[0] + density[:, 1] * axis[1] + density[:, 2] * axis[2]
        for axis in axes.T
    )
    angle = np.percentile(np.arctan2(across, along), [EXTREME, 100 - EXTREME])
    ends = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ axes.T
    ends = np.maximum(ends, 0)
    return ends / np.linalg.norm(ends, axis=1, keepdims=True)


def _problem(matrix: np.ndarray) -> str | None:
    if not np.isfinite(matrix).all():
        return "the separation found no stain"
    cosine = np.clip(matrix[0] @ matrix[1], -1, 1)
    if np.degrees(np.arccos(cosine)) < MIN_SEPARATION:
        return "the separation found a single stain"
    return None


def _profile(
    pixels: np.ndarray, matrix: np.ndarray, settings: StainSettings, warnings: list[str]
) -> StainProfile:
    """Add percentiles and checks to a matrix."""
    percentiles = np.ones(2)
    if len(pixels):
        density = optical_density(pixels)
        amounts = solve(density, matrix, settings.concentration_sparsity)
        percentiles = np.percentile(amounts.astype(np.float64), settings.percentile, axis=0)
    profile = StainProfile(matrix, percentiles)
    for stain, angle, percentile in zip(STAINS, profile.angles, percentiles, strict=True):
        if angle > settings.max_angle:
            warnings.append(
                f"{stain} lies {angle:.0f}° from the textbook's vector, "
                f"more than {settings.max_angle:g}°"
            )
        if percentile < MIN_PERCENTILE:
            warnings.append(f"{stain} is nearly absent; it is not amplified")
    return StainProfile(matrix, np.maximum(percentiles, MIN_PERCENTILE), tuple(warnings))
