"""Tables by organ, ours beside the published figures, for readers (Markdown) and papers (LaTeX)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nucleigan.evaluation.intervals import Interval
from nucleigan.evaluation.published import ORGANS, SOURCE, published
from nucleigan.evaluation.summary import OVERALL, Difference, Summary, mean, sorted_organs

TITLES = {
    "aji": "Aggregated Jaccard index (AJI)",
    "hausdorff": "Average Hausdorff distance, pixels (match rate)",
    "f1": "F1 of nuclei at IoU above 0.5",
    "dice": "Pixel Dice",
}
# Measures of which the overall row shows an interval; distances depend on what was matched.
WITH_INTERVAL = ("aji", "f1", "dice")

# Where no organ has two slides or patients: a single one does not tell how much they vary.
NO_INTERVAL = "no interval"

NOTES = f"""\
Published columns: {SOURCE}, whose overall row is computed here as the unweighted mean of the
organs. They were measured on its own test slides: beside other slides they say what was reached
there, and compare nothing. The publication contradicts itself twice: it prints 7.136 as the
overall Hausdorff distance of Mask R-CNN, where its organs give 7.241, and gains in AJI of
44.27 % over Mask R-CNN and 73.19 % over U-Net, where they give 45.20 % and 74.41 %. Hausdorff
distance and F1 have several definitions, and which of them those columns use is not known, so
only AJI compares directly. Ours: a true nucleus is matched to the prediction that covers the
most of it; the distance is the symmetric maximum between their contours, averaged over matched
nuclei, and the match rate is the part of the true nuclei it covers. A slide without true nuclei
has AJI, F1 and Dice of 1 where nothing was found, and of 0 otherwise, and no distance; an organ in
which a seed matched nothing has none, and there is none over all. Pixels
are those of ingestion.mpp; the published ones are of 0.25 µm, and beside another magnification
their distances compare nothing. An organ is the mean of its slides, overall the unweighted mean
of the organs, both averaged over seeds; ± is the standard deviation over seeds, brackets hold
the 95 % interval over slides, or over patients where the sheet names them (Student's t, those
of all organs taken to vary alike), which says nothing about organs that are not there; where no
organ has two there is none.
"""


@dataclass(frozen=True)
class Table:
    """A measure by organ and method, as text.

    Attributes
    ----------
    measure
        See :data:`TITLES`.
    header
        Names of the columns; the first two are ``organ`` and ``slides``.
    rows
        As many cells each.
    overall
        How many of the last rows summarise the others.
    """

    measure: str
    header: list[str]
    rows: list[list[str]]
    overall: int


def table(summaries: Sequence[Summary], measure: str) -> Table:
    """Set models of one split beside each other and, on test slides, beside the published ones."""
    others = published(measure) if summaries[0].split == "test" else {}
    ours = {organ for s in summaries for organ in s.slides}
    organs = sorted_organs({*ours, *(ORGANS if others else ())})
    slides = {o: max(len(s.slides.get(o, {}).get(measure, ())) for s in summaries) for o in organs}
    header = ["organ", "slides", *(s.name for s in summaries)]
    header += [f"{method} ({SOURCE})" for method in others]
    rows = [
        [organ, str(slides[organ] or "–")]
        + [_cell(s, organ, measure) + _lacking(s, organ, slides[organ]) for s in summaries]
        + [number(figures.get(organ, math.nan), measure) for figures in others.values()]
        for organ in organs
    ]
    last = [
        [OVERALL, str(sum(slides.values()))]
        + [_cell(s, OVERALL, measure) for s in summaries]
        + [number(mean(figures.values()), measure) for figures in others.values()]
    ]
    shared = [o for o in organs if o in ORGANS and all(o in s.slides for s in summaries)]
    if others and shared and shared != organs:
        last.append(
            [f"{OVERALL} of shared organs ({len(shared)})", str(sum(slides[o] for o in shared))]
            + [_shared_cell(s, shared, measure) for s in summaries]
            + [number(mean(figures[o] for o in shared), measure) for figures in others.values()]
        )
    if others and shared and measure == "aji":
        last.append(_gains(summaries, shared, others))
    return Table(measure, header, rows + last, len(last))


def wide_rows(summaries: Sequence[Summary], measure: str) -> list[dict[str, object]]:
    """The numbers of :func:`table`: a row an organ and one overall, a column a model or method.

    Overall is the mean of all organs that a column has. Models have the ends of the 95 % interval
    over patients beside them, NaN where there is none or the measure has none.
    """
    others = published(measure) if summaries[0].split == "test" else {}
    ours = {organ for s in summaries for organ in s.slides}
    organs = sorted_organs({*ours, *(ORGANS if others else ())})
    rows: list[dict[str, object]] = [
        {"organ": organ}
        | {key: value for s in summaries for key, value in _wide_cells(s, organ, measure).items()}
        | {
            f"{method} ({SOURCE})": mean(figures.values())
            if organ == OVERALL
            else figures.get(organ, math.nan)
            for method, figures in others.items()
        }
        for organ in [*organs, OVERALL]
    ]
    return rows


def _wide_cells(summary: Summary, organ: str, measure: str) -> dict[str, object]:
    if organ not in summary.organs:
        return {summary.name: math.nan}
    cells: dict[str, object] = {summary.name: summary.organs[organ][measure][0]}
    if measure in WITH_INTERVAL:
        low, high = summary.interval(organ, measure)
        cells |= {f"{summary.name}, low": low, f"{summary.name}, high": high}
    if measure == "hausdorff":
        cells[f"{summary.name}, match rate"] = summary.organs[organ]["match_rate"][0]
    return cells


def _gains(
    summaries: Sequence[Summary], organs: Sequence[str], others: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """By how much the first model's mean over the shared organs is above the others', percent."""
    ours, *further = (mean(s.organs[organ]["aji"][0] for organ in organs) for s in summaries)
    means = [*further, *(mean(figures[o] for o in organs) for figures in others.values())]
    cells = [f"{100 * (ours / other - 1):+.1f} %" if other > 0 else "–" for other in means]
    return [f"gain of {summaries[0].name} on them", "", "", *cells]


def _cell(summary: Summary, organ: str, measure: str) -> str:
    measures = summary.organs.get(organ)
    if measures is None:
        return "–"
    middle, deviation = measures[measure]
    text = number(middle, measure)
    if not math.isnan(deviation):
        text += f" ± {number(deviation, measure)}"
    if measure == "hausdorff":
        text += f" ({number(measures['match_rate'][0], 'match_rate')})"
    if organ == OVERALL and measure in WITH_INTERVAL:
        interval = summary.interval(OVERALL, measure)
        if not math.isnan(interval.low):
            text += f" [{number(interval.low, measure)}, {number(interval.high, measure)}]"
        elif not math.isnan(middle):
            text += f" ({NO_INTERVAL})"
    return text


def _lacking(summary: Summary, organ: str, slides: int) -> str:
    """A mark where a model was judged on fewer slides of an organ than another."""
    judged = len(summary.names.get(organ, ()))
    return f" ({judged} of {slides} slides)" if 0 < judged < slides else ""


def _shared_cell(summary: Summary, organs: Sequence[str], measure: str) -> str:
    names = (measure, "match_rate")
    return shared_cell(
        {o: {name: summary.organs[o][name][0] for name in names} for o in organs}, measure
    )


def shared_cell(values: Mapping[str, Mapping[str, float]], measure: str) -> str:
    """A measure's mean over some organs as a cell.

    Parameters
    ----------
    values
        Organ to measure to its mean; with the match rate.
    measure
        Which one; a distance is undefined where one of the organs with nuclei has none.
    """
    middle = mean(found[measure] for found in values.values())
    if measure != "hausdorff":
        return number(middle, measure)
    rates = [found["match_rate"] for found in values.values()]
    # It has nuclei, none of which was matched.
    if any(math.isnan(f[measure]) and not math.isnan(f["match_rate"]) for f in values.values()):
        middle = math.nan
    return f"{number(middle, measure)} ({number(mean(rates), 'match_rate')})"


def number(value: float, measure: str) -> str:
    """A figure of a measure as a cell."""
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if measure in ("hausdorff", "match_rate") else f"{value:.3f}"


def signed(interval: Interval) -> str:
    """The interval of a difference as a cell."""
    if math.isnan(interval.low):
        return NO_INTERVAL
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]"


def differences_table(differences: Sequence[Difference]) -> Table:
    """Pairs of models on the same slides of all organs, with the interval of the difference."""
    header = ["models", "slides", "measure", "difference", "95 % interval"]
    rows = [
        [
            f"{d.first} − {d.second}",
            str(d.slides),
            d.measure,
            _with_spread(d.difference, d.deviation),
            signed(d.interval),
        ]
        for d in differences
        if d.organ == OVERALL
    ]
    return Table("difference", header, rows, 0)


def _with_spread(difference: float, deviation: float) -> str:
    if math.isnan(difference):
        return "–"
    return f"{difference:+.3f}" + ("" if math.isnan(deviation) else f" ± {deviation:.3f}")


def markdown(shown: Table) -> str:
    """The table in Markdown; summarising rows in bold."""
    align = ["---", *("---:" for _ in shown.header[1:])]
    plain, last = _parts(shown)
    bold = [[f"**{row[0]}**", *row[1:]] for row in last]
    rows = (shown.header, align, *plain, *bold)
    # Names are anyone's.
    lines = [" | ".join(cell.replace("|", r"\|") for cell in cells) for cells in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def latex(shown: Table) -> str:
    """The table as a LaTeX ``tabular`` for the package booktabs."""
    plain, last = _parts(shown)
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(shown.header) - 1)}}}", r"\toprule"]
    lines += [_latex_row(shown.header), r"\midrule", *map(_latex_row, plain)]
    lines += [r"\midrule", *map(_latex_row, last)] if last else []
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _parts(shown: Table) -> tuple[list[list[str]], list[list[str]]]:
    end = len(shown.rows) - shown.overall
    return shown.rows[:end], shown.rows[end:]


_LATEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "#": r"\#",
        "$": r"\$",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "−": "$-$",
        "–": "--",
    }
)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"
