"""What a run of the workflow has to do, left where :mod:`nucleigan.status` finds it.

Snakemake alone knows of jobs that have not begun.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nucleigan.artifacts import write_json
from nucleigan.running import is_alive, read_mark, this_process


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


def write_plan(
    results: str | Path, logs: Iterable[str | Path], finished: Iterable[str | Path] = ()
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
    """
    path = Path(results) / "logs/plan.json"
    names, others = (sorted(job_name(results, log) for log in some) for some in (logs, finished))
    try:
        write_json(path, {"process": this_process(), "jobs": names, "finished": others})
    except OSError as error:
        print(
            f"warning: {path}: cannot be written ({error.strerror}); `nucleigan status` will not "
            "know of jobs that have not begun.",
            file=sys.stderr,
        )


def read_plan(results: str | Path) -> Plan | None:
    """The plan of the last run; None where there is none, or it cannot be read."""
    path = Path(results) / "logs/plan.json"
    facts = read_mark(path)
    if facts is None:
        return None
    names, finished = (
        frozenset(map(str, jobs if isinstance(jobs, list) else ()))
        for jobs in (facts.get("jobs"), facts.get("finished"))
    )
    return Plan(names, finished, path.stat().st_mtime, is_alive(facts.get("process")))
