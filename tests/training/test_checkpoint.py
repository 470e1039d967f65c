"""Checkpoints: complete, checked, never of other settings."""

import pytest
import torch

from nucleigan.training import checkpoint


@pytest.fixture
def state():
    network = torch.nn.Conv2d(3, 4, 3)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    optimiser.step()
    return {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": 7,
        "history": [{"epoch": 1, "loss": 0.25}],
        "none": None,
    }


def test_everything_comes_back(tmp_path, state):
    checkpoint.save(tmp_path, state, "a")
    back = checkpoint.load(tmp_path, "a")
    assert back["step"] == 7 and back["history"] == state["history"] and back["none"] is None
    assert torch.equal(back["network"]["weight"], state["network"]["weight"])
    fresh = torch.optim.Adam(torch.nn.Conv2d(3, 4, 3).parameters())
    fresh.load_state_dict(back["optimiser"])
    moments = state["optimiser"]["state"][0]["exp_avg"]
    assert torch.equal(fresh.state_dict()["state"][0]["exp_avg"], moments)


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damaged_file_falls_back_to_the_one_before(tmp_path, state, damage, capsys):
    checkpoint.save(tmp_path, state, "a")
    checkpoint.save(tmp_path, state | {"step": 8}, "a")
    path = tmp_path / checkpoint.CURRENT
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        data = data[: len(data) // 2]
    else:
        data[-5] ^= 0x10
    path.write_bytes(data)
    assert checkpoint.load(tmp_path, "a")["step"] == 7
    assert "damaged" in capsys.readouterr().out


def test_other_settings_are_set_aside(tmp_path, state, capsys):
    checkpoint.save(tmp_path, state, "a")
    assert checkpoint.load(tmp_path, "b") is None
    assert "set aside" in capsys.readouterr().out
    assert len(list(tmp_path.glob("set-aside-*"))) == 1


def test_clear_leaves_nothing(tmp_path, state):
    checkpoint.save(tmp_path, state, "a")
    checkpoint.save(tmp_path, state, "a")
    checkpoint.clear(tmp_path)
    assert checkpoint.load(tmp_path, "a") is None
