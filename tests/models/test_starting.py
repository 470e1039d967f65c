"""Trainings that begin with the weights of a model file."""

import numpy as np
import pytest
import torch

from nucleigan.config import (
    ComputeSettings,
    DiscriminatorSettings,
    GeneratorSettings,
    MaskSettings,
    SegmentationSettings,
)
from nucleigan.errors import NucleiganError
from nucleigan.models.methods import load_method
from nucleigan.models.train import starting_weights
from nucleigan.models.weights import write_weights
from nucleigan.networks import build_generator, effective_state
from nucleigan.training.compute import prepare

COMPUTE = prepare(ComputeSettings(device="cpu", precision="float32", threads=1))
SETTINGS = SegmentationSettings(
    generator=GeneratorSettings(kind="unet", width=4, depth=2, norm="batch"),
    discriminator=DiscriminatorSettings(width=4, layers=1),
)
MASKS = MaskSettings()


def facts(**changes):
    return {
        "kind": "segmenter",
        "method": "cgan",
        "generator": SETTINGS.generator.model_dump(),
        "backbone": "resnet50",
        "masks": MASKS.model_dump(),
        **changes,
    }


def stored(path, **changes):
    network = build_generator(SETTINGS.generator, 3, 2, init_std=0.3, seed=9)
    write_weights(path, effective_state(network), facts(**changes))
    return network.eval()


@pytest.mark.parametrize("method", ["cgan", "unet"])
@pytest.mark.parametrize("spectral", [False, True])
def test_the_first_guess_is_that_of_the_file(method, spectral, tmp_path):
    known = stored(tmp_path / "model.safetensors")
    random = torch.Generator().manual_seed(0)
    if spectral:
        settings = SETTINGS.generator.model_copy(update={"spectral_norm": True})
        known = build_generator(settings, 3, 2, init_std=0.3, seed=9)
        # Each look brings the weights' norms closer to one.
        for _ in range(100):
            known(torch.rand(1, 3, 32, 32, generator=random))
        known.eval()
        write_weights(tmp_path / "model.safetensors", effective_state(known), facts())
        own = SETTINGS.model_copy(update={"generator": settings})
    else:
        own = SETTINGS
    learner = load_method(method).trainable(own, MASKS, COMPUTE, 1)
    tensors, _ = starting_weights(tmp_path / "model.safetensors", facts())
    learner.start_from(tensors)
    image = torch.rand(1, 3, 32, 32, generator=random)
    expected = known(image)
    network = learner.segmenter if method == "cgan" else learner.network
    for started in (network.eval(), learner.average.network):
        torch.testing.assert_close(started(image), expected, rtol=1e-4, atol=1e-5)
    batch = np.zeros((1, 3, 32, 32), np.float32), -np.ones((1, 2, 32, 32), np.float32)
    losses = learner.step(batch, np.random.default_rng(0))
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_steps_and_licence_are_told(tmp_path):
    path = tmp_path / "model.safetensors"
    stored(
        path,
        training={"steps": 30},
        started_from={"steps": 12, "data_licence": ""},
        data_licence="CC0",
    )
    _, told = starting_weights(path, facts())
    assert told["steps"] == 42 and told["data_licence"] == "CC0" and len(told["file"]) == 64


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "generator"),
        ("method", "unet"),
        ("generator.width", 8),
        ("generator.norm", None),
        ("masks.boundary_width", 4.0),
    ],
)
def test_another_network_is_refused(key, value, tmp_path):
    section, _, name = key.partition(".")
    known = facts()[section]
    stored(tmp_path / "model.safetensors", **{section: {**known, name: value} if name else value})
    with pytest.raises(NucleiganError, match=rf"start_from: .* trained with {key} {value},"):
        starting_weights(tmp_path / "model.safetensors", facts())
