"""The columns of the tables of slides and nuclei, and how such tables are written and read."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nucleigan.artifacts import atomic_table, open_table
from nucleigan.errors import NucleiganError, shown
from nucleigan.metrics.measures import FRACTION, MATCHING, PIXELS, VARIANTS

MODEL = ("method", "data", "seed")
SLIDE = ("slide", "organ", "split", "patient")
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
    "hausdorff_to_prediction",
    "hausdorff_to_truth",
    "hausdorff_95",
    "surface_distance",
    "hausdorff_misses",
    "match_rate",
    "match_rate_aji_plus",
    "match_rate_f1_mean",
    "match_rate_detection",
    "true_nuclei",
    "predicted_nuclei",
)
# The column with the match rate of a measure; that of the Dice is none.
MATCH_RATES = (
    dict.fromkeys(("aji", *VARIANTS), "match_rate")
    | dict.fromkeys(("pq", "sq", "dq", "f1", "precision", "recall"), "recall")
    | {
        "aji_plus": "match_rate_aji_plus",
        "f1_mean": "match_rate_f1_mean",
        "detection_f1": "match_rate_detection",
    }
)
LONG = ("measure", "value", "unit", "match_rate", "matching")
NUCLEUS = ("nucleus", "area", "row", "column", "best_iou", "matched", "hausdorff")

# For :func:`nucleigan.artifacts.read_table`: a slide may be called 01, an organ NA.
NAMES_ARE_TEXT = {
    "dtype": dict.fromkeys((*MODEL, *SLIDE), str),
    "keep_default_na": False,
    "na_values": {name: [""] for name in (*MEASURES, *NUCLEUS)},
}


def write_rows(
    path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write rows as CSV; NaN and missing values are empty cells."""
    with (
        atomic_table(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if _is_nan(value) else value for key, value in row.items()})


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def read_slide_rows(path: str | Path) -> list[dict[str, str]]:
    """Read the rows of a table of slides; one that is not there or lacks columns is an error."""
    if not Path(path).is_file():
        raise NucleiganError(
            f"{path}: there is no such table of the evaluation stage; run the same command again."
        )
    with open_table(path) as stream:
        reader = csv.DictReader(stream)
        # Tables of before patients were known have none.
        missing = {*MODEL, *SLIDE, *MEASURES} - {"patient", *(reader.fieldnames or ())}
        if missing:
            raise NucleiganError(
                f"{path}: lacks the columns {', '.join(sorted(missing))}; expected a table of the "
                "evaluation stage; delete it and run the same command again."
            )
        # Further ones are the user's own.
        return [{key: row.get(key, "") for key in (*MODEL, *SLIDE, *MEASURES)} for row in reader]


def long_rows(rows: Iterable[Mapping[str, str]]) -> Iterable[dict[str, str]]:
    """A row for each measure of each slide: its value, unit, match rate and matching rule."""
    for row in rows:
        name = {key: row[key] for key in (*MODEL, *SLIDE)}
        # Where there are no true nuclei, no part of them was matched.
        rates = MATCH_RATES if float(row["true_nuclei"] or 0) else {}
        for measure, matching in MATCHING.items():
            yield name | {
                "measure": measure,
                "value": row[measure],
                "unit": PIXELS if measure in VARIANTS else FRACTION,
                "match_rate": row[rates[measure]] if measure in rates else "",
                "matching": matching,
            }


def patient_of(slide: str, patient: str) -> str:
    """Whom a slide is of; where a table does not say, someone with no other slide."""
    # Not the name of a patient, in which there are no line breaks.
    return patient or f"\n{slide}"


def gather(tables: Sequence[str | Path], output: str | Path) -> None:
    """Write the rows of several CSV files with the same columns into one, in their order.

    Raises
    ------
    NucleiganError
        One has other columns than the first.
    """
    columns = ""
    with atomic_table(output) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for table in tables:
            with open_table(table) as rows:
                header = next(rows, "")
                if not columns:
                    columns = header
                    stream.write(header)
                if header != columns:
                    raise NucleiganError(
                        f"{table}: has the columns {shown(header.strip())}, expected those of "
                        f"{tables[0]}; delete it and run the same command again."
                    )
                stream.writelines(rows)
