"""Reads files that it is given by their paths, line by line, and says how each ended.

In a process of its own: a reader may crash the interpreter, hang, or take all memory.
"""

import faulthandler
import json
import logging
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

from readers import READERS

from nucleigan.errors import NucleiganError

# Of the processor, for one input.
SECONDS = 20
# The machine is spared, whatever happens; bytes.
CEILING = 8 << 30
# Resident memory that one input may take at its height, bytes.
MOST = 700 << 20
LONGEST_SENTENCE = 4000


def main() -> None:
    """Answer each path with one line of JSON: outcome and detail."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    reader = READERS[sys.argv[1]]
    resource.setrlimit(resource.RLIMIT_AS, (CEILING, CEILING))
    answers, sys.stdout = sys.stdout, sys.stderr
    # What is imported by and by does not count as memory of an input.
    _read(reader, Path(sys.argv[2]))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        seconds = int(time.process_time()) + SECONDS
        # The system ends a process that takes longer.
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        before = _forget_peak()
        outcome, detail = _read(reader, path)
        peak = _memory("VmHWM") - before
        if peak > MOST:
            outcome, detail = "memory", f"{peak >> 20} MiB"
        print(json.dumps([outcome, detail]), file=answers, flush=True)


def _read(reader, path: Path) -> tuple[str, str]:
    try:
        reader(path)
        return "read", ""
    except NucleiganError as error:
        sentence = str(error)
    except BaseException:
        return "error", traceback.format_exc()[-3000:]
    if "\n" in sentence or path.name not in sentence or len(sentence) > LONGEST_SENTENCE:
        return "sentence", repr(sentence[: 2 * LONGEST_SENTENCE])
    return "refused", sentence


def _forget_peak() -> int:
    """Let the peak of resident memory begin anew; returns the present size."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    return 0


if __name__ == "__main__":
    main()
