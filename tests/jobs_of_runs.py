"""The jobs that a run has started, and patience with them."""

import re
import time

import psutil

# Seconds that nothing here takes, however busy the machine.
PATIENCE = 300
# Between two looks at all processes, each of which takes some milliseconds of a core.
PAUSE = 0.05


def scripts(folder):
    """The running jobs of a folder: process to the name of its script."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        if match := re.search(
            rf"{re.escape(str(folder))}/\.snakemake/scripts/tmp\w+\.(\w+)\.py", words
        ):
            found[process] = match[1]
    return found


def wait_for(condition):
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(PAUSE)
    return found


def looks_and_ends(said):
    """How often a run with ``--verbose`` looked at its ready jobs, and how many jobs it ended."""
    ends = re.findall(r"^Finished jobid: ", said, re.MULTILINE)
    return len(re.findall(r"Ready (?:subsampled )?jobs: ", said)), len(ends)
