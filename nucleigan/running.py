"""Which process is at work: facts that it leaves in a file, by which its sudden end is noticed."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Of a process that has ended, though its parent has not asked how.
ENDED = ("Z", "X")


def this_process() -> dict[str, Any]:
    """Facts by which :func:`is_alive` knows this process again."""
    pid = os.getpid()
    return {"host": platform.node(), "pid": pid, "place": _place(), "began": _began(pid)}


def is_alive(process: Any) -> bool | None:
    """Whether a process still runs.

    Parameters
    ----------
    process
        What :func:`this_process` said there.

    Returns
    -------
    None where that cannot be told: on another machine, in another container, after a new start.
    """
    try:
        pid, place, began = int(process["pid"]), process["place"], process["began"]
    except (KeyError, TypeError, ValueError):
        return None
    if place is None or place != _place():
        return None
    # The number alone may have gone to another process.
    return began is not None and _began(pid) == began


@contextmanager
def marked(path: Path) -> Iterator[None]:
    """Inside, a file names this process; what ends it at once leaves the file behind.

    A file that cannot be written, on a full disk for example, is no reason to stop.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(this_process()), encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def read_mark(path: Path) -> dict[str, Any] | None:
    """The process that such a file names; None where there is none, or nothing to read."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _place() -> str | None:
    """Where numbers of processes mean the same: one start of one machine, one container."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{start} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _began(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None of one that is no more."""
    try:
        # The name before stands in brackets, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in ENDED else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
