"""The state of a run again and again: bars in a terminal, plain lines elsewhere."""

import shutil
import sys
import time
from pathlib import Path
from typing import TextIO

from nucleigan.plan import read_plan
from nucleigan.progress import REPORT_SECONDS
from nucleigan.status import Job, Stage, as_text, read_stages, read_status, span

# Between two looks, seconds; where a look takes long, so many times as long.
PAUSE, RELATIVE_PAUSE = 2.0, 5.0
UP, CLEAR = "\x1b[{}F", "\x1b[J"


def watch(folder: str | Path, output: TextIO | None = None) -> None:
    """Show how far a run is until it ends.

    Parameters
    ----------
    folder
        Of the run's results.
    output
        A terminal, in which the same lines are drawn anew, or a file or pipe, which gets a line for
        each stage that has changed; by default the standard output.

    Raises
    ------
    NucleiganError
        As :func:`nucleigan.status.read_status` does.
    """
    output = sys.stdout if output is None else output
    terminal = output.isatty()
    shown: list[str] = []
    while True:
        began = time.monotonic()
        jobs = read_status(folder)
        over = _is_over(folder, jobs)
        if terminal:
            shown = _drawn(output, as_text(folder, jobs).split("\n"), len(shown), whole=over)
        else:
            shown = _said(output, read_stages(folder, jobs), shown)
        if over:
            return
        pause = PAUSE if terminal else REPORT_SECONDS
        time.sleep(max(pause, RELATIVE_PAUSE * (time.monotonic() - began)))


def _is_over(folder: str | Path, jobs: list[Job]) -> bool:
    """Whether no job runs, and none will."""
    states = {job.state for job in jobs}
    plan = read_plan(folder)
    at_work = None if plan is None else plan.at_work
    # While Snakemake is there it may try again what failed.
    if "running" in states or (at_work and any(j.planned and j.state != "done" for j in jobs)):
        return False
    if at_work is False:
        # A silent job may run where its process cannot be seen, but nobody waits for it any more.
        return True
    return "silent" not in states and (plan is None or "waiting" not in states)


def _drawn(output: TextIO, lines: list[str], before: int, whole: bool) -> list[str]:
    """Draw lines over those of before; what does not fit into the terminal only at the end."""
    columns, rows = shutil.get_terminal_size()
    if not whole:
        lines = [line[: columns - 1] for line in lines[: rows - 1]]
    up = UP.format(before) if before else ""
    output.write(up + CLEAR + "".join(f"{line}\n" for line in lines))
    output.flush()
    return lines


def _said(output: TextIO, stages: list[Stage], before: list[str]) -> list[str]:
    """Print the lines that were not there before."""
    lines = [_line(stage) for stage in stages]
    output.writelines(f"{line}\n" for line in lines if line not in before)
    output.flush()
    return lines


def _line(stage: Stage) -> str:
    total = stage.counts.total()
    parts = [f"{stage.name}: {stage.counts['done']} of {total} done ({100 * stage.fraction:.0f} %)"]
    if stage.jobs_a_minute is not None:
        parts.append(f"{stage.jobs_a_minute:.2f} a minute")
    if stage.seconds_left is not None:
        parts.append(f"{span(stage.seconds_left)} left")
    others = ("running", "silent", "stopped", "failed")
    parts += [f"{stage.counts[state]} {state}" for state in others if stage.counts[state]]
    return ", ".join(parts)
