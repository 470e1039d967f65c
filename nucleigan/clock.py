"""Files from the future, which a clock that was set back leaves behind."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def pull_back(folder: str | Path) -> int:
    """Give files whose time lies ahead of the clock the present time.

    Snakemake takes a result that is older than what it was made of for the victim of a wrong clock,
    and throws it away.

    Parameters
    ----------
    folder
        Of results; all below it is looked at.

    Returns
    -------
    How many there were.
    """
    # One time for all: a job's log, which then were newer than its benchmark, would be begun anew.
    now, found = time.time_ns(), 0
    for entry in _files(folder):
        with suppress(OSError):
            if entry.stat(follow_symlinks=False).st_mtime_ns > now:
                os.utime(entry.path, ns=(now, now), follow_symlinks=False)
                found += 1
    return found


def _files(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield entry
