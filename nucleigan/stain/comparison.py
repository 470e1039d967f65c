"""The stain vectors of all slides, before normalisation and after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nucleigan.artifacts import open_image, read_json, write_table
from nucleigan.config import StainSettings
from nucleigan.progress import progress
from nucleigan.stain.profile import STAINS, StainProfile, angles
from nucleigan.stain.separation import estimate_stains


def compare_stains(
    facts: Sequence[str | Path],
    images: Sequence[str | Path],
    reference: str | Path,
    table_output: str | Path,
    figure_output: str | Path,
    settings: StainSettings,
) -> None:
    """Estimate the stains of the normalised slides anew and set them beside what they were.

    Parameters
    ----------
    facts, images
        ``stain.json`` and the normalised TIFF of every slide.
    reference
        Profile of the reference slide.
    table_output
        CSV, a row per slide, stain and time (``before``, ``after``): unit optical densities
        ``red``, ``green`` and ``blue``, ``angle`` to the reference in degrees, and the high
        percentile of the concentration.
    figure_output
        PNG of the table.
    settings
        Those that the stains before were estimated with. With ``normalize`` false nothing was
        changed, and ``after`` is left out.
    """
    chosen = read_json(reference)
    target = StainProfile.from_dict(chosen)
    rows = []
    for path, image in progress(zip(facts, images, strict=True), len(images), "slides"):
        values = read_json(path)
        profiles = {"before": StainProfile.from_dict(values)}
        if settings.normalize:
            with open_image(image) as picture:
                profiles["after"] = estimate_stains(picture, settings)
        for time, profile in profiles.items():
            rows += _rows(values["slide"], time, profile, target)
    table = pd.DataFrame(rows)
    write_table(table_output, table, digits=6)

    from nucleigan.figures.stains import stain_vectors

    stain_vectors(table, target.matrix, chosen["slide"], figure_output)


def _rows(
    slide: str, time: str, profile: StainProfile, target: StainProfile
) -> list[dict[str, object]]:
    gaps = angles(profile.matrix, target.matrix)
    return [
        {
            "slide": slide,
            "stain": stain,
            "time": time,
            **dict(zip(("red", "green", "blue"), map(float, vector), strict=True)),
            "angle": float(gap),
            "percentile": float(percentile),
        }
        for stain, vector, gap, percentile in zip(
            STAINS, profile.matrix, gaps, np.asarray(profile.percentiles), strict=True
        )
    ]
