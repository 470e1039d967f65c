"""Model files whose facts do not go with their weights, or with the image."""

import numpy as np
import pytest
import torch

from nucleigan.cli import main
from nucleigan.config import ComputeSettings
from nucleigan.errors import NucleiganError
from nucleigan.segmentation import Segmenter

COMPUTE = ComputeSettings(device="cpu", precision="float32", threads=1)


def test_weights_of_another_encoding(model, tmp_path, capsys):
    path = model(channels=1)
    with pytest.raises(NucleiganError, match=r"model\.safetensors: its weights do not fit"):
        Segmenter.load(path, COMPUTE)
    status = main(["segment", str(path), "image.png", "--output", str(tmp_path), "--device", "cpu"])
    said = capsys.readouterr().err
    assert status == 1
    assert said.startswith("error: ") and len(said.splitlines()) == 1
    assert "expected (2," in said


def test_a_full_gpu_is_no_fault_of_the_model(model, monkeypatch):
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    def fill(*_, **__):
        raise full

    monkeypatch.setattr(torch.nn.Module, "to", fill)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        Segmenter.load(model(), COMPUTE)
    assert raised.value is full


@pytest.mark.parametrize("encoding", ["unheard_of", "", None, 3])
def test_an_encoding_that_does_not_exist(model, encoding):
    with pytest.raises(NucleiganError, match=r"model\.safetensors: "):
        Segmenter.load(model(masks={"encoding": encoding}), COMPUTE)


@pytest.mark.parametrize("mpp", [25, 0, -0.25, float("nan"), "0.25 µm"])
def test_a_magnification_that_no_microscope_has(model, mpp):
    with pytest.raises(NucleiganError, match=r"model\.safetensors: "):
        Segmenter.load(model(mpp=mpp), COMPUTE)


def test_another_magnification_keeps_the_size_of_the_image(model):
    segmenter = Segmenter.load(model(mpp=0.5), COMPUTE)
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    seen = []
    segmenter.predict = lambda pixels: (
        seen.append(pixels.shape) or np.full((2, *pixels.shape[:2]), -1, np.float32)
    )
    assert segmenter.segment(image, mpp=0.25).shape == (90, 70)
    assert seen == [(45, 35, 3)]
