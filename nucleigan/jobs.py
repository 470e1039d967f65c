"""What every job of the workflow does around its one call: a log, and errors in one sentence."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from nucleigan.errors import NucleiganError, shown


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


# What a person can mend, by the number of the system's error.
WHAT_TO_DO = {
    errno.ENOSPC: "no space is left on its device; free some, then run the same command again.",
    errno.EDQUOT: "the quota of its device is used up; free some, then run the same command again.",
    errno.EROFS: "its device takes no writing; mount it writable, or choose another `results`.",
    errno.EACCES: "this user may not go there; change its permissions, or choose another folder.",
    errno.EIO: "the device fails; what is on it may be damaged: look at the machine's own log.",
}
MEMORY = (
    "the job needs more memory than it may have; give it more (mem_mb on a cluster), or run fewer "
    "jobs beside each other (--cores)"
)


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Run one job: what it prints goes to the terminal and to ``log``.

    A :class:`NucleiganError` is printed as its one sentence, and so are a full or read-only disk
    and a lack of memory; any other error goes to the log in full, with its last line on the
    terminal. All end the process with status 1.
    """
    # Of processes that train together the first writes the log.
    path = Path(log if os.environ.get("RANK", "0") == "0" else os.devnull)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            path.open("w", encoding="utf-8") as file,
            redirect_stdout(_Tee(sys.stderr, file)),  # type: ignore[type-var]
        ):
            yield
        return
    except Exception as error:
        sentence = explained(error)
        in_full = f"error: {sentence}\n" if sentence else traceback.format_exc()
        # The disk may be full.
        with suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(in_full)
        last = sentence or f"{type(error).__name__}: {error} (in full: {path})"
        print(f"error: {last}", file=sys.stderr)
    sys.exit(1)


def explained(error: Exception) -> str | None:
    """An error that a person can mend, as a sentence; None for all others."""
    if isinstance(error, NucleiganError):
        return str(error)
    if isinstance(error, OSError) and error.errno in WHAT_TO_DO:
        return f"{error.filename or 'A file of this job'}: {WHAT_TO_DO[error.errno]}"
    # PyTorch says so in a RuntimeError, of the CPU's memory as of a GPU's.
    words = str(error).lower()
    told = "out of memory" in words or "can't allocate memory" in words
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and told):
        return f"{MEMORY} ({shown(' '.join(str(error).split()) or 'MemoryError', 200)})."
    return None
