"""How far a run of the workflow is, from its folder of results alone.

A job opens its log anew when it begins (:mod:`nucleigan.jobs`), and Snakemake writes its benchmark
when it has succeeded. What lies between the two is told by the log's end and age, and by the file
that names the job's process. Jobs that have not begun stand in :mod:`nucleigan.plan`.
"""

import json
import re
import textwrap
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from nucleigan.errors import NucleiganError, shown
from nucleigan.logs import STOPPED, tail
from nucleigan.plan import read_plan
from nucleigan.progress import Progress
from nucleigan.report.run import STAGES, benchmark_seconds
from nucleigan.running import is_alive, read_mark

# Of a job, in the order of the table.
STATES = ("done", "waiting", "running", "silent", "stopped", "failed")
# Only such jobs train, so that the logs of other finished jobs need not be read.
TRAINING = re.compile(r"cyclegan/training|synthesis/judge|segmentation/[^/]+/[^/]+/\d+")
# A job that has said nothing for so long may have been killed, seconds.
SILENCE = 600.0
# Jobs told of one by one, of each state; --json has all.
LISTED = 20
WIDTH = 80
# Of a bar, characters.
NARROWEST, WIDEST = 6, 26
# As nucleigan.training.checkpoint names them; importing it would load torch, which takes seconds.
CHECKPOINTS = ("checkpoint.safetensors", "previous.safetensors")

KILLED = (
    "its process {} on {} ended without a word, as one that was killed; run the same command "
    "again, with fewer jobs beside each other if memory was short."
)
TRACEBACK = "Traceback (most recent call last):"
RESUMED = re.compile(r"resumed after step (\d+) of ([1-9]\d*)")


@dataclass(frozen=True)
class Job:
    """One job: its name is the path of its log below ``logs``, without the ending.

    ``seconds_ago`` is the age of the log's last line, of the benchmark of a job that is done, or of
    the plan of one that waits; ``why`` the error of one that failed; ``progress`` what it said last
    of how far it is; ``saved_step`` the step from which a training would go on; ``planned`` whether
    it belongs to the last run; ``past`` whether it ended before that run, which has no such job,
    and not well: its slide may have been taken out, or the run may be of other stages.
    """

    name: str
    state: str
    seconds_ago: float
    why: str | None = None
    progress: Progress | None = None
    saved_step: int | None = None
    planned: bool = False
    past: bool = False

    @property
    def stage(self) -> str:
        """The folder of the log."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Stage:
    """The jobs of a stage.

    ``counts`` are those of each state; ``fraction`` is the part of the jobs that is done, running
    ones by what they say; ``jobs_a_minute`` the rate of the last run; ``seconds_left`` what is left
    at that rate, or by what the running jobs say if that is more. None is what nobody knows.
    """

    name: str
    counts: Counter[str]
    fraction: float
    jobs_a_minute: float | None
    seconds_left: float | None


def read_status(folder: str | Path, now: float | None = None) -> list[Job]:
    """Every job that has begun or is planned, in the order of the stages.

    Parameters
    ----------
    folder
        Of the results of one run.
    now
        Seconds since the epoch to count ages from; the clock's by default.

    Returns
    -------
    Jobs. The state is ``done`` where the benchmark is not older than the log, and ``waiting`` where
    the last run will do it, or do it again. Otherwise it is ``failed`` where the log ends in an
    error or the job's process is no more, ``stopped`` where a training ended at SIGTERM with a
    checkpoint, ``running`` where the process is there. Where that cannot be told, as on another
    machine, a job is ``running`` if the log changed in the last :data:`SILENCE` seconds, and
    ``silent`` if it did not: it was interrupted, or has nothing to say.

    Raises
    ------
    NucleiganError
        If the folder has no logs, or they cannot be read.
    """
    folder = Path(folder)
    if not (folder / "logs").is_dir():
        raise NucleiganError(
            f"{folder}: is no folder of results, as it has no folder `logs`; give the one that "
            "`results` of the configuration names, once its first job has begun."
        )
    now = time.time() if now is None else now
    try:
        names = _names(folder / "logs", ".log") | _names(folder / "benchmarks", ".tsv")
        jobs = [_read_job(folder, name, now) for name in names]
        jobs = _with_plan(folder, jobs, now)
    except OSError as error:
        raise NucleiganError(
            f"{folder}: its logs cannot be read ({error}); make them readable, or run the command "
            "again if a job was just writing them."
        ) from error
    return sorted(jobs, key=lambda job: (_place(job.stage), job.name))


def as_json(folder: str | Path, jobs: Iterable[Job]) -> str:
    """All that is known, for machines."""
    jobs = list(jobs)
    facts = {
        "results": str(folder),
        "stages": {
            stage.name: {
                **stage.counts,
                "jobs_a_minute": stage.jobs_a_minute,
                "seconds_left": stage.seconds_left,
            }
            for stage in read_stages(folder, jobs)
        },
        "jobs": [{"stage": job.stage, **asdict(job)} for job in jobs],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)


def as_text(folder: str | Path, jobs: Iterable[Job]) -> str:
    """The same for a person, in lines of at most 80 characters."""
    jobs = list(jobs)
    if not jobs:
        return f"{folder}: no job has begun."
    stages = read_stages(folder, jobs)
    parts = [_stage_table(stages) if stages else "", _training_table(jobs)]
    for state in ("failed", "stopped", "silent", "running"):
        parts.append(_list([job for job in jobs if job.state == state]))
    parts.append(_waiting(folder, jobs))
    return "\n\n".join(part for part in parts if part)


def read_stages(folder: str | Path, jobs: Iterable[Job]) -> list[Stage]:
    """The stages of jobs, in their order.

    Parameters
    ----------
    folder
        Of the results.
    jobs
        Those that :func:`read_status` found there.
    """
    stages: dict[str, list[Job]] = {}
    for job in jobs:
        if not job.past:
            stages.setdefault(job.stage, []).append(job)
    return [_stage(Path(folder), name, members) for name, members in stages.items()]


def _stage(folder: Path, name: str, jobs: list[Job]) -> Stage:
    counts = Counter(dict.fromkeys(STATES, 0))
    counts.update(job.state for job in jobs)
    running = [job for job in jobs if job.state == "running"]
    waiting = [job for job in jobs if job.state == "waiting"]
    parts = [job.progress.fraction for job in running if job.progress]
    rate = _rate(folder, jobs)
    return Stage(
        name,
        counts,
        (counts["done"] + sum(parts)) / len(jobs),
        None if rate is None else round(60 * rate, 3),
        _seconds_left(running, waiting, rate),
    )


def _rate(folder: Path, jobs: list[Job]) -> float | None:
    """Jobs a second that the last run has done, while any of the stage ran."""
    done = [job for job in jobs if job.planned and job.state == "done"]
    if not done:
        return None
    first = max(done, key=lambda job: job.seconds_ago)
    runs = any(job.state == "running" for job in jobs)
    until = 0.0 if runs else min(job.seconds_ago for job in done)
    took = benchmark_seconds(folder / f"benchmarks/{first.name}.tsv")
    seconds = first.seconds_ago + took - until
    return len(done) / seconds if seconds > 0 else None


def _seconds_left(running: list[Job], waiting: list[Job], rate: float | None) -> float | None:
    """Of a stage at work; nobody knows when one goes on that does not.

    While none of its jobs is done, those that wait are taken to last as long as those that run;
    beside trainings, only other trainings are.
    """
    said = [job.progress.seconds_left for job in running if job.progress]
    known = [seconds for seconds in said if seconds is not None]
    if running and rate is not None:
        parts = sum(job.progress.fraction for job in running if job.progress)
        known.append((len(waiting) + len(running) - parts) / rate)
    elif known:
        training = [job for job in running if TRAINING.fullmatch(job.name)]
        alike = [job for job in waiting if not training or TRAINING.fullmatch(job.name)]
        lanes = training or running
        whole = [
            at.total * at.seconds_each
            for at in (job.progress for job in lanes)
            if at is not None and at.seconds_each is not None
        ]
        if whole:
            known.append(max(known) + len(alike) * sum(whole) / len(whole) / len(lanes))
    return round(max(known), 1) if known else None


def _names(folder: Path, ending: str) -> set[str]:
    files = (path for path in folder.rglob(f"*{ending}") if path.is_file())
    return {path.relative_to(folder).as_posix().removesuffix(ending) for path in files}


def _with_plan(folder: Path, jobs: list[Job], now: float) -> list[Job]:
    """Jobs of the last run are marked, and those that it has not begun wait."""
    plan = read_plan(folder)
    if plan is None:
        return jobs
    ago = round(max(0.0, now - plan.time), 1)
    # Those that ended before the plan was made, well or not, are to be done again.
    begun = [
        replace(job, planned=job.name in plan.names, past=_is_past(job, plan.names, ago))
        for job in jobs
        if job.name not in plan.names or job.state == "running" or job.seconds_ago <= ago
    ]
    missing = plan.names - {job.name for job in begun}
    return begun + [Job(name, "waiting", ago, planned=True) for name in missing]


def _is_past(job: Job, planned: Collection[str], ago: float) -> bool:
    """Whether a job ended, and not well, before a plan was made that leaves it out."""
    ended = job.state in ("silent", "stopped", "failed") and job.seconds_ago > ago
    return ended and job.name not in planned


def _place(stage: str) -> tuple[int, str]:
    return (STAGES.index(stage) if stage in STAGES else len(STAGES), stage)


def _read_job(folder: Path, name: str, now: float) -> Job:
    log, benchmark = folder / f"logs/{name}.log", folder / f"benchmarks/{name}.tsv"
    began = log.stat().st_mtime if log.exists() else None
    ended = benchmark.stat().st_mtime if benchmark.exists() else None
    # A benchmark without a log: someone has tidied up.
    done = ended is not None and (began is None or ended >= began)
    # Clocks of several machines may differ: a time to come is now.
    ago = round(max(0.0, now - ((ended if done else began) or 0.0)), 1)
    trains = TRAINING.fullmatch(name) is not None
    lines = tail(log) if began is not None and (trains or not done) else []
    progress = _progress(lines)
    if done:
        return Job(name, "done", ago, progress=progress)
    why = _error(lines)
    process = read_mark(log.with_suffix(".running"))
    alive = None if process is None else is_alive(process)
    if why is not None:
        state = "failed"
    elif any(STOPPED.match(line) for line in lines[-1:]):
        state = "stopped"
    elif process is not None and alive is False:
        state, why = "failed", KILLED.format(process["pid"], shown(process.get("host"), 100))
    else:
        state = "running" if alive or ago <= SILENCE else "silent"
    saved = _saved_step(folder / _training_folder(name) / "checkpoint") if progress else None
    return Job(name, state, ago, why, progress, saved)


def _error(lines: list[str]) -> str | None:
    """What a job says that fails: our own sentence, or the last line of a traceback."""
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("error: "):
            return _sentence(lines[number:]).removeprefix("error: ")
        if lines[number] == TRACEBACK:
            said = [line for line in lines[number + 1 :] if not line.startswith(" ")]
            return _sentence(said)
    return None


def _sentence(lines: list[str]) -> str:
    return shown(" ".join(" ".join(lines).split()), 600)


def _progress(lines: list[str]) -> Progress | None:
    for line in reversed(lines):
        if said := Progress.read(line):
            return said
        if found := RESUMED.match(line) or STOPPED.match(line):
            return Progress(int(found[1]), int(found[2]), "steps")
    return None


def _training_folder(name: str) -> str:
    """Where the rules let a training write: the CycleGAN's log alone has a further name."""
    return "cyclegan" if name == "cyclegan/training" else name


def _saved_step(folder: Path) -> int | None:
    """The step of the newest checkpoint, from its header alone."""
    for name in CHECKPOINTS:
        try:
            with safe_open(folder / name, framework="numpy") as file:
                return int(dict(json.loads(file.metadata()["tree"])["__items__"])["step"])
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
    return None


def _stage_table(stages: list[Stage]) -> str:
    total = Counter(dict.fromkeys(STATES, 0))
    for stage in stages:
        total.update(stage.counts)
    everything = sum(stage.fraction * stage.counts.total() for stage in stages) / total.total()
    rows = [*stages, Stage("all", total, everything, None, None)]
    # Those that wait are what the others leave of all; states that no job is in have no column.
    states = [state for state in STATES[2:] if total[state]]
    header = ["stage", "done", "a minute", "left", *states]
    cells = [
        [stage.name, *_pace(stage), *(str(stage.counts[state] or "-") for state in states)]
        for stage in rows
    ]
    length = WIDTH - len(_table(header, cells).split("\n")[0]) - 2
    for stage, row in zip(rows, cells, strict=True):
        row.insert(1, _bar(stage.fraction, max(NARROWEST, min(WIDEST, length))))
    return _table([header[0], "", *header[1:]], cells)


def _bar(fraction: float, length: int) -> str:
    """So much of a bar is filled; all of it only where all is done."""
    filled = int(fraction * (length - 2))
    return f"[{'#' * filled}{'.' * (length - 2 - filled)}]"


def _pace(stage: Stage) -> list[str]:
    """Jobs that are done and all, jobs a minute, and time left."""
    rate = "-" if stage.jobs_a_minute is None else f"{stage.jobs_a_minute:.2f}"
    left = "-" if stage.seconds_left is None else span(stage.seconds_left)
    return [f"{stage.counts['done']}/{stage.counts.total()}", rate, left]


def _training_table(jobs: list[Job]) -> str:
    rows = []
    for job in jobs:
        at = job.progress
        if at is None or at.what != "steps" or job.past:
            continue
        rate = "-" if at.seconds_each is None else f"{at.seconds_each:.2f}"
        # Nobody knows when a training goes on that does not run.
        runs = job.state == "running" and at.seconds_left is not None
        left = span(at.seconds_left or 0.0) if runs else "-"
        step = f"{at.done}/{at.total}"
        saved = "-" if job.saved_step is None else str(job.saved_step)
        rows.append([job.name, step, rate, left, saved, job.state])
    header = ["training", "step", "s a step", "left", "saved at", "state"]
    return _table(header, rows) if rows else ""


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Columns of plain text; the first gives way where the line would be too long."""
    columns = list(zip(header, *rows))
    widths = [max(map(len, column)) for column in columns]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths[1:]))
    return "\n".join(
        "  ".join(
            [_end(first, widths[0]).ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(others, widths[1:])]
        )
        for first, *others in (header, *rows)
    )


def _end(text: str, length: int) -> str:
    """Runs differ in the end of their names."""
    text = shown(text, len(text) + 1)
    return text if len(text) <= length else "…" + text[len(text) - length + 1 :]


def _list(jobs: list[Job]) -> str:
    """What is to be said of jobs of one state, one by one."""
    lines = [_told(job) for job in jobs[:LISTED]]
    if len(jobs) > LISTED:
        lines.append(f"{jobs[0].state}: {len(jobs) - LISTED} more; --json lists them.")
    return "\n".join(map(_filled, lines))


def _told(job: Job) -> str:
    name, ago = shown(job.name, len(job.name) + 1), span(job.seconds_ago)
    past = ", before the last run" * job.past
    goes_on = "" if job.past else "; the same command goes on from there"
    said = {
        "failed": f"{ago} ago{past}: {job.why}",
        "stopped": f"by SIGTERM {ago} ago{past}, saved{goes_on}.",
        "silent": f"running or interrupted, last line {ago} ago{past}.",
        "running": f"{_place_in(job)}last line {ago} ago.",
    }[job.state]
    return f"{job.state}: {name}, {said}"


def _place_in(job: Job) -> str:
    """How far a job is that is no training; those have a table."""
    at = job.progress
    return f"{at}, " if at is not None and at.what != "steps" else ""


def _waiting(folder: str | Path, jobs: list[Job]) -> str:
    """What becomes of jobs that have not begun, once Snakemake has ended."""
    number = sum(job.state == "waiting" for job in jobs)
    plan = read_plan(folder)
    if not number or plan is None or plan.at_work is not False:
        return ""
    return _filled(f"waiting: {number}, but Snakemake has ended; the same command does them.")


def _filled(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def span(seconds: float) -> str:
    """A time as a person says it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
