"""The stain stage of the workflow: profile every slide, choose a reference, normalise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nucleigan.artifacts import atomic, read_json, read_tiff, write_image, write_json
from nucleigan.config import StainSettings
from nucleigan.errors import NucleiganError
from nucleigan.stain.normalization import normalize
from nucleigan.stain.profile import StainProfile, angles
from nucleigan.stain.separation import concentrations, estimate_stains
from nucleigan.stain.vectors import TEXTBOOK

PANEL = 400


def profile_slide(
    slide: str, image_path: str | Path, output_json: str | Path, settings: StainSettings
) -> None:
    """Estimate the stains of one slide and write them as JSON."""
    if settings.normalize:
        profile = estimate_stains(read_tiff(image_path), settings)
    else:
        profile = StainProfile(TEXTBOOK, np.ones(2))
    for warning in profile.warnings:
        print(f"warning: slide {slide}: {warning}", flush=True)
    write_json(output_json, {"slide": slide, **profile.as_dict()})


def choose_reference(
    profiles: Sequence[str | Path], output_json: str | Path, settings: StainSettings
) -> None:
    """Choose the slide whose stains all others get, and write its profile.

    A configured slide is taken as it is. Otherwise it is the training slide whose two stain vectors
    lie closest (sum of angles) to the component-wise median of all; slides with warnings are passed
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
        The normalised TIFF, JSON with both profiles, and a PNG: before, after, haematoxylin, eosin.
    settings
        With ``normalize`` false the image passes through unchanged.
    mpp
        µm per pixel.
    """
    image = read_tiff(image_path)
    source = StainProfile.from_dict(read_json(profile_json))
    chosen = read_json(reference_json)
    reference = StainProfile.from_dict(chosen)
    result = normalize(image, source, reference, settings) if settings.normalize else image
    write_image(image_output, result, mpp)
    _write_picture(picture_output, image, result, source, settings)
    write_json(
        facts_output,
        {
            "slide": slide,
            "normalized": settings.normalize,
            "reference": chosen["slide"],
            **source.as_dict(),
            "angles_to_reference": angles(source.matrix, reference.matrix).round(3),
            "mean_absolute_change": round(_mean_change(image, result), 3),
        },
    )


def _mean_change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.mean(np.maximum(before, after) - np.minimum(before, after)))


def _write_picture(
    path: str | Path,
    before: np.ndarray,
    after: np.ndarray,
    profile: StainProfile,
    settings: StainSettings,
) -> None:
    small = [_shrink(picture) for picture in (before, after)]
    amounts = concentrations(small[0], profile, settings) / profile.percentiles
    greys = np.clip(255 * (1 - amounts), 0, 255).astype(np.uint8)
    panels = [*small, *(np.repeat(greys[..., n, None], 3, axis=2) for n in range(2))]
    with atomic(path) as temporary:
        Image.fromarray(np.concatenate(panels, axis=1)).save(temporary)


def _shrink(picture: np.ndarray) -> np.ndarray:
    drawn = Image.fromarray(picture)
    drawn.thumbnail((PANEL, PANEL), Image.Resampling.BOX)
    return np.asarray(drawn)
