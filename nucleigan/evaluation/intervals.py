"""Intervals of means over slides or patients, which keep the organs apart."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import fmean
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
    varies are the means of patients, each of which weighs as many times as it has slides. What a
    patient's slides are like in one organ, they are taken to be like in its others.

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
    of_organs: dict[str, dict[Hashable, list[float]]] = {}
    for name, slides in by_organ.items():
        whose: Iterable[Hashable] = (
            [(name, number) for number in range(len(slides))]
            if patients is None
            else patients[name]
        )
        for value, patient in zip(slides, whose, strict=True):
            if not math.isnan(value):
                of_organs.setdefault(name, {}).setdefault(patient, []).append(value)
    chosen = [found for name, found in of_organs.items() if organ in (None, name)]
    freedom = len({one for found in of_organs.values() for one in found}) - _groups(of_organs)
    if not freedom or not chosen:
        return Interval(math.nan, math.nan)
    means = [np.array([fmean(values) for values in found.values()]) for found in of_organs.values()]
    squares = math.fsum(np.square(one - one.mean()).sum() for one in means)
    variance = squares / sum(len(one) - 1 for one in means)
    # Part in the sum of the organs' means.
    weights: defaultdict[Hashable, float] = defaultdict(float)
    for found in chosen:
        total = sum(map(len, found.values()))
        for patient, values in found.items():
            weights[patient] += len(values) / total
    of_sum = variance * math.fsum(weight**2 for weight in weights.values())
    reach = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(of_sum) / len(chosen)
    centre = math.fsum(
        fmean(value for values in found.values() for value in values) for found in chosen
    ) / len(chosen)
    return Interval(max(centre - reach, bounds[0]), min(centre + reach, bounds[1]))


def _groups(of_organs: Mapping[str, Iterable[Hashable]]) -> int:
    """In how many groups organs fall that share no patient with another."""
    groups: list[set[Hashable]] = []
    for found in of_organs.values():
        shared = [group for group in groups if not group.isdisjoint(found)]
        groups = [group for group in groups if group not in shared]
        groups.append(set(found).union(*shared))
    return len(groups)
