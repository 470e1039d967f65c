"""The training loop: asked to stop, it saves at once and goes on later as if nothing had been."""

import math
import os
import signal
import threading
import time

import pytest
import torch

from nucleigan.config import TrainingSettings
from nucleigan.errors import NucleiganError
from nucleigan.training import loop

# No checkpoint but the one that SIGTERM asks for.
SETTINGS = TrainingSettings(epochs=3, decay_from=2, checkpoint_seconds=1e6)
STEPS = 4


class Accumulator:
    """Adds up its batches, with weights that betray a missed or repeated step or rate."""

    def __init__(self, terminate_at: int = -1) -> None:
        self.total, self.rate = torch.zeros((), dtype=torch.float64), 0.0
        self.seen: list[int] = []
        self.terminate_at = terminate_at

    def step(self, batch, rng):
        self.seen.append(batch)
        self.total = 0.5 * self.total + self.rate * batch + rng.random()
        if batch == self.terminate_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"total": self.total}

    def set_rate(self, factor):
        self.rate = factor

    def state(self):
        return {"total": self.total}

    def load(self, state):
        self.total = state["total"]


class Epochs:
    """Remembers the ends of epochs."""

    def __init__(self) -> None:
        self.ended: list[int] = []

    def end(self, epoch):
        self.ended = [*self.ended, epoch]
        return {}

    def state(self):
        return {"ended": self.ended}

    def load(self, state):
        self.ended = state["ended"]


def train(model, folder, kept=None):
    def batch(step):
        return step, str(step)

    end = kept.end if kept else None
    identity = {"of": "test"}
    return loop.run(model, batch, STEPS, SETTINGS, 5, folder, identity, end, kept=kept)


def without_times(history):
    return history.drop(columns=["seconds", "waiting_seconds"])


@pytest.mark.parametrize("at", [0, 3, 5, 10])
def test_sigterm_saves_at_once_and_the_same_call_goes_on(at, tmp_path, capsys):
    whole = Accumulator()
    history = train(whole, tmp_path / "whole")

    stopped = Accumulator(terminate_at=at)
    with pytest.raises(SystemExit) as ending:
        train(stopped, tmp_path / "stopped", Epochs())
    assert ending.value.code == 143
    assert stopped.seen == list(range(at + 1))
    assert f"stopped after step {at + 1} of 12" in capsys.readouterr().out

    resumed = Accumulator()
    epochs = Epochs()
    again = train(resumed, tmp_path / "stopped", epochs)
    assert epochs.ended == [1, 2, 3]
    assert resumed.seen == list(range(at + 1, 12))
    assert resumed.total == whole.total
    assert without_times(again).equals(without_times(history))


def test_the_time_before_a_stop_counts(tmp_path):
    class Slow(Accumulator):
        def step(self, batch, rng):
            time.sleep(0.05)
            return super().step(batch, rng)

    with pytest.raises(SystemExit):
        train(Slow(terminate_at=6), tmp_path)
    seconds = train(Accumulator(), tmp_path)["seconds"]
    # The whole first epoch, and three of the second one's four steps.
    assert seconds[0] >= 0.2 and seconds[1] >= 0.15


def test_sigterm_in_the_last_step_lets_the_training_finish(tmp_path):
    model = Accumulator(terminate_at=11)
    assert len(train(model, tmp_path)) == 3
    assert not list(tmp_path.iterdir())


def test_sigterm_means_again_what_it_meant_before(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    train(Accumulator(), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(SystemExit):
        train(Accumulator(terminate_at=2), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_training_runs_in_any_thread(tmp_path):
    model = Accumulator()
    thread = threading.Thread(target=train, args=(model, tmp_path))
    thread.start()
    thread.join()
    assert model.seen == list(range(12))


def test_losses_go_to_tensorboard_where_asked_for(tmp_path):
    pytest.importorskip("tensorboardX")
    folder = tmp_path / "checkpoint"
    loop.run(
        Accumulator(), lambda n: (n, ""), STEPS, SETTINGS, 5, folder, {"of": 1}, tensorboard=True
    )
    (written,) = (tmp_path / "tensorboard").iterdir()
    content = written.read_bytes()
    assert content.count(b"step/total") == 3 * STEPS and content.count(b"epoch/rate") == 3


class Diverging(Accumulator):
    """Its loss, or its state alone, is no number from one step on."""

    def __init__(self, at: int, loss: float, weights: float) -> None:
        super().__init__()
        self.at, self.loss, self.weights = at, loss, weights

    def step(self, batch, rng):
        losses = super().step(batch, rng)
        if batch >= self.at:
            self.total = self.total * self.weights
            return {"fine": torch.ones(()), "total": torch.tensor(self.loss)}
        return losses


EAGER = SETTINGS.model_copy(update={"checkpoint_seconds": 1e-9})


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_step_patches_and_checkpoint(loss, tmp_path):
    def batch(step):
        return step, f"patches of {step}"

    with pytest.raises(NucleiganError, match=rf"`total` became {loss} at step 1 .* no checkpoint"):
        loop.run(Diverging(0, loss, 1.0), batch, STEPS, EAGER, 5, tmp_path / "first", {})
    with pytest.raises(NucleiganError) as stopped:
        loop.run(Diverging(5, loss, 1.0), batch, STEPS, EAGER, 5, tmp_path, {})
    said = str(stopped.value)
    # The sixth, as the log counts them; batches count from 0.
    assert "at step 6 with the patches patches of 5" in said
    assert str(tmp_path / "checkpoint.safetensors") in said
    resumed = Accumulator()
    loop.run(resumed, batch, STEPS, EAGER, 5, tmp_path, {})
    assert resumed.seen == list(range(5, 12))


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    with pytest.raises(NucleiganError, match=r"weights `model/total` .* at step 6"):
        loop.run(
            Diverging(5, 1.0, math.nan), lambda n: (n, ""), STEPS, EAGER, 5, tmp_path, {"of": 1}
        )
    whole, resumed = Accumulator(), Accumulator()
    loop.run(whole, lambda n: (n, ""), STEPS, SETTINGS, 5, tmp_path / "whole", {"of": 1})
    loop.run(resumed, lambda n: (n, ""), STEPS, SETTINGS, 5, tmp_path, {"of": 1})
    assert resumed.seen == list(range(5, 12)) and resumed.total == whole.total


@pytest.mark.parametrize("settings", [SETTINGS, EAGER], ids=["no checkpoint", "checkpoints"])
def test_weights_that_the_last_step_spoils_are_no_result(settings, tmp_path):
    last = 3 * STEPS - 1
    with pytest.raises(NucleiganError, match=rf"weights `model/total` .* at step {last + 1}"):
        loop.run(
            Diverging(last, 1.0, math.nan), lambda n: (n, ""), STEPS, settings, 5, tmp_path, {}
        )


class Rated:
    """Remembers its rates; its loss is the number of the step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def step(self, batch, rng):
        return {"loss": torch.tensor(float(batch))}

    def set_rate(self, factor):
        self.rates.append(factor)

    def state(self):
        return {}

    def load(self, state):
        pass


def test_epochs_have_their_rates_and_mean_losses(tmp_path):
    model = Rated()
    history = train(model, tmp_path)
    # Constant, then falling, and positive in the last epoch.
    assert model.rates == [1.0] * 8 + [0.5] * 4
    assert history["rate"].tolist() == [1.0, 1.0, 0.5]
    assert history["loss"].tolist() == [1.5, 5.5, 9.5]
