"""Small model files for the tests of segmenters."""

import pytest

from nucleigan.config import GeneratorSettings, MaskSettings
from nucleigan.models.weights import write_weights
from nucleigan.networks import build_generator

GENERATOR = GeneratorSettings(kind="unet", width=4, depth=2, norm="none")


@pytest.fixture
def model(tmp_path):
    """Writes a segmenter of random weights whose facts may differ; returns its path."""

    def write(channels=2, **changed):
        facts = {
            "kind": "segmenter",
            "method": "cgan",
            "generator": GENERATOR.model_dump(),
            "masks": MaskSettings(encoding="interior_boundary").model_dump(),
            "mpp": 0.25,
            "stain": {},
            "stain_reference": None,
        }
        network = build_generator(GENERATOR, 3, channels, seed=3)
        write_weights(tmp_path / "model.safetensors", network.state_dict(), facts | changed)
        return tmp_path / "model.safetensors"

    return write
