"""What makes a training the one that a checkpoint belongs to."""

from pathlib import Path
from typing import Any

import torch

from nucleigan.config import ComputeSettings
from nucleigan.training import compute as computing
from nucleigan.training import processes
from nucleigan.training.compute import Compute


def begin(
    settings: ComputeSettings, folder: str | Path, training: dict[str, Any]
) -> tuple[Compute, dict[str, Any]]:
    """Prepare the machine for a training, or for what is left of it, and say how it runs.

    Parameters
    ----------
    settings
        Of the machine.
    folder
        Of the training's checkpoints.
    training
        Its settings, seed, data and code.

    Returns
    -------
    The choices made, and the whole identity: ``training`` with what of the machine the last bits of
    the weights depend on.

    Raises
    ------
    NucleiganError
        The device does not exist on this machine.
    """
    compute = computing.prepare(settings)
    identity = {
        **training,
        "threads": settings.threads,
        "processes": processes.count(),
        "device": compute.device.type,
        "precision": compute.precision,
        "torch": torch.__version__,
    }
    compute = computing.go_on(compute, settings, folder, identity)
    print(" ".join(f"{key}={value}" for key, value in compute.facts().items()), flush=True)
    return compute, {**identity, "precision": compute.precision}
