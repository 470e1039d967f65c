"""The training loop: it knows data, schedule, checkpoints and records, and no model."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch

from nucleigan.artifacts import write_table
from nucleigan.config import TrainingSettings
from nucleigan.errors import NucleiganError
from nucleigan.progress import Reporter
from nucleigan.randomness import generator, torch_seed
from nucleigan.training import checkpoint, compute, processes
from nucleigan.training.data import prefetch
from nucleigan.training.events import Events
from nucleigan.training.schedule import rate_factor


class Resumable(Protocol):
    """What checkpoints hold the state of."""

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        ...


class Trainable(Resumable, Protocol):
    """What the loop asks of a model: networks, losses and one training step."""

    def step(self, batch: Any, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Learn from one batch; the terms of the loss, detached."""
        ...

    def set_rate(self, factor: float) -> None:
        """Set every optimiser to this part of its rate."""
        ...


def run(
    model: Trainable,
    make_batch: Callable[[int], tuple[Any, str]],
    steps_per_epoch: int,
    settings: TrainingSettings,
    seed: int,
    folder: str | Path,
    identity: dict[str, Any],
    end_of_epoch: Callable[[int], dict[str, float]] | None = None,
    tensorboard: bool = False,
    kept: Resumable | None = None,
    threads: int = 1,
) -> pd.DataFrame:
    """Train to the end, from the last checkpoint if there is one.

    Parameters
    ----------
    model
        The networks and their losses.
    make_batch
        Gives the batch of a step, and the name of its patches for error messages. It must be a
        function of the step alone, that threads may call at the same time.
    steps_per_epoch
        Steps of an epoch.
    settings
        Epochs, schedule, time between checkpoints.
    seed
        Of everything random in a step.
    folder
        Of the checkpoints.
    identity
        What the checkpoints belong to: settings, data and code.
    end_of_epoch
        Called after each epoch with its number, from 1; returns further columns of the history.
    tensorboard
        Whether to write the losses for TensorBoard, too, in a folder beside ``folder``.
    kept
        What ``end_of_epoch`` keeps from epoch to epoch; it becomes part of the checkpoints.
    threads
        That make batches ahead.

    Returns
    -------
    History: a row an epoch with its mean losses, rate and seconds.

    Raises
    ------
    SystemExit
        With status 143, after a checkpoint, if SIGTERM came: the same call goes on from there.
    """
    compute.keep_memory()
    name = checkpoint.as_text(identity)
    first, history, totals, spent = 0, [], {}, {"seconds": 0.0, "waiting_seconds": 0.0}
    leads = processes.rank() == 0
    # The first alone, since it sets aside what belongs to other settings; then all read one file.
    saved = checkpoint.load(folder, name) if leads else None
    processes.wait_for_all()
    saved = saved if leads else checkpoint.load(folder, name)
    if saved:
        model.load(saved["model"])
        if kept is not None:
            kept.load(saved["kept"])
        first, history, totals = saved["step"], saved["history"], saved["totals"]
        spent = saved["spent"]
        print(f"resumed after step {first} of {settings.epochs * steps_per_epoch}", flush=True)

    last = settings.epochs * steps_per_epoch
    saved_at = time.monotonic()
    # What earlier starts have spent on this epoch, up to the checkpoint, counts as well.
    epoch_began = saved_at - spent["seconds"]
    waited = spent["waiting_seconds"]
    reporter = Reporter(last, "steps", first)
    batches = prefetch(make_batch, first, last, threads)
    logs = Path(folder).with_name("tensorboard") if tensorboard and leads else None
    with _sigterm() as stop, Events(logs, first) as events:
        for step in range(first, last):
            epoch, place = divmod(step, steps_per_epoch)
            began = time.monotonic()
            batch, patches = next(batches)
            waited += time.monotonic() - began

            model.set_rate(rate_factor(epoch, settings.epochs, settings.decay_from))
            # Dropout draws from torch's own generator: it, too, must depend on the step alone.
            torch.manual_seed(torch_seed(seed, "step", step))
            losses = processes.mean_losses(_numbers(model.step(batch, _rng(seed, step))))
            _check_finite(losses, step, patches, folder)
            events.add("step", losses, step)
            for key, value in losses.items():
                totals[key] = totals.get(key, 0.0) + value

            now = time.monotonic()
            if place == steps_per_epoch - 1:
                row: dict[str, float] = {"epoch": epoch + 1, "steps": step + 1}
                row |= {"rate": rate_factor(epoch, settings.epochs, settings.decay_from)}
                row |= {key: value / steps_per_epoch for key, value in totals.items()}
                row |= end_of_epoch(epoch + 1) if end_of_epoch and leads else {}
                row |= {"seconds": round(now - epoch_began, 3), "waiting_seconds": round(waited, 3)}
                history.append(row)
                events.add("epoch", row, step)
                totals, waited, epoch_began = {}, 0.0, time.monotonic()
            if reporter.due or step == last - 1:
                reporter.say(step + 1, _terms(losses))
            waited_long = leads and now - saved_at > settings.checkpoint_seconds
            stopped, due = processes.any_of(stop.is_set(), waited_long)
            if stopped or due or step == last - 1:
                state = {"model": model.state(), "step": step + 1}
                _check_weights(state, step, patches, folder)
            if (stopped or due) and step < last - 1:
                if leads:
                    spent = {"seconds": time.monotonic() - epoch_began, "waiting_seconds": waited}
                    state |= {"history": history, "totals": totals, "spent": spent}
                    state |= {"kept": kept.state()} if kept is not None else {}
                    checkpoint.save(folder, state, name)
                saved_at = time.monotonic()
                if stopped:
                    processes.wait_for_all()
                    print(f"SIGTERM: stopped after step {step + 1} of {last}, saved", flush=True)
                    raise SystemExit(128 + signal.SIGTERM)
    return pd.DataFrame(history)


def finish(history: pd.DataFrame, output: str | Path, folder: str | Path) -> None:
    """Write the history, then remove the checkpoints; call it after the weights are written."""
    write_table(output, history, digits=6)
    checkpoint.clear(folder)


@contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """Inside, SIGTERM sets the event instead of ending the process.

    A cluster sends it before it takes a job's node away or at the end of the job's time.
    """
    asked = threading.Event()
    # Python delivers signals to the main thread alone, and lets no other set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _rng(seed: int, step: int) -> np.random.Generator:
    return generator(seed, "pool", step)


def _numbers(losses: dict[str, torch.Tensor]) -> dict[str, float]:
    """The losses, fetched at once: a GPU is waited for once a step."""
    values = torch.stack([loss.double() for loss in losses.values()])
    return dict(zip(losses, values.tolist(), strict=True))


def _check_finite(losses: dict[str, float], step: int, patches: str, folder: str | Path) -> None:
    for key, value in losses.items():
        if not np.isfinite(value):
            raise _diverged(f"the loss `{key}` became {value}", step, patches, folder)


def _check_weights(state: dict[str, Any], step: int, patches: str, folder: str | Path) -> None:
    """Refuse weights that no step could go on from: a finite loss may have had no gradient."""
    name = _not_finite(state, "")
    if name is not None:
        raise _diverged(f"the weights `{name}` are no longer finite", step, patches, folder)


def _not_finite(value: Any, name: str) -> str | None:
    """The place of the first tensor in a state that holds NaN or infinity."""
    if isinstance(value, torch.Tensor):
        wrong = value.is_floating_point() and not torch.isfinite(value).all()
        return name if wrong else None
    if not isinstance(value, dict | list | tuple):
        return None
    items = value.items() if isinstance(value, dict) else enumerate(value)
    places = (_not_finite(part, f"{name}/{key}".strip("/")) for key, part in items)
    return next((place for place in places if place is not None), None)


def _diverged(what: str, step: int, patches: str, folder: str | Path) -> NucleiganError:
    last = checkpoint.newest(folder)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    return NucleiganError(
        f"{what} at step {step + 1} with the patches {patches}; {kept}: lower "
        "optimiser.learning_rate or set compute.precision to float32, and run the same command "
        "again. Under other settings the training begins anew and that checkpoint is set aside."
    )


def _terms(losses: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:.3f}" for key, value in losses.items())
