"""What every job of the workflow does around its one call: a log, and errors in one sentence."""

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO

from nucleigan.errors import (
    WHAT_TO_DO,
    NucleiganError,
    PassingError,
    lacks_memory,
    overfills_gpu,
    reason,
)
from nucleigan.retries import Failure, forget_failure, leave_failure
from nucleigan.running import is_alive, marked, read_mark


class _Tee:
    """A stream that writes to several others."""

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        """Write to all."""
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush all."""
        for stream in self.streams:
            stream.flush()


MEMORY = (
    "the job needs more memory than it may have; give it more (mem_mb on a cluster), or run fewer "
    "jobs beside each other (--cores)"
)


GPU_MEMORY = (
    "the GPU has too little memory; make batch_size, crop or the generator's width smaller, or "
    "prediction.tile where a trained model is used, share a batch among more GPUs "
    "(compute.processes), end what else runs on it, or choose a larger one"
)


INTERRUPTED = "interrupted by Ctrl-C; run the same command again to go on."

STILL_AT = (
    "{}: process {} is still at this job, left by a run that was killed; wait for its end, or end "
    "it, then run the same command again."
)
# So long a process that was told to end may take, seconds.
PATIENCE = 30.0

# A variable that is set where a job runs once more on each of its nodes; the name of the first.
FIRST_NODE = "NUCLEIGAN_FIRST_NODE"


# A variable that says why the job may not do what it would.
DISAGREES = "NUCLEIGAN_DISAGREES"


class ProcessError(Exception):
    """An error in another process of the job.

    Parameters
    ----------
    last
        The last line of its traceback.
    in_full
        All of it.
    """

    def __init__(self, last: str, in_full: str) -> None:
        super().__init__(last)
        self.in_full = in_full


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Run one job: what it prints goes to the terminal and to ``log``.

    A :class:`NucleiganError` is printed as its one sentence, and so are a full or read-only disk
    and a lack of memory; any other error goes to the log in full, with its last line on the
    terminal. All end the process with status 1.

    Of several processes that torchrun runs within the job the first alone prints; an error of any
    is left to the process that started them, so that it is said once. While the job runs, a file
    beside ``log`` with the ending ``.running`` names its process; an error leaves one for
    :mod:`nucleigan.retries`. A process that is still at the job, since the run that started it was
    killed, is waited for, for :data:`PATIENCE` seconds, and then is an error. What an earlier try
    has said is kept in a file with the ending ``.previous``.
    """
    path = Path(log)
    rank = os.environ.get("RANK")
    begins = rank is None and FIRST_NODE not in os.environ
    mark = path.with_suffix(".running")
    if begins and (other := _still_at(mark)):
        # The log is the other's.
        failure = Failure(STILL_AT.format(path, other["pid"]), passes=False)
        leave_failure(path, failure)
        print(f"error: {failure.sentence}", file=sys.stderr)
        sys.exit(1)
    with marked(mark) if begins else nullcontext():
        yield from _logged(path, rank, begins)


def _logged(path: Path, rank: str | None, begins: bool) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if begins:
            if path.exists() and path.stat().st_size:
                path.replace(path.with_suffix(".previous"))
            path.write_bytes(b"")
            forget_failure(path)
        if sentence := os.environ.get(DISAGREES):
            raise NucleiganError(sentence)
        # All of them write at the end of one file.
        with (
            path.open("a", encoding="utf-8") as file,
            redirect_stdout(
                _Tee(sys.stderr, file) if rank in (None, "0") else _Tee()  # type: ignore[type-var]
            ),
        ):
            yield
        return
    except KeyboardInterrupt:
        # Snakemake ends, too, and nobody but `nucleigan status` asks how this job did.
        if rank is None:
            _append(path, f"error: {INTERRUPTED}\n")
        raise
    except Exception as error:
        if rank is None or not _left_to_parent(error):
            _say(error, path)
    if rank is not None:
        # The threads of a group that has broken may abort an orderly end, and say so on the way.
        sys.stderr.flush()
        os._exit(1)
    sys.exit(1)


def _still_at(mark: Path) -> dict[str, Any] | None:
    """Another process of this machine that is at a job, and does not end in time."""
    end = time.monotonic() + PATIENCE
    while (other := read_mark(mark)) and is_alive(other) and other["pid"] != os.getpid():
        if time.monotonic() >= end:
            return other
        time.sleep(min(0.5, PATIENCE))
    return None


def _say(error: Exception, path: Path) -> None:
    sentence = explained(error)
    in_full = f"error: {sentence}\n" if sentence else _in_full(error)
    _append(path, in_full)
    last = sentence or f"{_last(error)} (in full: {path})"
    leave_failure(path, Failure(last, _passes(error)))
    print(f"error: {last}", file=sys.stderr)


def _append(path: Path, text: str) -> None:
    # The disk may be full.
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(text)


def _left_to_parent(error: Exception) -> bool:
    """Leave an error where torchrun's parent looks for it; whether that was possible."""
    facts = {
        # Torchrun itself reads these two.
        "message": _last(error),
        "timestamp": int(time.time()),
        "time": time.time(),
        "sentence": explained(error),
        "passes": _passes(error),
        "last": _last(error),
        "in_full": _in_full(error),
    }
    try:
        path = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(facts), encoding="utf-8")
        partial.replace(path)
    except (KeyError, OSError):
        return False
    return True


def _last(error: Exception) -> str:
    return str(error) if isinstance(error, ProcessError) else f"{type(error).__name__}: {error}"


def _passes(error: Exception) -> bool:
    """Whether another try may go well: not where a file, a setting or a number is wrong."""
    if isinstance(error, PassingError):
        return True
    # More memory for the job would not help a GPU, and another try would fail as this one.
    return not isinstance(error, NucleiganError) and not overfills_gpu(error)


def _in_full(error: Exception) -> str:
    if isinstance(error, ProcessError):
        return error.in_full
    return "".join(traceback.format_exception(error))


def explained(error: Exception) -> str | None:
    """An error that a person can mend, as a sentence; None for all others."""
    if isinstance(error, NucleiganError):
        return str(error)
    if isinstance(error, OSError) and error.errno in WHAT_TO_DO:
        return f"{error.filename or 'A file of this job'}: {WHAT_TO_DO[error.errno]}"
    if lacks_memory(error):
        what = GPU_MEMORY if overfills_gpu(error) else MEMORY
        return f"{what} ({reason(error)})."
    return None
