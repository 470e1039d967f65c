"""What the logs of jobs end with."""

import re
from pathlib import Path

# What matters stands at the end, bytes.
TAIL = 1 << 16
# The last line of a training that SIGTERM ended after a checkpoint.
STOPPED = re.compile(r"SIGTERM: stopped after step (\d+) of ([1-9]\d*)")


def tail(log: Path) -> list[str]:
    """The last lines of a log that are not empty."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - TAIL))
        text = stream.read().decode("utf-8", errors="replace")
    return [line for line in text.split("\n") if line.strip()]
