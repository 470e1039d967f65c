"""Set all models beside each other and beside the published figures."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nucleigan.artifacts import atomic
from nucleigan.errors import NucleiganError
from nucleigan.evaluation.columns import MEASURES, MODEL, SLIDE, read_table, write_table
from nucleigan.evaluation.published import ORGANS, SOURCE, published
from nucleigan.evaluation.summary import (
    OVERALL,
    Difference,
    Summary,
    difference,
    mean,
    sorted_organs,
    summarise,
)
from nucleigan.evaluation.tables import (
    NOTES,
    TITLES,
    WITH_INTERVAL,
    differences_table,
    latex,
    markdown,
    table,
)

PHANTOM_REMARK = (
    "These slides are phantoms, drawn by the package and easier than tissue: the published "
    "figures, of real slides, do not compare."
)
DIFFERENCE = ("split", "first", "second", "measure", "difference", "low", "high", "slides")


def compare(
    slides_tables: Sequence[str | Path],
    long_output: str | Path,
    organs_output: str | Path,
    table_output: str | Path,
    latex_output: str | Path,
    differences_output: str | Path,
    figure_output: str | Path,
    phantoms: bool = False,
) -> None:
    """Write all tables and the figure of a comparison.

    Parameters
    ----------
    slides_tables
        CSV files of :func:`nucleigan.evaluation.judge_slide`.
    long_output
        CSV with all their rows.
    organs_output
        CSV, a row per model, split and organ, with the overall rows: means, standard deviations
        over seeds and, of AJI, F1 and Dice, 95 % intervals over slides.
    table_output
        Markdown: AJI, Hausdorff distance with match rate, F1 and Dice by organ, and the differences
        between models.
    latex_output
        The same tables for papers.
    differences_output
        CSV, a row per pair of models and measure: mean difference on the slides that both were
        judged on, and its 95 % interval.
    figure_output
        PNG: AJI by organ, slides as dots, intervals as lines, published figures as markers.
    phantoms
        Whether the slides were drawn by the package: table and figure then say that the published
        figures, of real slides, do not compare.

    Raises
    ------
    NucleiganError
        When a table is not one of the evaluation stage's, or none has a row.
    """
    compare_rows(
        [row for path in slides_tables for row in read_table(path)],
        long_output,
        organs_output,
        table_output,
        latex_output,
        differences_output,
        figure_output,
        phantoms,
    )


def compare_rows(
    rows: Sequence[Mapping[str, str]],
    long_output: str | Path,
    organs_output: str | Path,
    table_output: str | Path,
    latex_output: str | Path,
    differences_output: str | Path,
    figure_output: str | Path,
    phantoms: bool = False,
) -> None:
    """The same from the rows of such tables; see :func:`compare`."""
    if not rows:
        raise NucleiganError(
            "The tables of the evaluation hold no slide; expected at least one annotated slide; "
            "annotate one of evaluation.splits in the sample sheet."
        )
    summaries = summarise(rows)
    # The test slides first: only they may stand beside published figures.
    splits = sorted({s.split for s in summaries}, key=lambda split: (split != "test", split))
    by_split = {split: [s for s in summaries if s.split == split] for split in splits}
    differences = {split: _differences(models) for split, models in by_split.items()}

    write_table(long_output, (*MODEL, *SLIDE, *MEASURES), rows)
    ends = [f"{measure}_{end}" for measure in WITH_INTERVAL for end in ("low", "high")]
    deviations = [f"{measure}_sd" for measure in MEASURES]
    names = ["method", "data", "split", "organ", "slides", "seeds"]
    columns = [*names, *MEASURES, *deviations, *ends]
    write_table(organs_output, columns, _organ_rows(summaries))
    write_table(differences_output, DIFFERENCE, _difference_rows(differences))
    _write_markdown(table_output, by_split, differences, phantoms)
    _write_latex(latex_output, by_split)
    _draw(by_split[splits[0]], figure_output, phantoms)


def _differences(models: Sequence[Summary]) -> list[Difference]:
    """Of every pair of models, by AJI, F1 and Dice."""
    pairs = itertools.combinations(models, 2)
    return [difference(*pair, measure) for pair in pairs for measure in WITH_INTERVAL]


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
            for measure, (middle, deviation) in measures.items():
                row[measure], row[f"{measure}_sd"] = middle, deviation
            for measure in WITH_INTERVAL:
                row[f"{measure}_low"], row[f"{measure}_high"] = s.interval(organ, measure)
            yield row


def _difference_rows(found: dict[str, list[Difference]]) -> Iterable[dict[str, object]]:
    for split, differences in found.items():
        for d in differences:
            row = {"split": split, "first": d.first, "second": d.second, "measure": d.measure}
            yield row | {
                "difference": d.difference,
                "low": d.interval.low,
                "high": d.interval.high,
                "slides": d.slides,
            }


def _write_markdown(
    output: str | Path,
    by_split: dict[str, list[Summary]],
    differences: dict[str, list[Difference]],
    phantoms: bool,
) -> None:
    parts = [f"**{PHANTOM_REMARK}**\n"] if phantoms else []
    for split, models in by_split.items():
        parts.append(f"## Slides of the split `{split}`\n")
        parts += [
            f"### {title}\n\n{markdown(table(models, name))}" for name, title in TITLES.items()
        ]
        if differences[split]:
            shown = markdown(differences_table(differences[split]))
            parts.append(f"### Models against each other, on the same slides\n\n{shown}")
    with atomic(output) as temporary:
        temporary.write_text("\n".join([*parts, NOTES]), encoding="utf-8")


def _write_latex(output: str | Path, by_split: dict[str, list[Summary]]) -> None:
    parts = [
        f"% {title}, slides of the split {split}\n{latex(table(models, name))}"
        for split, models in by_split.items()
        for name, title in TITLES.items()
    ]
    with atomic(output) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def _draw(summaries: Sequence[Summary], output: str | Path, phantoms: bool) -> None:
    from nucleigan.figures.evaluation import by_organ

    others = published("aji") if summaries[0].split == "test" else {}
    for figures in others.values():
        figures[OVERALL] = mean(figures.values())
    found = {organ for s in summaries for organ in s.slides}
    by_organ(
        output,
        organs=[*sorted_organs({*found, *(ORGANS if others else ())}), OVERALL],
        models={s.name: {o: m["aji"][0] for o, m in s.organs.items()} for s in summaries},
        slides={s.name: {o: m["aji"] for o, m in s.slides.items()} for s in summaries},
        intervals={s.name: {OVERALL: s.interval(OVERALL, "aji")} for s in summaries},
        published={f"{method} ({SOURCE})": figures for method, figures in others.items()},
        label="Aggregated Jaccard index",
        title=f"AJI by organ, slides of the split {summaries[0].split}"
        + (f"\n{PHANTOM_REMARK}" if phantoms else ""),
    )
