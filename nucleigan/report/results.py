"""How good the models are, from the table of organs, beside the published figures."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from nucleigan.artifacts import open_table
from nucleigan.evaluation.compare import PHANTOM_REMARK
from nucleigan.evaluation.intervals import Interval
from nucleigan.evaluation.published import ORGANS, SOURCE, published
from nucleigan.evaluation.summary import OVERALL, mean
from nucleigan.evaluation.tables import (
    NOTES,
    TITLES,
    WITH_INTERVAL,
    number,
    shared_cell,
    signed,
)
from nucleigan.report import page
from nucleigan.splits import shown_split

Row = Mapping[str, str]
HEADLINE = ("aji", "f1", "dice", "hausdorff")
SHORT = {"aji": "AJI", "f1": "F1", "dice": "Dice", "hausdorff": "Hausdorff, px (match rate)"}
INTERVALS = (
    "Brackets hold 95 % intervals over slides, or over patients where the sheet names them; where "
    "there are none, no organ has two. ± is the standard deviation over seeds."
)
STEPS = (
    "They learned for the same number of steps where segmentation.steps_per_epoch names one; an "
    "epoch otherwise is one pass over the pairs, and more pairs are more steps."
)
# What figures show, by their names.
CAPTIONS = {
    "aji": "AJI by organ: bars are means, dots single slides; markers, beside test slides alone, "
    "are published figures, whose overall mean is that of their nine organs.",
    "f1": "F1 over the IoU that a match must exceed: how exact the outlines are.",
    "sizes": "Part of the true nuclei found, by size: small ones are the hard ones. Lines: 95 % "
    "intervals.",
    "calibration": "Calibration: of pixels with this predicted probability, the part that the "
    "annotation marks.",
    "training_sets": "AJI by training set, over all and organ by organ: dots are means, ± over "
    "seeds, lines 95 % intervals over slides or patients.",
}
# Title and explanation of each target of further models.
COMPARISONS = {
    "baselines": (
        "Baselines beside the main run",
        "All had the augmentation, tiles and views of the main run, each the training set that its "
        "row names, and thresholds chosen on the same validation slides, if there are any. "
        "Baselines begin with random weights, also where the main run begins with a model file. "
        f"{STEPS}",
    ),
    "ablation": (
        "What the training set does",
        "The same network with other training sets: real patches of all slides or of as many as "
        f"the number says, synthetic pairs, or both. {STEPS}",
    ),
}
PUBLISHED = (
    "Published: mean of the organs here that the publication has as well, on its own slides."
)


def results(
    organs_table: str | Path, plots: Mapping[str, str | Path], phantoms: bool, remark: str = ""
) -> str:
    """The section of the main run's results.

    Parameters
    ----------
    organs_table
        CSV of :func:`nucleigan.evaluation.compare`.
    plots
        Of :data:`CAPTIONS`, the name to the PNG file; the first is shown as wide as the page.
    phantoms
        Whether the slides were drawn by the package.
    remark
        What else to know of the slides.
    """
    rows, compared = _shown(organs_table)
    pictures = [page.plot(path, CAPTIONS[name]) for name, path in plots.items()]
    return page.section(
        "How good, and against whom",
        page.paragraph(PHANTOM_REMARK, "note") if phantoms else "",
        *_tables(rows, compared, ""),
        page.paragraph(remark, "note") if remark else "",
        page.details("How these figures are computed", page.paragraph(NOTES, "note")),
        *pictures[:1],
        page.grid(*pictures[1:]) if pictures[1:] else "",
    )


def comparison(
    name: str,
    organs_table: str | Path,
    differences_table: str | Path,
    figures: Mapping[str, str | Path],
) -> str:
    """The section of further models beside those of the main run.

    Parameters
    ----------
    name
        A key of :data:`COMPARISONS`.
    organs_table, differences_table
        CSV of :func:`nucleigan.evaluation.compare`.
    figures
        Of :data:`CAPTIONS`, the name to the PNG file.
    """
    rows, compared = _shown(organs_table)
    title, explained = COMPARISONS[name]
    return page.section(
        title,
        page.paragraph(explained),
        *_tables(rows, compared, f"{name}-"),
        page.details(
            "Models against each other, slide by slide",
            page.paragraph(
                "Mean difference on the slides that both were judged on, ± its standard deviation "
                "over seeds, and its 95 % interval over slides or patients; one without 0 tells "
                "the two apart.",
                "note",
            ),
            differences(differences_table, rows[0]["split"], f"{name}-differences"),
        ),
        *(page.plot(path, CAPTIONS[figure]) for figure, path in figures.items()),
    )


def _shown(organs_table: str | Path) -> tuple[list[Row], bool]:
    """The rows of the split that is shown; whether it may stand beside published figures."""
    with open_table(organs_table) as stream:
        rows = list(csv.DictReader(stream))
    split = shown_split(row["split"] for row in rows)
    return [row for row in rows if row["split"] == split], split == "test"


def _tables(rows: Sequence[Row], compared: bool, prefix: str) -> list[str]:
    measures = {name: by_organ(rows, name, compared, prefix) for name in TITLES}
    shared = compared and any(row["organ"] in ORGANS for row in rows)
    return [
        page.paragraph(summary(rows, rows[0]["split"])),
        headline(rows, compared, prefix),
        page.paragraph(INTERVALS + (f" {PUBLISHED}" if shared else ""), "note"),
        f"<h3>{page.escape(TITLES['aji'])}</h3>",
        measures.pop("aji"),
        *(page.details(TITLES[name], table) for name, table in measures.items()),
    ]


def differences(table: str | Path, split: str, name: str) -> str:
    """A row a pair of models, a column a measure, over all organs."""
    with open_table(table) as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == split]
    found = [row for row in rows if row["organ"] == OVERALL]
    pairs = {(row["first"], row["second"]): row["slides"] for row in found}
    cells = {(r["first"], r["second"], r["measure"]): _difference(r) for r in found}
    shown = [
        [f"{one} − {other}", slides, *(cells.get((one, other, m), "–") for m in WITH_INTERVAL)]
        for (one, other), slides in pairs.items()
    ]
    header = ["models", "slides", *(SHORT[measure] for measure in WITH_INTERVAL)]
    return page.table(header, shown, name=name)


def _difference(row: Row) -> str:
    middle, low, high = (_number(row[key]) for key in ("difference", "low", "high"))
    if math.isnan(middle):
        return "–"
    deviation = _number(row["difference_sd"])
    spread = "" if math.isnan(deviation) else f" ± {deviation:.3f}"
    return f"{middle:+.3f}{spread} {signed(Interval(low, high))}"


def summary(rows: Sequence[Row], split: str) -> str:
    """The best model's figure as a sentence."""
    best = max((row for row in rows if row["organ"] == OVERALL), key=lambda r: _number(r["aji"]))
    organs = {row["organ"] for row in rows} - {OVERALL}
    return (
        f"{_name(best)}: AJI {cell(best, 'aji')} on {best['slides']} slides of {len(organs)} "
        f"organs (split {split})."
    )


def headline(rows: Sequence[Row], compared: bool, prefix: str = "") -> str:
    """Overall figures: a row a model, then a row a published method.

    Where some organs were not published, further rows are of those that were.
    """
    overall = [row for row in rows if row["organ"] == OVERALL]
    organs = {row["organ"] for row in rows} - {OVERALL}
    shared = [organ for organ in ORGANS if organ in organs] if compared else []
    shown = [
        [_name(row), row["slides"], *(cell(row, measure) for measure in HEADLINE)]
        for row in overall
    ]
    if shared and len(shared) < len(organs):
        for name in dict.fromkeys(map(_name, rows)):
            theirs = [row for row in rows if _name(row) == name and row["organ"] in shared]
            cells = [_over(theirs, shared, measure) for measure in HEADLINE]
            slides = str(sum(int(row["slides"]) for row in theirs))
            shown.append([f"{name}, {_on(shared)}", slides, *cells])
    for method in published("aji") if shared else ():
        figures = {measure: published(measure).get(method, {}) for measure in HEADLINE}
        means = {
            name: mean(values[o] for o in shared if o in values) for name, values in figures.items()
        }
        cells = [number(means[measure], measure) for measure in HEADLINE]
        shown.append([f"{method} ({SOURCE})", "", *cells])
    header = ["model", "slides", *(SHORT[measure] for measure in HEADLINE)]
    return page.table(header, shown, name=f"{prefix}headline")


def by_organ(rows: Sequence[Row], measure: str, compared: bool, prefix: str = "") -> str:
    """One measure: a row an organ, a column a model and, for test slides, a published method."""
    models = list(dict.fromkeys(_name(row) for row in rows))
    organs = list(dict.fromkeys(row["organ"] for row in rows if row["organ"] != OVERALL))
    found = {(_name(row), row["organ"]): row for row in rows}
    others = published(measure) if compared and set(organs) & set(ORGANS) else {}
    shared = [organ for organ in organs if organ in ORGANS] if others else []
    apart = bool(shared) and len(shared) < len(organs)
    shown = []
    for organ in [*organs, OVERALL]:
        slides = max((r["slides"] for (_, o), r in found.items() if o == organ), key=int)
        known = shared if organ == OVERALL and not apart else [organ]
        cells = [
            cell(found[model, organ], measure) if (model, organ) in found else "–"
            for model in models
        ]
        shown.append([organ, slides, *cells, *_published(others, known, measure)])
    if apart:
        theirs = {m: [r for (n, o), r in found.items() if n == m and o in shared] for m in models}
        slides = str(max(sum(int(row["slides"]) for row in some) for some in theirs.values()))
        cells = [_over(some, shared, measure) for some in theirs.values()]
        name = f"{OVERALL}, {_on(shared)}"
        shown.append([name, slides, *cells, *_published(others, shared, measure)])
    header = ["organ", "slides", *models, *(f"{method} ({SOURCE})" for method in others)]
    return page.table(header, shown, name=f"{prefix}by-organ-{measure}", overall=1 + apart)


def _published(
    others: Mapping[str, Mapping[str, float]], organs: Sequence[str], measure: str
) -> list[str]:
    """The mean over organs of each published method."""
    return [number(mean(f[o] for o in organs if o in f), measure) for f in others.values()]


def _on(shared: Sequence[str]) -> str:
    return f"organs of the publication alone ({len(shared)})"


def _over(rows: Sequence[Row], organs: Sequence[str], measure: str) -> str:
    """A model's mean over the organs; of a model that lacks one of them none."""
    names = (measure, "match_rate")
    values = {row["organ"]: {name: _number(row[name]) for name in names} for row in rows}
    return shared_cell(values, measure) if len(values) == len(organs) else "–"


def cell(row: Row, measure: str) -> str:
    """A figure with its deviation over seeds, and its interval or, of a distance, match rate."""
    text = number(_number(row[measure]), measure)
    deviation = _number(row[f"{measure}_sd"])
    if not math.isnan(deviation):
        text += f" ± {number(deviation, measure)}"
    if measure == "hausdorff":
        return f"{text} ({number(_number(row['match_rate']), 'match_rate')})"
    if measure in WITH_INTERVAL:
        low, high = (_number(row[f"{measure}_{end}"]) for end in ("low", "high"))
        if not math.isnan(low):
            text += f" [{number(low, measure)}, {number(high, measure)}]"
    return text


def _name(row: Row) -> str:
    return f"{row['method']}, {row['data']}" if row["data"] else row["method"]


def _number(text: str) -> float:
    return float(text or "nan")
