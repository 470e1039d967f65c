"""Set all models beside each other and beside the published figures."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nucleigan.artifacts import atomic
from nucleigan.errors import NucleiganError
from nucleigan.evaluation.columns import (
    LONG,
    MEASURES,
    MODEL,
    SLIDE,
    long_rows,
    read_slide_rows,
    write_rows,
)
from nucleigan.evaluation.published import ORGANS, SOURCE, published
from nucleigan.evaluation.summary import (
    OVERALL,
    Difference,
    Summary,
    differences,
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
    wide_rows,
)

PHANTOM_REMARK = (
    "These slides are phantoms, drawn by the package and easier than tissue: the published "
    "figures, of real slides, do not compare."
)
DIFFERENCE = (
    *("split", "first", "second", "measure", "organ"),
    *("difference", "difference_sd", "low", "high", "slides"),
)


def compare(
    slides_tables: Sequence[str | Path],
    folder: str | Path,
    phantoms: bool = False,
    unjudged: Sequence[str] = (),
) -> None:
    """Write all tables and the figure of a comparison.

    ``slides.csv``
        All rows of the tables.
    ``long.csv``
        The same with a row a measure: value, unit, match rate, matching rule.
    ``organs.csv``
        A row per model, split and organ, with the overall rows: means, standard deviations over
        seeds and, of AJI, F1 and Dice, 95 % intervals over patients.
    ``table.md``, ``table.csv``, ``table.tex``
        AJI, Hausdorff distance with match rate, F1 and Dice by organ, a column a model and a
        published method: for people, for spreadsheets and for papers. The first also holds the
        differences between models.
    ``differences.csv``
        A row per pair of models, measure and organ, with the overall rows: mean difference on the
        slides that both were judged on, its standard deviation over seeds, and its 95 % interval.
    ``aji.png``
        AJI by organ, slides as dots, intervals as lines, published figures as markers.

    Parameters
    ----------
    slides_tables
        CSV files of :func:`nucleigan.evaluation.judge_slide`.
    folder
        Where all of these go.
    phantoms
        Whether the slides were drawn by the package: table and figure then say that the published
        figures, of real slides, do not compare.
    unjudged
        Slides that are not in the tables for lack of an annotation; ``table.md`` names them.

    Raises
    ------
    NucleiganError
        When a table is not one of the evaluation stage's, or none has a row.
    """
    rows = [row for path in slides_tables for row in read_slide_rows(path)]
    compare_rows(rows, folder, phantoms, unjudged)


def compare_rows(
    rows: Sequence[Mapping[str, str]],
    folder: str | Path,
    phantoms: bool = False,
    unjudged: Sequence[str] = (),
) -> None:
    """The same from the rows of such tables; see :func:`compare`."""
    if not rows:
        raise NucleiganError(
            "The tables of the evaluation hold no slide; expected at least one annotated slide; "
            "annotate one of evaluation.splits in the sample sheet."
        )
    folder = Path(folder)
    summaries = summarise(rows)
    # The test slides first: only they may stand beside published figures.
    splits = sorted({s.split for s in summaries}, key=lambda split: (split != "test", split))
    by_split = {split: [s for s in summaries if s.split == split] for split in splits}
    gaps = {split: _differences(models) for split, models in by_split.items()}

    write_rows(folder / "slides.csv", (*MODEL, *SLIDE, *MEASURES), rows)
    write_rows(folder / "long.csv", (*MODEL, *SLIDE, *LONG), long_rows(rows))
    ends = [f"{measure}_{end}" for measure in WITH_INTERVAL for end in ("low", "high")]
    deviations = [f"{measure}_sd" for measure in MEASURES]
    names = ["method", "data", "split", "organ", "slides", "seeds"]
    columns = [*names, *MEASURES, *deviations, *ends]
    write_rows(folder / "organs.csv", columns, _organ_rows(summaries))
    write_rows(folder / "differences.csv", DIFFERENCE, _difference_rows(gaps))
    _write_wide(folder / "table.csv", by_split)
    _write_markdown(folder / "table.md", by_split, gaps, phantoms, unjudged)
    _write_latex(folder / "table.tex", by_split)
    _draw(by_split[splits[0]], folder / "aji.png", phantoms)


def _differences(models: Sequence[Summary]) -> list[Difference]:
    """Of every pair of models, by AJI, F1 and Dice, over all organs and by organ."""
    pairs = itertools.combinations(models, 2)
    return [
        gap for pair in pairs for measure in WITH_INTERVAL for gap in differences(*pair, measure)
    ]


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
    for split, gaps in found.items():
        for d in gaps:
            row = {"split": split, "first": d.first, "second": d.second, "measure": d.measure}
            yield row | {
                "organ": d.organ,
                "difference": d.difference,
                "difference_sd": d.deviation,
                "low": d.interval.low,
                "high": d.interval.high,
                "slides": d.slides,
            }


def not_judged(slides: Sequence[str]) -> str:
    """What to say of slides without annotation."""
    one = len(slides) == 1
    return (
        f"{len(slides)} slide{'' if one else 's'} of evaluation.splits {'is' if one else 'are'} "
        f"segmented but not judged, for lack of an annotation: {', '.join(slides)}."
    )


def _write_wide(output: str | Path, by_split: dict[str, list[Summary]]) -> None:
    rows = [
        {"split": split, "measure": measure} | row
        for split, models in by_split.items()
        for measure in TITLES
        for row in wide_rows(models, measure)
    ]
    write_rows(output, list(dict.fromkeys(key for row in rows for key in row)), rows)


def _write_markdown(
    output: str | Path,
    by_split: dict[str, list[Summary]],
    gaps: dict[str, list[Difference]],
    phantoms: bool,
    unjudged: Sequence[str],
) -> None:
    parts = [f"**{PHANTOM_REMARK}**\n"] if phantoms else []
    if unjudged:
        parts.append(not_judged(unjudged) + "\n")
    for split, models in by_split.items():
        parts.append(f"## Slides of the split `{split}`\n")
        parts += [
            f"### {title}\n\n{markdown(table(models, name))}" for name, title in TITLES.items()
        ]
        if gaps[split]:
            shown = markdown(differences_table(gaps[split]))
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
