"""What every job of the workflow does around its one call: a log, and errors in one sentence."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

from nucleigan.errors import NucleiganError


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


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Run one job: what it prints goes to the terminal and to ``log``.

    A :class:`NucleiganError` is printed as its one sentence; any other error goes to the log in
    full, with its last line on the terminal. Both end the process with status 1.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            with redirect_stdout(_Tee(sys.stderr, file)):  # type: ignore[type-var]
                yield
            return
        except NucleiganError as error:
            file.write(f"error: {error}\n")
            print(f"error: {error}", file=sys.stderr)
        except Exception as error:
            file.write(traceback.format_exc())
            print(f"error: {type(error).__name__}: {error} (in full: {path})", file=sys.stderr)
    sys.exit(1)
