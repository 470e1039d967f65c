"""Several runs of the workflow, each with its own settings, in one comparison."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nucleigan.artifacts import read_json
from nucleigan.errors import NucleiganError
from nucleigan.evaluation.columns import read_slide_rows
from nucleigan.evaluation.compare import compare_rows
from nucleigan.organs import organ_name

# The job that writes the table of a run.
COMPARISON = "evaluation/comparison"


def compare_experiments(folders: Sequence[str | Path], output: str | Path) -> None:
    """Set the models of several folders of results beside each other.

    A model is named by its folder; where a folder holds several, by folder and method.

    Parameters
    ----------
    folders
        Folders of results of finished runs, with different names.
    output
        Folder for the tables and the figure of :func:`nucleigan.evaluation.compare`.

    Raises
    ------
    NucleiganError
        A run is not finished, two have the same name, or they judged different slides.
    """
    paths = [Path(folder) for folder in folders]
    names = [path.resolve().name for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise NucleiganError(
                f"{name}: two of the folders have this name; rename one, the table names "
                "experiments by their folders."
            )
    rows = []
    judged, magnifications = {}, {}
    for name, path in zip(names, paths, strict=True):
        table = path / "evaluation/slides.csv"
        if not table.is_file():
            raise NucleiganError(
                f"{table}: not there, so the run in {path} is not finished; run snakemake with its "
                "configuration again, or leave the folder out."
            )
        if _is_old(path):
            # Times of a folder that was copied without them may say so, too.
            print(
                f"warning: {table}: seems to be that of an earlier run; the last one in {path} is "
                f"not finished (nucleigan status {path}).",
                file=sys.stderr,
            )
        found = read_slide_rows(table)
        several = len({row["method"] for row in found}) > 1
        rows += [row | {"method": f"{name} {row['method']}" if several else name} for row in found]
        magnifications[name] = _magnification(path, found)
        judged[name] = {
            (row["slide"], row["split"], organ_name(row["organ"]), row["true_nuclei"])
            for row in found
        }
    for name, slides in judged.items():
        if slides != judged[names[0]]:
            odd = sorted(
                f"{slide} as {split} of {organ} with {nuclei} nuclei"
                for slide, split, organ, nuclei in slides ^ judged[names[0]]
            )
            raise NucleiganError(
                f"{names[0]} and {name} judged different slides ({', '.join(odd[:3])} in one of "
                "them alone); use the same sample sheet, annotations, ingestion.mpp, validation "
                "and evaluation.splits for all."
            )
        mpps = [magnifications[one] for one in (names[0], name)]
        if None not in mpps and mpps[0] != mpps[1]:
            raise NucleiganError(
                f"{names[0]} and {name} judged slides at {mpps[0]:g} and {mpps[1]:g} µm per pixel, "
                "where distances in pixels compare nothing; use one ingestion.mpp for all."
            )
    compare_rows(_with_patients(rows), output, any((path / "phantoms").is_dir() for path in paths))


def _with_patients(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The rows with the patients that any of the runs knows."""
    patients: dict[str, str] = {}
    for row in rows:
        if row["patient"] and patients.setdefault(row["slide"], row["patient"]) != row["patient"]:
            raise NucleiganError(
                f"slide {row['slide']} is of the patient {patients[row['slide']]!r} in one run and "
                f"of {row['patient']!r} in another; use the same sample sheet for all."
            )
    return [{**row, "patient": patients.get(row["slide"], "")} for row in rows]


def _magnification(folder: Path, rows: Sequence[Mapping[str, str]]) -> float | None:
    """µm per pixel of the slides of a run; None where its slides are gone."""
    for row in rows:
        facts = folder / "slides" / row["slide"] / "slide.json"
        if facts.is_file():
            return float(read_json(facts)["mpp"])
    return None


def _is_old(folder: Path) -> bool:
    """Whether the last run there has yet to write its table, or failed to."""
    # Imported late: the status of runs knows of reports, which show evaluations.
    from nucleigan.status import read_status

    logs = (folder / "logs").is_dir()
    return logs and any(
        job.name == COMPARISON and job.state != "done" for job in read_status(folder)
    )
