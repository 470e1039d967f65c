"""One run at a time in a folder of results, wherever it is started from.

Snakemake's own lock lies in the folder that it runs in, and knows nothing of runs in others.
"""

import atexit
import errno
import fcntl
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from nucleigan.errors import NucleiganError, shown
from nucleigan.running import is_alive, this_process

LOCK = "lock"
# What file systems say that know no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def occupy(results: str | Path) -> None:
    """Keep other runs out of a folder of results until this process ends, however it ends.

    A file in the folder says who works there. The system locks it for this process. Where the file
    system knows no locks, a process of this machine that the file names and that lives counts
    alone. A folder that takes no file is not locked, with a warning.

    Parameters
    ----------
    results
        The folder; it is made where it is missing.

    Raises
    ------
    NucleiganError
        Another run works there.
    """
    path = Path(results) / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path)
    except OSError as error:
        print(
            f"warning: {path} cannot be made ({error.strerror}): see to it that no other run uses "
            f"{results}.",
            file=sys.stderr,
        )
        return
    # The file's end is the lock's end.
    atexit.register(_leave, path, file)
    facts = {"process": this_process(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    # The disk may be full; the lock holds without it.
    with suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(facts) + "\n")
        file.flush()


def _locked(path: Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(file)
            file.close()
            if isinstance(error, BlockingIOError) or (
                error.errno in NO_LOCKS and is_alive(owner.get("process"))
            ):
                raise _occupied(path, owner) from error
            if error.errno not in NO_LOCKS:
                raise
            return path.open("a+", encoding="utf-8")
        # The run before may have removed its file after it was opened here.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _leave(path: Path, file: TextIO) -> None:
    with suppress(OSError):
        path.unlink()
        file.close()


def _owner(file: TextIO) -> dict[str, Any]:
    """What the file says of the run; nothing where that is not written yet."""
    file.seek(0)
    try:
        owner = json.loads(file.read())
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _occupied(path: Path, owner: dict[str, Any]) -> NucleiganError:
    process = owner.get("process")
    told = "it has just begun"
    if isinstance(process, dict):
        values = (process.get("host"), process.get("pid"), owner.get("since"))
        host, pid, since = (shown(str(value)) for value in values)
        told = f"process {pid} on {host}, since {since}"
    return NucleiganError(
        f"{path.parent}: another run works there ({told}); wait for its end, or choose another "
        "`results`."
    )
