"""What a run of the workflow has to do, left where :mod:`nucleigan.status` finds it.

Snakemake alone knows of jobs that have not begun.
"""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from nucleigan.artifacts import write_json
from nucleigan.errors import NucleiganError
from nucleigan.running import is_alive, read_mark, this_process

# A network file system may show an older file for so long, seconds.
PATIENCE = 60.0


@dataclass(frozen=True)
class Plan:
    """The jobs of the last run.

    Attributes
    ----------
    names
        Of the jobs, as :class:`nucleigan.status.Job` has them.
    finished
        Of those whose results it uses as they were.
    time
        When the run began, seconds since the epoch by the clock of the folder.
    at_work
        Whether Snakemake still runs; None where that cannot be told.
    """

    names: frozenset[str]
    finished: frozenset[str]
    time: float
    at_work: bool | None


def job_name(results: str | Path, log: str | Path) -> str:
    """A job's name: the path of its log below ``logs``, without the ending."""
    return Path(log).relative_to(Path(results) / "logs").with_suffix("").as_posix()


def agreement_on(*values: Any) -> str:
    """A digest of plain values and paths that all jobs of a run must have read alike."""
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def check_agreed(results: str | Path, agreed: str, patience: float = PATIENCE) -> None:
    """Refuse a job that reads another configuration, or other slides, than its run has read.

    Parameters
    ----------
    results
        Folder of the run's results. Without a plan in it there is nothing to compare.
    agreed
        What :func:`agreement_on` says in the job, of the configuration and of the slides.
    patience
        For how long a plan that differs may be the one before, as a network file system may show
        it, seconds.

    Raises
    ------
    NucleiganError
        They differ.
    """
    end = time.monotonic() + patience
    while (facts := read_mark(_place(results))) and facts.get("agreed", agreed) != agreed:
        if time.monotonic() >= end:
            raise NucleiganError(
                "the configuration or the sample sheet was changed since the run began that this "
                "job belongs to, and the job would mix both; change them back, or stop the run and "
                "start it again."
            )
        time.sleep(min(1.0, patience))


def write_plan(
    results: str | Path,
    logs: Iterable[str | Path],
    finished: Iterable[str | Path] = (),
    agreed: str | None = None,
) -> None:
    """Write ``logs/plan.json``; where that cannot be, warn and go on.

    Parameters
    ----------
    results
        Folder of the run's results.
    logs
        Log files of all jobs that are to run.
    finished
        Log files of those that need not run again.
    agreed
        What :func:`agreement_on` says.
    """
    path = _place(results)
    names, others = (sorted(job_name(results, log) for log in some) for some in (logs, finished))
    try:
        facts = {"process": this_process(), "jobs": names, "finished": others}
        write_json(path, facts | ({"agreed": agreed} if agreed else {}))
    except OSError as error:
        print(
            f"warning: {path}: cannot be written ({error.strerror}); `nucleigan status` will not "
            "know of jobs that have not begun.",
            file=sys.stderr,
        )


def read_plan(results: str | Path) -> Plan | None:
    """The plan of the last run; None where there is none, or it cannot be read."""
    path = _place(results)
    facts = read_mark(path)
    if facts is None:
        return None
    names, finished = (
        frozenset(map(str, jobs if isinstance(jobs, list) else ()))
        for jobs in (facts.get("jobs"), facts.get("finished"))
    )
    return Plan(names, finished, path.stat().st_mtime, is_alive(facts.get("process")))


def _place(results: str | Path) -> Path:
    return Path(results) / "logs/plan.json"
