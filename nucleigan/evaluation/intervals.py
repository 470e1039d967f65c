"""Intervals of means over slides or patients, which keep the organs apart."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
# Of scores.
BETWEEN_0_AND_1 = (0.0, 1.0)


class Interval(NamedTuple):
    """The ends of an interval; NaN where no organ has two slides, or two patients."""

    low: float
    high: float


def interval_of_mean(
    by_organ: Mapping[str, Sequence[float]],
    patients: Mapping[str, Sequence[str]] | None = None,
    organ: str | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    level: float = LEVEL,
) -> Interval:
    """Interval of the mean of organs, or of one organ, over other patients with the same organs.

    Student's t with the variance within organs, pooled over all of them: two slides of an organ
    by themselves tell next to nothing of how slides vary, and percentiles of a bootstrap of so few
    hold the truth far too seldom. Patients of all organs are thereby taken to vary alike, also
    those of an organ with a single one. Slides of one patient are more alike than others: what
    varies are the means of patients, each of which weighs as many times as it has slides.

    Parameters
    ----------
    by_organ
        Organ to the values of its slides; NaN is left out, and so is an organ without any value.
    patients
        Organ to the patients of these slides; without, each slide is of another one.
    organ
        Whose mean; None is the mean of all organs' means.
    bounds
        Of the values; the interval does not go beyond.
    level
        How often such an interval holds the mean of all patients.
    """
    of_organs = {
        name: _means(slides, range(len(slides)) if patients is None else patients[name])
        for name, slides in by_organ.items()
    }
    of_organs = {name: found for name, found in of_organs.items() if len(found[0])}
    chosen = [found for name, found in of_organs.items() if organ in (None, name)]
    freedom = sum(len(means) - 1 for means, _ in of_organs.values())
    if not freedom or not chosen:
        return Interval(math.nan, math.nan)
    squares = math.fsum(np.square(means - means.mean()).sum() for means, _ in of_organs.values())
    of_means = squares / freedom * math.fsum(np.square(weights).sum() for _, weights in chosen)
    reach = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(of_means) / len(chosen)
    centre = math.fsum(means @ weights for means, weights in chosen) / len(chosen)
    return Interval(max(centre - reach, bounds[0]), min(centre + reach, bounds[1]))


def _means(slides: Sequence[float], patients: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each patient's slides, and its part in the mean of all slides."""
    found: dict[Hashable, list[float]] = {}
    for value, patient in zip(slides, patients, strict=True):
        if not math.isnan(value):
            found.setdefault(patient, []).append(value)
    means = np.array([math.fsum(values) / len(values) for values in found.values()], np.float64)
    counts = np.array([len(values) for values in found.values()], np.float64)
    return means, counts / max(counts.sum(), 1)
