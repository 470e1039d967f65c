"""Torchrun within a job, which then ends as a job of one process would.

By itself torchrun answers SIGTERM with an error, gives its processes half a minute to end, and
shows their errors in a form of its own. Here SIGTERM goes to the processes, which save and end
by themselves, and the first error of all becomes that of the job.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous.api import RendezvousConnectionError

from nucleigan.errors import NucleiganError, PassingError
from nucleigan.jobs import ProcessError

# How a process ends that SIGTERM stopped: in a training, which saves first, or before one.
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)


def launch(arguments: Sequence[str]) -> None:
    """Run a script by several processes, to their end.

    Parameters
    ----------
    arguments
        Torchrun's.

    Raises
    ------
    SystemExit
        With status 143 where SIGTERM stopped the processes.
    ProcessError
        What one of them failed of.
    NucleiganError
        One was killed, or said something that a person can mend.
    """
    # Torchrun sets it where it is unset, and warns of it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="nucleigan-") as folder:
        options = torchrun.parse_args([f"--log-dir={folder}", *arguments])
        options.signals_to_handle = "SIGINT,SIGHUP,SIGQUIT"
        with _sigterm_passed_on() as asked, _silent():
            try:
                torchrun.run(options)
            except SignalException as error:
                sys.exit(128 + error.sigval)
            except ChildFailedError as error:
                _fail(error.failures, bool(asked))
            except RendezvousConnectionError:
                # They meet at the first node, whose torchrun has ended before that of this one.
                if not asked:
                    print("error: the first node ended; its error is in the log", file=sys.stderr)
                sys.exit(128 + signal.SIGTERM if asked else 1)


@contextmanager
def _sigterm_passed_on() -> Iterator[list[int]]:
    """Inside, SIGTERM goes to this process's children; the list is empty until it comes."""
    asked: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        asked.append(number)
        children = psutil.Process().children()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        if not children:
            sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _silent() -> Iterator[None]:
    """Inside, nothing is logged: torchrun tells of every signal and status."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _fail(failures: dict[int, ProcessFailure], asked: bool) -> None:
    """Raise the error of the process that failed first; keys are the ranks."""
    stopped = [failure.exitcode in STOPPED for failure in failures.values()]
    # Where SIGTERM came before the training, those that it killed leave the others alone.
    if all(stopped) or (asked and any(stopped)):
        sys.exit(128 + signal.SIGTERM)
    rank = _first({rank: one for rank, one in failures.items() if one.exitcode not in STOPPED})
    failure = failures[rank]
    said = failure.error_file_data
    if "in_full" in said:
        if said["sentence"]:
            raise (PassingError if said["passes"] else NucleiganError)(said["sentence"])
        raise ProcessError(said["last"], f"In process {rank}:\n{said['in_full']}")
    if failure.exitcode == -signal.SIGKILL:
        raise PassingError(
            f"process {rank} of the training was killed, mostly for a lack of memory; give the job "
            "more (mem_mb on a cluster), or set compute.processes lower."
        )
    how = f"by {failure.signal_name()}" if failure.exitcode < 0 else f"with {failure.exitcode}"
    raise PassingError(
        f"process {rank} of the training ended {how} and said nothing; run it with "
        "compute.processes: 1 to see more."
    )


def _first(failures: dict[int, ProcessFailure]) -> int:
    """The rank that failed first; the others miss it, and fail of that."""

    def when(rank: int) -> float:
        failure = failures[rank]
        # A killed one leaves no time: torchrun sees it soon after, and cuts the fraction off.
        return failure.error_file_data.get("time", failure.timestamp - 1)

    return min(failures, key=when)
