"""What of the machine a training's checkpoints belong to."""

import pytest
import torch

from nucleigan.config import ComputeSettings
from nucleigan.training import checkpoint
from nucleigan.training.identity import begin

TRAINING = {"seed": 1, "slides": ("a", "b")}


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _settings(**given) -> ComputeSettings:
    return ComputeSettings(**{"device": "cpu", "threads": 1, "precision": "float32", **given})


def test_what_the_last_bits_depend_on_is_part_of_it(tmp_path):
    _, identity = begin(_settings(), tmp_path, TRAINING)
    for other in ({"threads": 2}, {"precision": "bfloat16"}):
        _, changed = begin(_settings(**other), tmp_path, TRAINING)
        assert {key for key in identity if identity[key] != changed[key]} == set(other)
    _, changed = begin(_settings(), tmp_path, {**TRAINING, "seed": 2})
    assert {key for key in identity if identity[key] != changed[key]} == {"seed"}


def test_what_is_left_of_a_training_goes_on_in_its_precision(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nucleigan.training.compute._multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr("nucleigan.training.compute._knows_bfloat16", lambda device: True)
    settings = _settings(precision="auto")
    compute, identity = begin(settings, tmp_path, TRAINING)
    assert compute.precision == identity["precision"] == "bfloat16"
    begun = {**identity, "precision": "float32"}
    checkpoint.save(tmp_path, {"step": 3}, checkpoint.as_text(begun))
    capsys.readouterr()
    compute, identity = begin(settings, tmp_path, TRAINING)
    assert compute.precision == identity["precision"] == "float32"
    assert "precision=float32 threads=1" in capsys.readouterr().out
    assert checkpoint.load(tmp_path, checkpoint.as_text(identity)) == {"step": 3}
