"""The benchmark of a training step, at a tiny size."""

from typing import ClassVar

import pytest
import torch
import yaml
from tiny_workflow import TINY

from nucleigan.config import load
from nucleigan.models import cgan
from nucleigan.training import compute as computing

# Over the tiny workflow's settings: every term that a step may have.
FULL = {
    "compute": {"device": "cpu", "precision": "float32"},
    "cyclegan": {
        "batch_size": 2,
        # The gradient of a gradient, which PyTorch's counter of operations does not like.
        "slope_penalty": 1.0,
        "lambda_nuclei": 0.2,
        "latent_channels": 3,
        "lambda_spectrum": 0.2,
    },
    "segmentation": {"centres": 1.0},
}


@pytest.fixture
def training(script, monkeypatch):
    # Measuring the plain step changes them, in a process of its own where it is not a test.
    monkeypatch.setattr(computing, "CHANNELS_LAST", computing.CHANNELS_LAST)
    monkeypatch.setattr(cgan, "CHANNELS_LAST", cgan.CHANNELS_LAST)
    threads = torch.get_num_threads()
    yield script("training")
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["CycleGAN", "cGAN"])
def test_a_step_is_timed_ours_and_plainly(training, tmp_path, name):
    overlays = [tmp_path / "tiny.yaml", tmp_path / "full.yaml"]
    for overlay, values in zip(overlays, (TINY, FULL), strict=True):
        overlay.write_text(yaml.safe_dump(values))
    config = load(training.ROOT / "config.yaml", *overlays)
    ours, plainly = (training.measure(name, how, config, 2) for how in ("ours", "plainly"))
    for steps in (ours, plainly):
        # One more than asked for, which prepares kernels.
        assert len(steps.seconds) == len(steps.waiting) == 3
        assert all(0 <= waited < whole for waited, whole in zip(steps.waiting, steps.seconds))
    if name == "CycleGAN":
        # Of an image enlarged by pixels that are equal, weights are added first.
        assert 0 < ours.gigaflop < plainly.gigaflop
    else:
        assert 0 < ours.gigaflop == plainly.gigaflop


def test_operations_are_those_of_a_product_of_matrices(training):
    class Product:
        shapes: ClassVar = ((30, 200), (200, 500))

        def step(self, batch, rng):
            return batch[0] @ batch[1]

    batch = tuple(torch.ones(shape) for shape in Product.shapes)
    assert training.operations(Product(), batch) == 2 * 30 * 200 * 500 / 1e9
