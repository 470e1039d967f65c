"""The stain vectors of all slides, before normalisation and after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nucleigan.artifacts import read_json, write_table
from nucleigan.stain.profile import STAINS, StainProfile, angles


def compare_stains(
    facts: Sequence[str | Path],
    reference: str | Path,
    table_output: str | Path,
    figure_output: str | Path,
) -> None:
    """Set the stains of the normalised slides, estimated anew, beside what they were.

    Parameters
    ----------
    facts
        ``stain.json`` of every slide.
    reference
        Profile of the reference slide.
    table_output
        CSV, a row per slide, stain and time (``before``, ``after``): unit optical densities
        ``red``, ``green`` and ``blue``, ``angle`` to the reference in degrees, and the high
        percentile of the concentration.
    figure_output
        PNG of the table. Of slides that were left as they are there is no ``after``.
    """
    chosen = read_json(reference)
    target = StainProfile.from_dict(chosen)
    rows = []
    for path in facts:
        values = read_json(path)
        profiles = {"before": StainProfile.from_dict(values)}
        if values.get("after"):
            profiles["after"] = StainProfile.from_dict(values["after"])
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
