"""Facts of a run that no table of its stages holds: time, memory, versions, the code's commit."""

import csv
import math
import os
import platform
import subprocess
from collections.abc import Collection, Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from nucleigan import __version__

# In the order of the data; others follow by name.
STAGES = (
    "phantoms",
    "slides",
    "stain",
    "patches",
    "polygons",
    "cyclegan",
    "synthesis",
    "segmentation",
    "predictions",
    "evaluation",
    "report",
)
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-image",
    "spams-bin",
    "pandas",
    "pillow",
    "tifffile",
    "imagecodecs",
    "safetensors",
    "pydantic",
    "matplotlib",
    "snakemake",
)


class Cost(NamedTuple):
    """What the jobs of a stage took: their number, seconds together and longest, peak MB."""

    stage: str
    jobs: int
    seconds: float
    longest: float
    memory: float


def costs(folder: str | Path, names: Collection[str] | None = None) -> list[Cost]:
    """Time and memory of each stage.

    Parameters
    ----------
    folder
        Of Snakemake's benchmark files, a folder a stage. A file that is no such table is left out,
        and so is a stage without any.
    names
        Jobs that count, by the paths of those files without the ending; None counts all. What ran
        into the same folder for slides or models that were then given up is none of a run's.

    Returns
    -------
    One a stage, in the order of the data; memory is the largest resident set of a job, MB, NaN
    where no job lived long enough to be measured.
    """
    stages: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(Path(folder).rglob("*.tsv")):
        name = path.relative_to(folder).with_suffix("")
        jobs = list(_jobs(path)) if names is None or name.as_posix() in names else []
        if jobs:
            stages.setdefault(name.parts[0], []).extend(jobs)
    known = [stage for stage in STAGES if stage in stages]
    return [_cost(stage, stages[stage]) for stage in [*known, *sorted(set(stages) - set(STAGES))]]


def _jobs(path: Path) -> Iterable[tuple[float, float]]:
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            seconds = _number(row.get("s"))
            if not math.isnan(seconds):
                yield seconds, _number(row.get("max_rss"))


def benchmark_seconds(path: Path) -> float:
    """What one job took, of its benchmark file; 0 where that says nothing."""
    try:
        return next((seconds for seconds, _ in _jobs(path)), 0.0)
    except (OSError, ValueError):
        return 0.0


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _cost(stage: str, jobs: list[tuple[float, float]]) -> Cost:
    seconds = [time for time, _ in jobs]
    memory = [peak for _, peak in jobs if not math.isnan(peak)]
    return Cost(stage, len(jobs), math.fsum(seconds), max(seconds), max(memory, default=math.nan))


def versions() -> dict[str, str]:
    """Versions of this package, Python, the machine and what results depend on."""
    found = {"nucleigan": __version__, "Python": platform.python_version()}
    found["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(checkout: str | Path) -> str:
    """The commit of a git checkout, with a remark where files differ from it; else empty."""
    try:
        top = _git(checkout, "rev-parse", "--show-toplevel")
        # A copy within some other repository has no commit of its own.
        if Path(top).resolve() != Path(checkout).resolve():
            return ""
        name = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{name}, with changed files" if changed else name


def _git(checkout: str | Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
