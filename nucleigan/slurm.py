"""What Snakemake's executor for SLURM does not see to: preempted jobs, and jobs that are left."""

import atexit
import subprocess
import sys
import threading
import time

# SLURM forgets jobs some minutes after their end (MinJobAge).
LOOK_SECONDS = 60
# Until an answer of SLURM counts as none.
ANSWER_SECONDS = 60


def attend(run: str) -> None:
    """Bring back preempted jobs until this process ends, and then leave none behind.

    Parameters
    ----------
    run
        The name of its jobs.
    """
    threading.Thread(target=_bring_back, args=(run,), daemon=True, name="preempted jobs").start()
    # The executor cancels the jobs that it knows of, which are none while it asks how they are.
    atexit.register(_ask, "scancel", f"--name={run}")


def _bring_back(run: str) -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        for job in requeue(run):
            print(f"SLURM preempted job {job} and ended it; it is queued again.", file=sys.stderr)


def requeue(run: str) -> list[str]:
    """Put the jobs of a run that SLURM preempted and ended back into its queue.

    Snakemake's executor takes a preempted job for one that SLURM brings back. That is so where
    preemption requeues (``PreemptMode=REQUEUE``), but not where it cancels (``CANCEL``).

    Parameters
    ----------
    run
        The name of its jobs.

    Returns
    -------
    Their numbers. A job that SLURM does not take back, or not yet, is left for the next time.
    """
    found = _ask("squeue", "--noheader", "--states=PREEMPTED", f"--name={run}", "--format=%i")
    return [job for job in (found or "").split() if _ask("scontrol", "requeue", job) is not None]


def _ask(*command: str) -> str | None:
    """What a program of SLURM says; None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
