"""The evaluation stage: judge predictions, and set the results beside the published ones."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nucleigan.artifacts import atomic
from nucleigan.errors import NucleiganError
from nucleigan.metrics.contours import (
    ContourDistances,
    contour_distances,
    hausdorff_of,
    per_nucleus,
)
from nucleigan.metrics.jaccard import aggregated_jaccard_of, aggregated_jaccard_plus_of
from nucleigan.metrics.objects import (
    centroids,
    detection_f1,
    object_f1_mean_of,
    object_scores_of,
)
from nucleigan.metrics.panoptic import panoptic_quality_of
from nucleigan.metrics.pixels import pixel_dice_of
from nucleigan.metrics.table import Contingency, contingency
from nucleigan.published import ORGANS, SOURCE, organ_name, published

MODEL = ("method", "data", "seed")
SLIDE = ("slide", "organ", "split")
MEASURES = (
    "aji",
    "aji_plus",
    "pq",
    "sq",
    "dq",
    "f1",
    "precision",
    "recall",
    "f1_mean",
    "detection_f1",
    "dice",
    "hausdorff",
    "match_rate",
    "hausdorff_95",
    "surface_distance",
    "hausdorff_misses",
    "true_nuclei",
    "predicted_nuclei",
)
NUCLEUS = ("nucleus", "area", "row", "column", "best_iou", "matched", "hausdorff")
OVERALL = "overall"
PHANTOM_REMARK = (
    "These slides are phantoms, drawn by the package and easier than tissue: the published "
    "figures, of real slides, do not compare."
)


def evaluate_slide(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Judge one predicted label map.

    Parameters
    ----------
    truth, prediction
        (H, W) integers, 0 background, any positive ids.

    Returns
    -------
    One number for each of :data:`MEASURES`. ``f1``, ``precision`` and ``recall`` count nuclei
    matched at IoU above 0.5, ``f1_mean`` averages over IoU 0.5 to 0.95, ``detection_f1`` matches
    centroids. Distances are in pixels, NaN without matches; ``hausdorff_misses`` charges missed
    nuclei their diameter, ``match_rate`` is the part of true nuclei that the other distances cover.

    Raises
    ------
    NucleiganError
        When the maps cannot be compared.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    table = contingency(truth, prediction)
    return _measures(truth, prediction, table, contour_distances(truth, prediction, table))


def _measures(
    truth: np.ndarray, prediction: np.ndarray, table: Contingency, contours: ContourDistances
) -> dict[str, float]:
    quality = panoptic_quality_of(table)
    scores = object_scores_of(table)
    distance, match_rate = hausdorff_of(table, contours)
    return {
        "aji": aggregated_jaccard_of(table),
        "aji_plus": aggregated_jaccard_plus_of(table),
        "pq": quality.pq,
        "sq": quality.sq,
        "dq": quality.dq,
        "f1": scores.f1,
        "precision": scores.precision,
        "recall": scores.recall,
        "f1_mean": object_f1_mean_of(table),
        "detection_f1": detection_f1(truth, prediction),
        "dice": pixel_dice_of(table),
        "hausdorff": distance,
        "match_rate": match_rate,
        "hausdorff_95": hausdorff_of(table, contours, statistic="percentile95").distance,
        "surface_distance": hausdorff_of(table, contours, statistic="mean").distance,
        "hausdorff_misses": hausdorff_of(table, contours, misses="diameter").distance,
        "true_nuclei": table.truths,
        "predicted_nuclei": table.predictions,
    }


def _nuclei(
    truth: np.ndarray, table: Contingency, contours: ContourDistances
) -> Iterable[dict[str, object]]:
    """One row for each true nucleus."""
    best = np.zeros(table.truths)
    cells = table.best_per_truth(table.iou)
    best[table.row[cells]] = table.iou[cells]
    distance = np.full(table.truths, np.nan)
    distance[table.row[contours.cells]] = per_nucleus(contours)
    for i, (row, column) in enumerate(centroids(truth)):
        yield {
            "nucleus": int(table.truth_ids[i]),
            "area": int(table.truth_area[i]),
            "row": round(float(row), 2),
            "column": round(float(column), 2),
            "best_iou": float(best[i]),
            "matched": int(best[i] > 0.5),
            "hausdorff": float(distance[i]),
        }


def evaluate_model(
    slides: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    slides_output: str | Path,
    nuclei_output: str | Path,
) -> None:
    """Judge a model's predictions of all annotated slides.

    Parameters
    ----------
    slides
        Each with ``slide``, ``organ``, ``split``, ``labels`` and ``prediction`` (paths of label
        TIFFs). Slides whose ``labels`` is None or empty are left out.
    model
        ``method``, ``data`` and ``seed``, repeated in every row.
    slides_output
        CSV, a row per slide: model, slide, :data:`MEASURES`.
    nuclei_output
        CSV, a row per true nucleus: model, slide, id, area (pixels), centroid (pixels), IoU with
        the best prediction, whether that exceeds 0.5, Hausdorff distance (pixels).

    Raises
    ------
    NucleiganError
        When a file cannot be read or the maps of a slide differ in size; names the slide.
    """
    rows: list[dict[str, object]] = []
    nuclei: list[dict[str, object]] = []
    for slide in slides:
        if not slide.get("labels"):
            continue
        name = {key: model[key] for key in MODEL} | {key: slide[key] for key in SLIDE}
        truth, prediction = _read_map(slide["labels"]), _read_map(slide["prediction"])
        try:
            table = contingency(truth, prediction)
        except NucleiganError as error:
            raise NucleiganError(f"Slide {slide['slide']}: {error}") from error
        contours = contour_distances(truth, prediction, table)
        rows.append({**name, **_measures(truth, prediction, table, contours)})
        nuclei.extend({**name, **row} for row in _nuclei(truth, table, contours))
    write_table(slides_output, (*MODEL, *SLIDE, *MEASURES), rows)
    write_table(nuclei_output, (*MODEL, *SLIDE, *NUCLEUS), nuclei)


def _read_map(path: str | Path) -> np.ndarray:
    import tifffile

    try:
        return np.asarray(tifffile.imread(path))
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise NucleiganError(
            f"{path}: cannot be read as a label TIFF ({error}); delete it and run the same command "
            "again."
        ) from error


def write_table(
    path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write rows as CSV; NaN and missing values are empty cells."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if _is_nan(value) else value for key, value in row.items()})


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _read_table(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = {*MODEL, *SLIDE, *MEASURES} - set(reader.fieldnames or ())
        if missing:
            raise NucleiganError(
                f"{path}: lacks the columns {', '.join(sorted(missing))}; expected a table of the "
                "evaluation stage; delete it and run the same command again."
            )
        return list(reader)


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
    seeds
        Number of seeds.
    """

    method: str
    data: str
    split: str
    organs: dict[str, dict[str, tuple[float, float]]]
    slides: dict[str, dict[str, list[float]]]
    seeds: int

    @property
    def name(self) -> str:
        """The model's name in tables and figures."""
        return f"{self.method}, {self.data}" if self.data else self.method


def summarise(rows: Sequence[Mapping[str, str]]) -> list[Summary]:
    """Average over slides, then organs, then seeds.

    An organ's figure is the mean of its slides; the overall figure the unweighted mean of the
    organs, as in the published table; both are then averaged over seeds.
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["data"], row["split"]), []).append(row)
    return [_summarise_group(*key, group) for key, group in groups.items()]


def _summarise_group(method: str, data: str, split: str, rows: list[Mapping[str, str]]) -> Summary:
    seeds = sorted({row["seed"] for row in rows})
    organs = _sorted_organs({organ_name(row["organ"]) for row in rows})
    means: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in (*organs, OVERALL)}
    slides: dict[str, dict[str, list[float]]] = {organ: {} for organ in organs}
    for measure in MEASURES:
        values: dict[tuple[str, str], list[float]] = {}
        by_slide: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            organ, value = organ_name(row["organ"]), float(row[measure] or "nan")
            values.setdefault((organ, row["seed"]), []).append(value)
            by_slide.setdefault((organ, row["slide"]), []).append(value)
        per_seed = np.full((len(organs), len(seeds)), np.nan)
        for i, organ in enumerate(organs):
            for j, seed in enumerate(seeds):
                per_seed[i, j] = _mean(values.get((organ, seed), ()))
            slides[organ][measure] = [_mean(v) for (o, _), v in by_slide.items() if o == organ]
            means[organ][measure] = _mean(per_seed[i]), _deviation(per_seed[i])
        overall = [_mean(column) for column in per_seed.T]
        means[OVERALL][measure] = _mean(overall), _deviation(overall)
    return Summary(method, data, split, means, slides, len(seeds))


def _mean(values: Iterable[float]) -> float:
    """Mean of the defined values; NaN without any."""
    defined = [float(value) for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _deviation(values: Iterable[float]) -> float:
    """Standard deviation over seeds; NaN of fewer than two."""
    defined = [float(value) for value in values if not math.isnan(value)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan


def _sorted_organs(names: Iterable[str]) -> list[str]:
    """The published organs in their order, then all others by name."""
    names = set(names)
    return [organ for organ in ORGANS if organ in names] + sorted(names - set(ORGANS))


def compare(
    slides_tables: Sequence[str | Path],
    long_output: str | Path,
    organs_output: str | Path,
    table_output: str | Path,
    figure_output: str | Path,
    phantoms: bool = False,
) -> None:
    """Set all models beside each other and beside the published figures.

    Parameters
    ----------
    slides_tables
        CSV files of :func:`evaluate_model`.
    long_output
        CSV with all their rows.
    organs_output
        CSV, a row per model, split and organ, with the overall rows: means, and standard
        deviations over seeds.
    table_output
        Markdown: AJI, Hausdorff distance with match rate, F1 and Dice by organ.
    figure_output
        PNG: AJI by organ, slides as dots, published figures as markers.
    phantoms
        Whether the slides were drawn by the package: table and figure then say that the published
        figures, of real slides, do not compare.

    Raises
    ------
    NucleiganError
        When a table is not one of the evaluation stage's, or none has a row.
    """
    rows = [row for path in slides_tables for row in _read_table(path)]
    if not rows:
        raise NucleiganError(
            f"The {len(slides_tables)} tables of the evaluation hold no slide; expected at least "
            "one annotated slide; annotate one of evaluation.splits in the sample sheet."
        )
    summaries = summarise(rows)
    write_table(long_output, (*MODEL, *SLIDE, *MEASURES), rows)
    deviations = tuple(f"{measure}_sd" for measure in MEASURES)
    columns = ("method", "data", "split", "organ", "slides", "seeds", *MEASURES, *deviations)
    write_table(organs_output, columns, _organ_rows(summaries))
    splits = _splits(summaries)
    text = "\n".join(_section([s for s in summaries if s.split == split]) for split in splits)
    with atomic(table_output) as temporary:
        remark = f"**{PHANTOM_REMARK}**\n\n" if phantoms else ""
        temporary.write_text(remark + text + "\n" + _NOTES, encoding="utf-8")
    _draw([s for s in summaries if s.split == splits[0]], figure_output, phantoms)


def _splits(summaries: Sequence[Summary]) -> list[str]:
    """The test slides first: only they may stand beside published figures."""
    return sorted({s.split for s in summaries}, key=lambda split: (split != "test", split))


def _organ_rows(summaries: Sequence[Summary]) -> Iterable[dict[str, object]]:
    for s in summaries:
        for organ, measures in s.organs.items():
            named = s.slides.values() if organ == OVERALL else [s.slides[organ]]
            row: dict[str, object] = {
                "method": s.method,
                "data": s.data,
                "split": s.split,
                "organ": organ,
                "slides": sum(len(values["aji"]) for values in named),
                "seeds": s.seeds,
            }
            for measure, (mean, deviation) in measures.items():
                row[measure], row[f"{measure}_sd"] = mean, deviation
            yield row


_TITLES = {
    "aji": "Aggregated Jaccard index (AJI)",
    "hausdorff": "Average Hausdorff distance, pixels (match rate)",
    "f1": "F1 of nuclei at IoU above 0.5",
    "dice": "Pixel Dice",
}

_NOTES = f"""\
Published columns: {SOURCE}, whose overall row is computed here as the unweighted mean of the
organs. Hausdorff distance and F1 have several definitions, and which of them those columns use is
not known, so only AJI compares directly. Ours: a true nucleus is matched to the prediction that
covers the most of it; the distance is the symmetric maximum between their contours, averaged over
matched nuclei, and the match rate is the part of the true nuclei it covers. An organ is the mean of
its slides, overall the unweighted mean of the organs, both averaged over seeds; ± is the standard
deviation over seeds.
"""


def _section(summaries: Sequence[Summary]) -> str:
    """The four tables of one split, in Markdown."""
    split = summaries[0].split
    parts = [f"## Slides of the split `{split}`\n"]
    for measure, title in _TITLES.items():
        parts.append(f"### {title}\n\n{_table(summaries, measure, split == 'test')}")
    return "\n".join(parts)


def _table(summaries: Sequence[Summary], measure: str, with_published: bool) -> str:
    others = published(measure) if with_published else {}
    ours = {organ for s in summaries for organ in s.slides}
    organs = _sorted_organs({*ours, *(ORGANS if others else ())})
    slides = {o: max(len(s.slides.get(o, {}).get(measure, ())) for s in summaries) for o in organs}
    header = ["organ", "slides", *(s.name for s in summaries)]
    header += [f"{method} ({SOURCE})" for method in others]
    rows = [
        [organ, str(slides[organ] or "–")]
        + [_cell(s, organ, measure) for s in summaries]
        + [_number(figures.get(organ, math.nan), measure) for figures in others.values()]
        for organ in organs
    ]
    rows.append(
        [f"**{OVERALL}**", str(sum(slides.values()))]
        + [_cell(s, OVERALL, measure) for s in summaries]
        + [_number(_mean(figures.values()), measure) for figures in others.values()]
    )
    shared = [o for o in organs if o in ORGANS and all(o in s.slides for s in summaries)]
    if others and shared and shared != organs:
        rows.append(
            [
                f"**{OVERALL} of shared organs ({len(shared)})**",
                str(sum(slides[o] for o in shared)),
            ]
            + [_shared_cell(s, shared, measure) for s in summaries]
            + [_number(_mean(figures[o] for o in shared), measure) for figures in others.values()]
        )
    return _markdown(header, rows)


def _cell(summary: Summary, organ: str, measure: str) -> str:
    measures = summary.organs.get(organ)
    if measures is None:
        return "–"
    mean, deviation = measures[measure]
    text = _number(mean, measure)
    if not math.isnan(deviation):
        text += f" ± {_number(deviation, measure)}"
    if measure == "hausdorff":
        text += f" ({_number(measures['match_rate'][0], 'match_rate')})"
    return text


def _shared_cell(summary: Summary, organs: Sequence[str], measure: str) -> str:
    def mean(name: str) -> float:
        return _mean(summary.organs[organ][name][0] for organ in organs)

    text = _number(mean(measure), measure)
    return text + (
        f" ({_number(mean('match_rate'), 'match_rate')})" if measure == "hausdorff" else ""
    )


def _number(value: float, measure: str) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if measure in ("hausdorff", "match_rate") else f"{value:.3f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ["---", *("---:" for _ in header[1:])]
    lines = [" | ".join(cells).replace("\n", " ") for cells in (header, align, *rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _draw(summaries: Sequence[Summary], output: str | Path, phantoms: bool) -> None:
    from nucleigan.figures.evaluation import by_organ

    others = published("aji") if summaries[0].split == "test" else {}
    for figures in others.values():
        figures[OVERALL] = _mean(figures.values())
    found = {organ for s in summaries for organ in s.slides}
    by_organ(
        output,
        organs=[*_sorted_organs({*found, *(ORGANS if others else ())}), OVERALL],
        models={s.name: {o: m["aji"][0] for o, m in s.organs.items()} for s in summaries},
        slides={s.name: {o: m["aji"] for o, m in s.slides.items()} for s in summaries},
        published={f"{method} ({SOURCE})": figures for method, figures in others.items()},
        label="Aggregated Jaccard index",
        title=f"AJI by organ, slides of the split {summaries[0].split}"
        + (f"\n{PHANTOM_REMARK}" if phantoms else ""),
    )
