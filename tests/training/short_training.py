"""A training of five steps in processes, in the fourth or last of which something happens."""

import atexit
import os
import signal
import sys
import time
from pathlib import Path

from nucleigan.jobs import job

what, out = sys.argv[1], Path(sys.argv[2])
with job(out / "log.txt"):
    import torch
    from torch import distributed

    from nucleigan.config import SegmentationSettings
    from nucleigan.errors import NucleiganError
    from nucleigan.training import loop, processes

    print("begins", flush=True)

    def look() -> None:
        ended = "joined" if distributed.is_initialized() else "alone"
        (out / f"{ended}{os.environ.get('RANK', '')}").touch()

    if what == "ended":
        # Registered first, it runs last.
        atexit.register(look)
    processes.spread(2, "cpu")
    rank = processes.rank()

    class Model:
        done = 0

        def step(self, batch, rng):
            self.done += 1
            if (rank, self.done) == (0, {"stopped": 4, "stopped at last": 5}.get(what)):
                os.kill(os.getppid(), signal.SIGTERM)
                time.sleep(1)
            if (rank, self.done) == (1, 4):
                if what == "error":
                    raise ValueError("unexpected")
                if what == "sentence":
                    raise NucleiganError("images.tif: is cut off; copy it again.")
                if what == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
            if what == "error everywhere" and self.done == 4:
                raise NucleiganError("images.tif: is cut off; copy it again.")
            return {"loss": torch.tensor(0.0)}

        def set_rate(self, factor):
            pass

        def state(self):
            # Longer than torchrun is told to wait for a process that it stops.
            time.sleep(3 if rank == 0 else 0)
            return {"done": self.done}

    settings = SegmentationSettings(epochs=1, decay_from=1, checkpoint_seconds=1000)
    loop.run(Model(), lambda step: (None, ""), 5, settings, 0, out / "checkpoint", {})
    if rank == 0:
        (out / "done").touch()
