"""A model file taken as it is: its copy, and the stains that it expects."""

import pytest
import torch

from nucleigan.artifacts import read_json
from nucleigan.config import ComputeSettings
from nucleigan.errors import NucleiganError
from nucleigan.models.weights import read_weights
from nucleigan.segmentation import Segmenter, take_model, take_reference
from nucleigan.stain import StainProfile
from nucleigan.stain.vectors import TEXTBOOK

COMPUTE = ComputeSettings(device="cpu", threads=1)
REFERENCE = {"matrix": [[0.6, 0.7, 0.4], [0.1, 0.9, 0.3]], "percentiles": [2.0, 1.0]}


@pytest.fixture
def taken(model, tmp_path):
    """Takes a model with that reference; returns file, copy, and the reference that was written."""

    def take(reference):
        given, copy, written = model(stain_reference=reference), tmp_path / "copy", tmp_path / "r"
        take_model(given, copy, written, COMPUTE)
        take_reference(given, tmp_path / "alone", COMPUTE)
        assert (tmp_path / "alone").read_bytes() == written.read_bytes()
        return given, copy, read_json(written)

    return take


def test_the_reference_is_the_models(taken):
    given, copy, written = taken({**REFERENCE, "slide": "a", "rule": "closest"})
    assert copy.read_bytes() == given.read_bytes()
    assert (written["slide"], written["rule"]) == ("a", "closest")
    profile = StainProfile.from_dict(written)
    assert profile.matrix.tolist() == REFERENCE["matrix"]
    assert profile.percentiles.tolist() == REFERENCE["percentiles"]


def test_nuclei_may_be_moved_otherwise_than_the_model_says(model, tmp_path):
    given, copy = model(prediction={"shift": (-0.5, -0.5), "views": 4}), tmp_path / "copy"
    take_model(given, copy, tmp_path / "r", COMPUTE, shift=(-0.5, -0.5))
    assert copy.read_bytes() == given.read_bytes()
    take_model(given, copy, tmp_path / "r", COMPUTE, shift=(0.0, 0.0))
    tensors, facts = read_weights(copy)
    theirs, before = read_weights(given)
    assert facts == before | {"prediction": before["prediction"] | {"shift": [0.0, 0.0]}}
    assert tensors.keys() == theirs.keys()
    assert all(torch.equal(tensors[name], theirs[name]) for name in theirs)
    assert Segmenter.load(copy, COMPUTE).shift == (0.0, 0.0)


def test_a_reference_without_a_name(taken):
    assert taken(REFERENCE)[2]["slide"] == "unknown"


def test_a_model_without_reference(taken):
    written = taken(None)[2]
    assert written["slide"] == "none"
    assert StainProfile.from_dict(written).matrix.tolist() == TEXTBOOK.tolist()


def test_a_damaged_file_leaves_nothing(tmp_path):
    given = tmp_path / "given.safetensors"
    given.write_bytes(b"\x00" * 99)
    with pytest.raises(NucleiganError, match="cannot be used as a model file"):
        take_model(given, tmp_path / "copy", tmp_path / "r.json", COMPUTE)
    assert [path.name for path in tmp_path.iterdir()] == ["given.safetensors"]
