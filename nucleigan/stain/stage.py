"""The stain stage of the workflow: profile every slide, choose a reference, normalise."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nucleigan.artifacts import atomic, open_image, read_json, write_bands, write_json
from nucleigan.config import StainSettings
from nucleigan.errors import NucleiganError
from nucleigan.progress import progress
from nucleigan.slides.resample import shrunk
from nucleigan.slides.tissue import whitened
from nucleigan.stain.normalization import normalize, scales
from nucleigan.stain.profile import STAINS, StainProfile, angles
from nucleigan.stain.separation import MIN_PERCENTILE, concentrations, estimate_stains
from nucleigan.windows import Picture, bands

PANEL = 400


def profile_slide(
    slide: str, image_path: str | Path, output_json: str | Path, settings: StainSettings
) -> None:
    """Estimate the stains of one slide and write them as JSON."""
    with open_image(image_path) as image:
        profile = estimate_stains(image, settings)
    for warning in profile.warnings:
        print(f"warning: slide {slide}: {warning}", flush=True)
    write_json(output_json, {"slide": slide, **profile.as_dict()})


def choose_reference(
    profiles: Sequence[str | Path], output_json: str | Path, settings: StainSettings
) -> None:
    """Choose the slide whose stains all others get, and write its profile.

    A configured slide is taken as it is. Otherwise it is the training slide whose two stain vectors
    lie closest (sum of angles) to their component-wise median; slides with warnings are passed
    over unless all have some, and the name decides between equals.

    Parameters
    ----------
    profiles
        JSON of :func:`profile_slide`: the training slides, or those with the configured one.
    output_json
        Profile of the chosen slide with its name and the rule.
    settings
        ``reference`` is ``auto`` or a slide.

    Raises
    ------
    NucleiganError
        There is no such slide among the profiles.
    """
    found = [read_json(path) for path in profiles]
    if settings.reference != "auto":
        found = [profile for profile in found if profile["slide"] == settings.reference]
    if not found:
        raise NucleiganError(
            f"stain.reference: {settings.reference!r} finds no slide among {len(profiles)} stain "
            "profiles; set it to a slide of the sheet, or to auto with at least one training slide."
        )
    clean = [profile for profile in found if not profile["warnings"]] or found
    matrices = np.array([profile["matrix"] for profile in clean])
    median = np.median(matrices, axis=0)
    median /= np.linalg.norm(median, axis=1, keepdims=True)
    # Rounded, so that equals are equal: the angle between near vectors is exact to 1e-6° only.
    distances = [round(float(angles(matrix, median).sum()), 4) for matrix in matrices]
    names = [profile["slide"] for profile in clean]
    best = min(range(len(clean)), key=lambda n: (distances[n], names[n]))
    rule = (
        f"configured as stain.reference = {settings.reference}"
        if settings.reference != "auto"
        else f"closest to the median of {len(clean)} training slides ({distances[best]:.2f}°)"
    )
    print(f"reference slide: {names[best]}, {rule}", flush=True)
    write_json(output_json, {**clean[best], "rule": rule})


def normalize_slide(
    slide: str,
    image_path: str | Path,
    profile_json: str | Path,
    reference_json: str | Path,
    image_output: str | Path,
    facts_output: str | Path,
    picture_output: str | Path,
    settings: StainSettings,
    mpp: float,
) -> None:
    """Give one slide the stains of the reference.

    Parameters
    ----------
    slide
        Its name.
    image_path
        TIFF, (H, W, 3) uint8.
    profile_json, reference_json
        Stains of the slide and of the reference.
    image_output, facts_output, picture_output
        The normalised TIFF, JSON with the slide's profile before and after, and a PNG: before,
        after, haematoxylin, eosin.
    settings
        With ``normalize`` false the image passes through as it is, but for the black of padding.
    mpp
        µm per pixel.
    """
    source = StainProfile.from_dict(read_json(profile_json))
    chosen = read_json(reference_json)
    reference = StainProfile.from_dict(chosen)
    doubts = _faint(source, reference, chosen["slide"]) if settings.normalize else []
    for doubt in doubts:
        print(f"warning: slide {slide}: {doubt}", flush=True)
    change = 0

    def normalized(image: Picture) -> Iterator[np.ndarray]:
        nonlocal change
        for band in bands(image):
            if settings.normalize:
                result = normalize(band, source, reference, settings)
            else:
                result = whitened(band) if source.padded else band
            change += _change(band, result)
            yield result

    with open_image(image_path) as image:
        rows = progress(normalized(image), image.shape[0], "rows normalised", len)
        write_bands(image_output, image.shape, image.dtype, rows, mpp)
        with open_image(image_output) as result:
            _write_picture(picture_output, image, result, source, settings)
            # Here, where slides go side by side, and not where all are set beside each other.
            after = estimate_stains(result, settings) if settings.normalize else None
        numbers = math.prod(image.shape)
    write_json(
        facts_output,
        {
            "slide": slide,
            "normalized": settings.normalize,
            "reference": chosen["slide"],
            **source.as_dict(),
            "warnings": [*source.warnings, *doubts],
            "angles_to_reference": angles(source.matrix, reference.matrix).round(3),
            "mean_absolute_change": round(change / numbers, 3),
            "after": after.as_dict() if after is not None else None,
        },
    )


def _faint(source: StainProfile, reference: StainProfile, name: str) -> list[str]:
    """What is said of stains that stay fainter than the reference's; of absent ones it is said."""
    wanted, done = reference.percentiles / source.percentiles, scales(source, reference)
    return [
        f"{stain} is amplified {done[n]:.1f} times, not {wanted[n]:.1f} times as slide {name} has "
        "it: there is little of it"
        for n, stain in enumerate(STAINS)
        if done[n] < wanted[n] and source.percentiles[n] > MIN_PERCENTILE
    ]


def _change(before: np.ndarray, after: np.ndarray) -> int:
    """The absolute differences in grey levels, summed."""
    return int(np.sum(np.maximum(before, after) - np.minimum(before, after), dtype=np.int64))


def _write_picture(
    path: str | Path,
    before: Picture,
    after: Picture,
    profile: StainProfile,
    settings: StainSettings,
) -> None:
    small = [shrunk(picture, PANEL) for picture in (before, after)]
    amounts = concentrations(small[0], profile, settings) / profile.percentiles
    greys = np.clip(255 * (1 - amounts), 0, 255).astype(np.uint8)
    panels = [*small, *(np.repeat(greys[..., n, None], 3, axis=2) for n in range(2))]
    with atomic(path) as temporary:
        Image.fromarray(np.concatenate(panels, axis=1)).save(temporary)
