"""A model file taken as it is: its copy, and the stains that it expects."""

import pytest

from nucleigan.artifacts import read_json
from nucleigan.config import ComputeSettings, GeneratorSettings, MaskSettings
from nucleigan.errors import NucleiganError
from nucleigan.models.weights import write_weights
from nucleigan.networks import build_generator
from nucleigan.segmentation import take_model
from nucleigan.stain import StainProfile
from nucleigan.stain.vectors import TEXTBOOK

GENERATOR = GeneratorSettings(kind="unet", width=4, depth=2, norm="none")
COMPUTE = ComputeSettings(device="cpu", threads=1)
REFERENCE = {"matrix": [[0.6, 0.7, 0.4], [0.1, 0.9, 0.3]], "percentiles": [2.0, 1.0]}


def taken(tmp_path, reference):
    """The copy's bytes, those of the file, and the reference that was written."""
    facts = {
        "kind": "segmenter",
        "method": "cgan",
        "generator": GENERATOR.model_dump(),
        "masks": MaskSettings(encoding="interior_boundary").model_dump(),
        "mpp": 0.25,
        "stain": {},
        "stain_reference": reference,
    }
    given, copy, written = (tmp_path / name for name in ("given.safetensors", "copy", "r.json"))
    write_weights(given, build_generator(GENERATOR, 3, 2, seed=3).state_dict(), facts)
    take_model(given, copy, written, COMPUTE)
    return copy.read_bytes(), given.read_bytes(), read_json(written)


def test_the_reference_is_the_models(tmp_path):
    copy, given, written = taken(tmp_path, {**REFERENCE, "slide": "a", "rule": "closest"})
    assert copy == given
    assert (written["slide"], written["rule"]) == ("a", "closest")
    profile = StainProfile.from_dict(written)
    assert profile.matrix.tolist() == REFERENCE["matrix"]
    assert profile.percentiles.tolist() == REFERENCE["percentiles"]


def test_a_reference_without_a_name(tmp_path):
    assert taken(tmp_path, REFERENCE)[2]["slide"] == "unknown"


def test_a_model_without_reference(tmp_path):
    written = taken(tmp_path, None)[2]
    assert written["slide"] == "none"
    assert StainProfile.from_dict(written).matrix.tolist() == TEXTBOOK.tolist()


def test_a_damaged_file_leaves_nothing(tmp_path):
    given = tmp_path / "given.safetensors"
    given.write_bytes(b"\x00" * 99)
    with pytest.raises(NucleiganError, match="cannot be used as a model file"):
        take_model(given, tmp_path / "copy", tmp_path / "r.json", COMPUTE)
    assert [path.name for path in tmp_path.iterdir()] == ["given.safetensors"]
