"""How far a run of the workflow is, from its folder of results alone.

A job opens its log anew when it begins (:mod:`nucleigan.jobs`), and Snakemake writes its benchmark
when it has succeeded. What lies between the two is told by the log's end and age. Jobs that have
not begun leave nothing: only Snakemake knows of them (``snakemake -n``).
"""

import json
import re
import textwrap
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from nucleigan.errors import NucleiganError, shown
from nucleigan.report.run import STAGES

# Of a job, in the order of the table.
STATES = ("done", "running", "silent", "stopped", "failed")
# Only their jobs train, so that the logs of other finished jobs need not be read.
TRAINING_STAGES = ("cyclegan", "segmentation")
# A job that has said nothing for so long may have been killed, seconds.
SILENCE = 600.0
# What matters stands at the end of a log, bytes.
TAIL = 1 << 16
# Jobs told of one by one, of each state; --json has all.
LISTED = 20
WIDTH = 80
# As nucleigan.training.checkpoint names them; importing it would load torch, which takes seconds.
CHECKPOINTS = ("checkpoint.safetensors", "previous.safetensors")

TRACEBACK = "Traceback (most recent call last):"
REPORT = re.compile(r"step (\d+)/(\d+) \(\d+ %\), ([\d.]+) s a step, ([\d.]+) min left")
PLACE = re.compile(r"(?:resumed|SIGTERM: stopped) after step (\d+) of (\d+)")
SIGTERM = "SIGTERM: stopped after step "


@dataclass(frozen=True)
class Progress:
    """What a training said last: steps done and in all, seconds a step, minutes left."""

    step: int
    steps: int
    seconds_a_step: float | None = None
    minutes_left: float | None = None


@dataclass(frozen=True)
class Job:
    """One job: its name is the path of its log below ``logs``, without the ending.

    ``seconds_ago`` is the age of the log's last line, or of the benchmark of a job that is done;
    ``why`` the error of one that failed; ``saved_step`` the step from which a training would go on.
    """

    name: str
    state: str
    seconds_ago: float
    why: str | None = None
    progress: Progress | None = None
    saved_step: int | None = None

    @property
    def stage(self) -> str:
        """The folder of the log."""
        return self.name.split("/")[0]


def read_status(folder: str | Path, now: float | None = None) -> list[Job]:
    """Every job that has begun, in the order of the stages.

    Parameters
    ----------
    folder
        Of the results of one run.
    now
        Seconds since the epoch to count ages from; the clock's by default.

    Returns
    -------
    Jobs. The state is ``done`` where the benchmark is not older than the log. Otherwise it is
    ``failed`` where the log ends in an error, ``stopped`` where a training ended at SIGTERM with a
    checkpoint, ``running`` where the log changed in the last :data:`SILENCE` seconds, and
    ``silent`` where it did not: such a job was interrupted, or runs and has nothing to say.

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
        "stages": {stage: dict(counts) for stage, counts in _counts(jobs).items()},
        "jobs": [{"stage": job.stage, **asdict(job)} for job in jobs],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)


def as_text(folder: str | Path, jobs: Iterable[Job]) -> str:
    """The same for a person, in lines of at most 80 characters."""
    jobs = list(jobs)
    if not jobs:
        return f"{folder}: no job has begun."
    parts = [_stage_table(jobs), _training_table(jobs)]
    for state in ("failed", "stopped", "silent", "running"):
        parts.append(_list([job for job in jobs if job.state == state]))
    return "\n\n".join(part for part in parts if part)


def _names(folder: Path, ending: str) -> set[str]:
    files = (path for path in folder.rglob(f"*{ending}") if path.is_file())
    return {path.relative_to(folder).as_posix().removesuffix(ending) for path in files}


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
    trains = name.startswith(tuple(f"{stage}/" for stage in TRAINING_STAGES))
    lines = _tail(log) if began is not None and (trains or not done) else []
    progress = _progress(lines)
    if done:
        return Job(name, "done", ago, progress=progress)
    why = _error(lines)
    if why is not None:
        state = "failed"
    elif any(line.startswith(SIGTERM) for line in lines[-1:]):
        state = "stopped"
    else:
        state = "running" if ago <= SILENCE else "silent"
    saved = _saved_step(folder / _training_folder(name) / "checkpoint") if progress else None
    return Job(name, state, ago, why, progress, saved)


def _tail(log: Path) -> list[str]:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL))
        text = stream.read().decode("utf-8", errors="replace")
    return [line for line in text.split("\n") if line.strip()]


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
        if found := REPORT.match(line):
            step, steps, rate, left = found.groups()
            return Progress(int(step), int(steps), float(rate), float(left))
        if found := PLACE.match(line):
            return Progress(int(found[1]), int(found[2]))
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
        except (SafetensorError, OSError, ValueError, TypeError, KeyError):
            continue
    return None


def _counts(jobs: list[Job]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for job in jobs:
        counts.setdefault(job.stage, Counter(dict.fromkeys(STATES, 0)))[job.state] += 1
    return counts


def _stage_table(jobs: list[Job]) -> str:
    rows = [[stage, *map(counts.get, STATES)] for stage, counts in _counts(jobs).items()]
    total = Counter(job.state for job in jobs)
    rows.append(["all that began", *(total[state] for state in STATES)])
    return _table(["stage", *STATES], [[str(cell or "-") for cell in row] for row in rows])


def _training_table(jobs: list[Job]) -> str:
    rows = []
    for job in jobs:
        if job.progress is None:
            continue
        at = job.progress
        rate = "-" if at.seconds_a_step is None else f"{at.seconds_a_step:.2f}"
        # Nobody knows when a training goes on that does not run.
        runs = job.state == "running" and at.minutes_left is not None
        left = _span(60 * (at.minutes_left or 0.0)) if runs else "-"
        step = f"{at.step}/{at.steps}"
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
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines
    )


def _told(job: Job) -> str:
    name, ago = shown(job.name, len(job.name) + 1), _span(job.seconds_ago)
    said = {
        "failed": f"{ago} ago: {job.why}",
        "stopped": f"by SIGTERM {ago} ago, saved; the same command goes on from there.",
        "silent": f"running or interrupted, last line {ago} ago.",
        "running": f"last line {ago} ago.",
    }[job.state]
    return f"{job.state}: {name}, {said}"


def _span(seconds: float) -> str:
    """A time as a person says it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
