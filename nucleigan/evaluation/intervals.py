"""Intervals of means over slides, by a bootstrap that keeps the organs apart."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nucleigan.randomness import generator

DRAWS = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """The ends of an interval; NaN where no organ has two slides."""

    low: float
    high: float


def interval_of_mean(
    by_organ: Mapping[str, Sequence[float]], level: float = LEVEL, draws: int = DRAWS
) -> Interval:
    """Percentile interval of the mean of organs, over other slides of the same organs.

    Of an organ with n slides each draw takes n - 1 with replacement (Rao & Wu 1988): with n, as in
    the plain bootstrap, the variance of a mean of two slides would come out half as large as it is.
    An organ with a single slide is taken as it is and adds nothing to the width.

    Parameters
    ----------
    by_organ
        Organ to the values of its slides; NaN is left out, and so is an organ without any value.
    level
        Part of the draws inside the interval.
    draws
        Number of draws; always the same ones.
    """
    values = [
        np.array([v for v in slides if not math.isnan(v)], np.float64)
        for slides in by_organ.values()
    ]
    values = [slides for slides in values if len(slides)]
    if not any(len(slides) > 1 for slides in values):
        return Interval(math.nan, math.nan)
    rng = generator(0, "bootstrap", tuple(map(len, values)))
    means = np.mean([_means(slides, draws, rng) for slides in values], axis=0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _means(slides: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.integers(len(slides), size=(draws, max(1, len(slides) - 1)))
    means: np.ndarray = slides[drawn].mean(axis=1)
    return means
