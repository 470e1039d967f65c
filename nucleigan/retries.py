"""Which jobs are tried again: those that something outside of them has ended.

Snakemake tries a job again, up to `retries` times, whatever has ended it. Two ends are told apart
here before it counts: a job that has said what is wrong with its files or numbers would say so
again, and a training that a time limit or a preemption stopped has lost nothing.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nucleigan.logs import STOPPED, tail


@dataclass(frozen=True)
class Failure:
    """What a job said when it failed.

    Attributes
    ----------
    sentence
        Its error.
    passes
        Whether another try may go well.
    """

    sentence: str
    passes: bool


def leave_failure(log: Path, failure: Failure) -> None:
    """Leave it beside the log of a job, unless the disk takes nothing any more."""
    with suppress(OSError):
        _place(log).write_text(json.dumps(asdict(failure)), encoding="utf-8")


def forget_failure(log: Path) -> None:
    """Remove what an earlier try has left."""
    _place(log).unlink(missing_ok=True)


def take_failure(log: Path) -> Failure | None:
    """What a job has left beside its log, which is removed; None where it said nothing."""
    try:
        facts = json.loads(_place(log).read_text(encoding="utf-8"))
        failure = Failure(str(facts["sentence"]), bool(facts["passes"]))
        forget_failure(log)
    # A disk may be full, or read by another machine while it is written.
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return failure


def _place(log: Path) -> Path:
    return log.with_suffix(".failed")


class Retries:
    """Told of each job that failed, before Snakemake counts it.

    Parameters
    ----------
    count
        Snakemake's own function, which counts a failed job and tries it again or not.
    most
        How often a job is tried again that failed by itself, of a cause that may pass. Trainings
        may be ended more often than that, by others.
    """

    def __init__(self, count: Callable[[Any], None], most: int) -> None:
        self._count = count
        self._most = most
        self._failed: Counter[Path] = Counter()
        self._steps: dict[Path, int] = {}

    def __call__(self, job: Any) -> None:
        """Take a job of Snakemake, or a group of them, that failed."""
        if job.restart_times >= job.attempt:
            self._weigh(job)
        self._count(job)

    def _weigh(self, job: Any) -> None:
        members = job.jobs if job.is_group() else [job]
        logs = [Path(log) for member in members for log in member.log]
        failures = {log: failure for log in logs if (failure := take_failure(log))}
        self._failed.update(failures.keys())
        for log, failure in failures.items():
            if not failure.passes or self._failed[log] > self._most:
                print(f"error: {log}: {failure.sentence}", file=sys.stderr)
                print(f"{log}: the job is not tried again.", file=sys.stderr, flush=True)
                job.attempt = job.restart_times + 1
        further = [self._came_further(log) for log in logs]
        if not failures and any(further):
            # Snakemake adds one.
            job.attempt -= 1

    def _came_further(self, log: Path) -> bool:
        """Whether a training was stopped at a later step than the last time."""
        try:
            found = [STOPPED.match(line) for line in tail(log)[-1:]]
        except OSError:
            return False
        before, step = (
            self._steps.get(log, 0),
            max((int(one[1]) for one in found if one), default=0),
        )
        self._steps[log] = step
        return step > before
