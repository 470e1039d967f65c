"""Means over slides, organs and seeds, with their intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nucleigan.errors import NucleiganError, shown
from nucleigan.evaluation.columns import MEASURES, patient_of
from nucleigan.evaluation.intervals import BETWEEN_0_AND_1, Interval, interval_of_mean
from nucleigan.evaluation.published import ORGANS
from nucleigan.metrics.measures import VARIANTS
from nucleigan.organs import organ_name

OVERALL = "overall"


@dataclass(frozen=True)
class Summary:
    """Results of one model on one split.

    Attributes
    ----------
    method, data, split
        Which model, trained on which data, judged on which slides.
    organs
        Organ, or :data:`OVERALL`, to measure to (mean, standard deviation over seeds); NaN where
        undefined.
    slides
        Organ to measure to the values of its slides, each averaged over seeds.
    by_seed
        Organ, or :data:`OVERALL`, to measure to seed to the mean of that seed.
    names
        Organ to the names of its slides, in the order of ``slides``.
    patients
        Organ to the patients of these slides.
    """

    method: str
    data: str
    split: str
    organs: dict[str, dict[str, tuple[float, float]]]
    slides: dict[str, dict[str, list[float]]]
    by_seed: dict[str, dict[str, dict[str, float]]]
    names: dict[str, list[str]]
    patients: dict[str, list[str]]

    @property
    def name(self) -> str:
        """The model's name in tables and figures."""
        return f"{self.method}, {self.data}" if self.data else self.method

    @property
    def seeds(self) -> int:
        """How many seeds were judged."""
        return len(self.by_seed[OVERALL][MEASURES[0]])

    def interval(self, organ: str, measure: str) -> Interval:
        """The 95 % interval of an organ's mean, or of :data:`OVERALL`, over patients.

        Of a score between 0 and 1.
        """
        by_organ = {name: values[measure] for name, values in self.slides.items()}
        which = None if organ == OVERALL else organ
        return interval_of_mean(by_organ, self.patients, which, BETWEEN_0_AND_1)


def summarise(rows: Sequence[Mapping[str, str]]) -> list[Summary]:
    """Average over slides, then organs, then seeds.

    An organ's figure is the mean of its slides; the overall figure the unweighted mean of the
    organs, as in the published table; both are then averaged over seeds. An organ with nuclei of
    which a seed matched none has no distance, and there is none over all either.

    Raises
    ------
    NucleiganError
        When a cell is no number, or a seed has a slide twice or lacks one that another seed has.
    """
    _check_complete(rows)
    groups: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["data"], row["split"]), []).append(row)
    return [_summarise_group(*key, group) for key, group in groups.items()]


def _summarise_group(method: str, data: str, split: str, rows: list[Mapping[str, str]]) -> Summary:
    seeds = sorted({row["seed"] for row in rows})
    organs = sorted_organs({organ_name(row["organ"]) for row in rows})
    means: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in (*organs, OVERALL)}
    by_seed: dict[str, dict[str, dict[str, float]]] = {name: {} for name in means}
    slides: dict[str, dict[str, list[float]]] = {organ: {} for organ in organs}
    annotated = {
        organ_name(row["organ"]) for row in rows if not math.isnan(_value(row, "match_rate"))
    }
    for measure in MEASURES:
        values: dict[tuple[str, str], list[float]] = {}
        by_slide: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            organ, value = organ_name(row["organ"]), _value(row, measure)
            values.setdefault((organ, row["seed"]), []).append(value)
            by_slide.setdefault((organ, row["slide"]), []).append(value)
        per_seed = np.full((len(organs), len(seeds)), np.nan)
        for i, organ in enumerate(organs):
            for j, seed in enumerate(seeds):
                per_seed[i, j] = mean(values.get((organ, seed), ()))
            slides[organ][measure] = [mean(v) for (o, _), v in by_slide.items() if o == organ]
        overall = [mean(column) for column in per_seed.T]
        if measure in VARIANTS:
            unmatched = np.isnan(per_seed).any(axis=1) & [organ in annotated for organ in organs]
            # The mean of those in which anything was matched is that of the easy ones.
            per_seed[unmatched] = np.nan
            overall = overall if not unmatched.any() else [math.nan] * len(seeds)
        for name, row in zip(means, (*per_seed, overall), strict=True):
            means[name][measure] = mean(row), _deviation(row)
            by_seed[name][measure] = dict(zip(seeds, map(float, row), strict=True))
    judged = {
        organ: {
            row["slide"]: patient_of(row["slide"], row["patient"])
            for row in rows
            if organ_name(row["organ"]) == organ
        }
        for organ in organs
    }
    names = {organ: list(of_slides) for organ, of_slides in judged.items()}
    patients = {organ: list(of_slides.values()) for organ, of_slides in judged.items()}
    return Summary(method, data, split, means, slides, by_seed, names, patients)


def _value(row: Mapping[str, str], measure: str) -> float:
    """A cell of the table; an empty one is undefined, a missing one is no table of ours."""
    cell = row[measure]
    try:
        value = float(cell) if cell != "" else math.nan
        if math.isinf(value):
            raise ValueError("no number of a measure is infinite")
        return value
    except (TypeError, ValueError) as error:
        found = "nothing" if cell is None else shown(cell)
        raise NucleiganError(
            f"The table of slides says {found} for {measure} of slide {shown(row['slide'])} "
            f"({shown(row['method'])}); expected a number or an empty cell; delete the folder "
            "evaluation/ of the results and run the same command again."
        ) from error


def _check_complete(rows: Sequence[Mapping[str, str]]) -> None:
    """Every seed of a model must have judged the same slides, each once."""
    judged: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for row in rows:
        model = judged.setdefault((row["method"], row["data"], row["split"]), {})
        model.setdefault(row["seed"], []).append(row["slide"])
    for (method, data, split), seeds in judged.items():
        slides = sorted({slide for found in seeds.values() for slide in found})
        for seed, found in seeds.items():
            odd = [slide for slide in slides if found.count(slide) != 1]
            if odd:
                raise NucleiganError(
                    f"Seed {seed} of {shown(', '.join(filter(None, (method, data))))} has "
                    f"{found.count(odd[0])} results for slide {shown(odd[0])} of the split {split};"
                    " expected one for each slide that another seed has; run the same command again"
                    " to complete them."
                )


def mean(values: Iterable[float]) -> float:
    """Mean of the defined values; NaN without any."""
    defined = [float(value) for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _deviation(values: Iterable[float]) -> float:
    """Standard deviation over seeds; NaN of fewer than two."""
    defined = [float(value) for value in values if not math.isnan(value)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan


def sorted_organs(names: Iterable[str]) -> list[str]:
    """The published organs in their order, then all others by name."""
    names = set(names)
    return [organ for organ in ORGANS if organ in names] + sorted(names - set(ORGANS))


@dataclass(frozen=True)
class Difference:
    """How much one model is better than another on the slides that both were judged on.

    Attributes
    ----------
    first, second
        Names of the models.
    measure
        What is compared.
    organ
        On the slides of which organ; :data:`OVERALL` is all.
    difference
        Mean of the organs' mean differences, first minus second.
    deviation
        Its standard deviation over the seeds of both; NaN where they share fewer than two, or were
        judged on other slides.
    interval
        Its 95 % interval over patients; one that excludes 0 tells the models apart.
    slides
        Number of slides.
    """

    first: str
    second: str
    measure: str
    organ: str
    difference: float
    deviation: float
    interval: Interval
    slides: int


def differences(first: Summary, second: Summary, measure: str) -> list[Difference]:
    """Compare two models slide by slide, each averaged over its seeds.

    Returns
    -------
    The difference over all organs, and where there are several, that of each.
    """
    by_organ: dict[str, list[float]] = {}
    patients: dict[str, list[str]] = {}
    for organ, names in first.names.items():
        others = dict(
            zip(
                second.names.get(organ, ()),
                second.slides.get(organ, {}).get(measure, ()),
                strict=True,
            )
        )
        ours = zip(names, first.patients[organ], first.slides[organ][measure], strict=True)
        gaps = [(patient, value - others[name]) for name, patient, value in ours if name in others]
        defined = [(patient, gap) for patient, gap in gaps if not math.isnan(gap)]
        if defined:
            patients[organ], by_organ[organ] = map(list, zip(*defined, strict=True))
    chosen = {OVERALL: by_organ}
    if len(by_organ) > 1:
        chosen |= {organ: {organ: gaps} for organ, gaps in by_organ.items()}
    return [
        Difference(
            first.name,
            second.name,
            measure,
            organ,
            mean(mean(gaps) for gaps in compared.values()),
            _deviation_of_difference(first, second, organ, measure),
            interval_of_mean(by_organ, patients, None if organ == OVERALL else organ),
            sum(map(len, compared.values())),
        )
        for organ, compared in chosen.items()
    ]


def _deviation_of_difference(first: Summary, second: Summary, organ: str, measure: str) -> float:
    """Over the seeds of both: a seed stands for the same draw of everything random in both."""
    for name in sorted({*first.names, *second.names}) if organ == OVERALL else [organ]:
        if sorted(first.names.get(name, ())) != sorted(second.names.get(name, ())):
            return math.nan
    ours, theirs = first.by_seed[organ][measure], second.by_seed[organ][measure]
    return _deviation([ours[seed] - theirs[seed] for seed in ours if seed in theirs])
