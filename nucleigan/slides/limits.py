"""Bounds of what reading one file may cost, whatever the file says of itself."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nucleigan.errors import NucleiganError

# The limit belongs to the whole process, so that two threads must not set it at a time.
_ONE_AT_A_TIME = threading.RLock()
STATISTICS = Path("/proc/self/statm")


@contextmanager
def bounded_memory(allowance: int) -> Iterator[None]:
    """Let this process take that much memory beyond what it has; then come MemoryErrors.

    The system refuses the memory, so that the bound holds inside of decoders, too. Where the system
    knows no such limit (outside of Linux) there is none.

    Parameters
    ----------
    allowance
        Address space, bytes.
    """
    try:
        import resource

        used = int(STATISTICS.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError):
        yield
        return
    with _ONE_AT_A_TIME:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = used + allowance
        lowest = min([wanted, *(limit for limit in (soft, hard) if limit >= 0)])
        resource.setrlimit(resource.RLIMIT_AS, (lowest, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def read_text(path: Path, max_bytes: int) -> str:
    """The UTF-8 text of a file that is not too large to be taken into memory.

    Raises
    ------
    NucleiganError
        It is larger than ``max_bytes``.
    UnicodeDecodeError
        It is no UTF-8.
    """
    check_bytes(path, max_bytes)
    return path.read_text(encoding="utf-8-sig")


def check_bytes(path: Path, max_bytes: int) -> None:
    """Refuse a text that would fill the memory once it is parsed."""
    size = path.stat().st_size
    if size > max_bytes:
        raise NucleiganError(
            f"{path}: has {size} bytes, more than the {max_bytes} of ingestion.max_text_bytes; "
            "raise the limit or split the file."
        )
