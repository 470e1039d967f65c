"""GPUs of a workstation, each given to one job at a time, whichever run it belongs to."""

import ctypes
import fcntl
import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import IO

# Locks of this user. A fixed folder: jobs of separate runs may have temporary folders of their own.
LOCKS = Path(f"/tmp/nucleigan-gpus-{os.getuid()}")
# Mean seconds until a job that waits looks again.
WAIT = 2.0


def installed() -> int:
    """Number of NVIDIA GPUs of this machine.

    As the driver's library counts them: PyTorch takes seconds to load, and could not be told any
    more which of them to use.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    count = ctypes.c_uint(0)
    if library.nvmlInit_v2() != 0:
        return 0
    failed = library.nvmlDeviceGetCount_v2(ctypes.byref(count))
    library.nvmlShutdown()
    return 0 if failed else count.value


def allowed(device: str) -> list[str]:
    """GPUs that a job may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Parameters
    ----------
    device
        ``compute.device`` of the configuration: ``auto`` and ``cuda`` allow all that are visible,
        ``cuda:1`` the second of them, ``cpu`` none.
    """
    count = 0 if device == "cpu" else installed()
    names = [str(number) for number in range(count)]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if count and chosen is not None:
        # CUDA leaves out the first that does not exist, and all behind it.
        names = list(
            takewhile(
                lambda name: name in names or name.startswith(("GPU-", "MIG-")),
                map(str.strip, chosen.split(",")),
            )
        )
    named = re.fullmatch(r"cuda:(\d+)", device)
    return names[int(named[1]) :][:1] if named else names


@contextmanager
def use_gpus(wanted: int, device: str) -> Iterator[None]:
    """Have GPUs for oneself, once as many are free; to be entered before PyTorch is used.

    Sets ``CUDA_VISIBLE_DEVICES`` for the rest of the process. The system takes a lock back when its
    process ends, however it ends. Where SLURM has chosen, or the process that started this one,
    nothing happens.

    Parameters
    ----------
    wanted
        How many; no more than there are.
    device
        ``compute.device`` of the configuration.
    """
    names = allowed(device) if wanted and "RANK" not in os.environ else []
    job = os.environ.get("SLURM_JOB_ID", "")
    if not names or (job and len(names) <= wanted):
        yield
        return
    # Jobs of SLURM may have the same names for different GPUs.
    folder = LOCKS / job
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as locks:
        taken = _wait_for(min(wanted, len(names)), names, folder, locks)
        # One that is named keeps its number.
        if not device.startswith("cuda:"):
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
        yield


def _wait_for(wanted: int, names: Sequence[str], folder: Path, locks: ExitStack) -> list[str]:
    """Names of the GPUs that were taken; their locks are added to ``locks``."""
    said = False
    while True:
        taken = _take(wanted, names, folder)
        if len(taken) == wanted:
            for file in taken.values():
                locks.enter_context(file)
            return list(taken)
        # No job keeps a part of what it wants, for which another one might wait.
        for file in taken.values():
            file.close()
        if not said:
            among = ", ".join(names)
            print(f"waiting for {wanted} of the GPUs {among}: other jobs have them", flush=True)
            said = True
        # Not all at the same moment.
        time.sleep(WAIT * random.uniform(0.5, 1.5))


def _take(wanted: int, names: Sequence[str], folder: Path) -> dict[str, IO[bytes]]:
    """Locked files of free GPUs by their names; fewer than wanted where there are not as many."""
    taken: dict[str, IO[bytes]] = {}
    for name in names:
        if len(taken) == wanted:
            break
        file = (folder / name.replace("/", "-")).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            taken[name] = file
    return taken
