"""Intervals of means over slides, which keep the organs apart."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
# Of scores.
BETWEEN_0_AND_1 = (0.0, 1.0)


class Interval(NamedTuple):
    """The ends of an interval; NaN where no organ has two slides."""

    low: float
    high: float


def interval_of_mean(
    by_organ: Mapping[str, Sequence[float]],
    organ: str | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    level: float = LEVEL,
) -> Interval:
    """Interval of the mean of organs, or of one organ, over other slides of the same organs.

    Student's t with the variance within organs, pooled over all of them: two slides of an organ
    by themselves tell next to nothing of how slides vary, and percentiles of a bootstrap of so few
    hold the truth far too seldom. Slides of all organs are thereby taken to vary alike, also those
    of an organ with a single one.

    Parameters
    ----------
    by_organ
        Organ to the values of its slides; NaN is left out, and so is an organ without any value.
    organ
        Whose mean; None is the mean of all organs' means.
    bounds
        Of the values; the interval does not go beyond.
    level
        How often such an interval holds the mean of all slides.
    """
    values = {
        name: np.array([value for value in slides if not math.isnan(value)], np.float64)
        for name, slides in by_organ.items()
    }
    values = {name: slides for name, slides in values.items() if len(slides)}
    chosen = [slides for name, slides in values.items() if organ in (None, name)]
    freedom = sum(len(slides) - 1 for slides in values.values())
    if not freedom or not chosen:
        return Interval(math.nan, math.nan)
    squares = math.fsum(np.square(slides - slides.mean()).sum() for slides in values.values())
    of_means = squares / freedom * math.fsum(1 / len(slides) for slides in chosen)
    reach = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(of_means) / len(chosen)
    centre = math.fsum(slides.mean() for slides in chosen) / len(chosen)
    return Interval(max(centre - reach, bounds[0]), min(centre + reach, bounds[1]))
