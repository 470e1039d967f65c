"""What Snakemake's executor for SLURM does not see to: preempted jobs, and jobs that are left."""

import atexit
import subprocess
import sys
import threading
from collections.abc import Callable

# SLURM forgets jobs some minutes after their end (MinJobAge).
LOOK_SECONDS = 60
# Until an answer of SLURM counts as none.
ANSWER_SECONDS = 60


def attend(run: str, goes_on: Callable[[], bool]) -> None:
    """Bring back preempted jobs while a run goes on, and leave none behind when this process ends.

    Parameters
    ----------
    run
        The name of its jobs.
    goes_on
        Whether the run still waits for its jobs; one that is cancelled does not.
    """
    ended, looking = threading.Event(), threading.Lock()

    def bring_back() -> None:
        refusals: dict[str, int] = {}
        while not ended.wait(LOOK_SECONDS):
            with looking:
                if ended.is_set() or not goes_on():
                    return
                for job, reason in requeue(run).items():
                    if reason is None:
                        _say(f"SLURM preempted job {job} and ended it; it is queued again.")
                        continue
                    refusals[job] = refusals.get(job, 0) + 1
                    # At first it may still be ending.
                    if refusals[job] == 2:
                        _say(
                            f"SLURM preempted job {job}, ended it, and does not take it back "
                            f"({reason}): stop this run and repeat the command."
                        )

    def leave() -> None:
        ended.set()
        # The executor cancels the jobs that it knows of, which are none while it asks how they are.
        with looking:
            _ask("scancel", f"--name={run}")

    threading.Thread(target=bring_back, daemon=True, name="preempted jobs").start()
    atexit.register(leave)


def requeue(run: str) -> dict[str, str | None]:
    """Put the jobs of a run that SLURM preempted and ended back into its queue.

    Snakemake's executor takes a preempted job for one that SLURM brings back. That is so where
    preemption requeues (``PreemptMode=REQUEUE``), but not where it cancels (``CANCEL``).

    Parameters
    ----------
    run
        The name of its jobs.

    Returns
    -------
    Their numbers, each with what SLURM says where it does not take the job back, or not yet.
    """
    found = _ask("squeue", "--noheader", "--states=PREEMPTED", f"--name={run}", "--format=%i")
    if found is None or found.returncode:
        return {}
    return {job: _refusal(_ask("scontrol", "requeue", job)) for job in found.stdout.split()}


def _refusal(answer: subprocess.CompletedProcess[str] | None) -> str | None:
    if answer is None:
        return "no answer"
    return (" ".join(answer.stderr.split()) or "no reason") if answer.returncode else None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """How a program of SLURM ends; None where it does not, or is not there."""
    try:
        # In a session of its own, so that a Ctrl-C does not reach it.
        return subprocess.run(
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
