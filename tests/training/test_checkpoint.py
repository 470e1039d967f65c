"""Checkpoints: complete, checked, never of other settings."""

import errno
import json
import os
import struct
import subprocess
import sys

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


def test_a_file_cut_short_falls_back_to_the_one_before(tmp_path, state, capsys):
    checkpoint.save(tmp_path, state, "a")
    checkpoint.save(tmp_path, state | {"step": 8}, "a")
    path = tmp_path / checkpoint.CURRENT
    sound = path.read_bytes()
    for part in (0, 0.01, 0.5, 0.99):
        path.write_bytes(sound[: int(len(sound) * part)])
        assert checkpoint.load(tmp_path, "a")["step"] == 7
        assert "damaged" in capsys.readouterr().out


def test_a_damaged_file_never_takes_the_place_of_the_one_before(tmp_path, state):
    checkpoint.save(tmp_path, state, "a")
    checkpoint.save(tmp_path, state | {"step": 8}, "a")
    for step in (9, 10):
        os.truncate(tmp_path / checkpoint.CURRENT, 100)
        assert checkpoint.load(tmp_path, "a")["step"] == 7
        checkpoint.save(tmp_path, state | {"step": step}, "a")
    assert checkpoint.load(tmp_path, "a")["step"] == 10
    checkpoint.clear(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_flipped_bit_anywhere_falls_back_to_the_one_before(tmp_path, state, capsys):
    """The tree of plain values and the identity are in the header, the tensors after it."""
    checkpoint.save(tmp_path, state, "settings")
    checkpoint.save(tmp_path, state | {"step": 8}, "settings")
    path = tmp_path / checkpoint.CURRENT
    sound = path.read_bytes()
    header = 8 + struct.unpack("<Q", sound[:8])[0]
    # White space alone stands at the header's end.
    places = [*range(len(sound[:header].rstrip())), *range(header, len(sound), 61)]
    for place in places:
        content = bytearray(sound)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        assert checkpoint.load(tmp_path, "settings")["step"] == 7, place
        assert "damaged" in capsys.readouterr().out
    names = {checkpoint.PREVIOUS, f"{checkpoint.DAMAGED}-{checkpoint.CURRENT}"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_brackets_within_brackets_are_damage(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint.json, "dumps", lambda *_, **__: "[" * 100_000)
    checkpoint.save(tmp_path, {}, "a")
    assert checkpoint.load(tmp_path, "a") is None
    assert "damaged (maximum recursion depth" in capsys.readouterr().out


def test_a_full_disk_is_an_error_of_the_system(tmp_path, state):
    """One that jobs say in a sentence."""
    script = """
import resource, signal, sys, torch
from nucleigan.training import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    checkpoint.save(sys.argv[1], {"weights": torch.zeros(1 << 16)}, "a")
except OSError as error:
    sys.exit(error.strerror)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "checkpoints")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.strip() == os.strerror(errno.EFBIG)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_other_settings_are_set_aside(tmp_path, state, capsys):
    checkpoint.save(tmp_path, state, "a")
    assert checkpoint.load(tmp_path, "b") is None
    assert "set aside" in capsys.readouterr().out
    assert len(list(tmp_path.glob("set-aside-*"))) == 1


def test_what_differs_is_named(tmp_path, state, capsys):
    """A run with other threads must not lose hours without a word of what to change back."""
    before = {"threads": 1, "seed": 3, "settings": {"optimiser": {"learning_rate": 0.001}}}
    now = {"threads": 2, "seed": 3, "settings": {"optimiser": {"learning_rate": 0.002}}}
    checkpoint.save(tmp_path, state, json.dumps(before | {"code": ["a" * 64]}))
    assert checkpoint.load(tmp_path, json.dumps(now | {"code": ["b" * 64]})) is None
    assert (
        "(other code; settings.optimiser.learning_rate: 0.001, now 0.002; threads: 1, now 2)"
        in capsys.readouterr().out
    )


def test_a_machine_that_opens_no_more_files_damages_no_checkpoint(tmp_path, state, monkeypatch):
    checkpoint.save(tmp_path, state, "a")

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.open", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            checkpoint.load(tmp_path, "a")
    assert checkpoint.load(tmp_path, "a") is not None


def test_settings_that_are_changed_back_go_on(tmp_path, state):
    for identity, steps in (("a", (1, 2)), ("b", (5, 6))):
        assert checkpoint.load(tmp_path, identity) is None
        for step in steps:
            checkpoint.save(tmp_path, state | {"step": step}, identity)
    assert checkpoint.load(tmp_path, "a")["step"] == 2
    # What was in its place is set aside in turn, and every process reads the same file.
    assert checkpoint.load(tmp_path, "a")["step"] == 2
    assert checkpoint.load(tmp_path, "b")["step"] == 6


def test_neither_of_two_that_are_set_aside_takes_the_others_place(tmp_path, state):
    checkpoint.save(tmp_path, state | {"step": 1}, "a")
    checkpoint.save(tmp_path, state | {"step": 2}, "a")
    assert checkpoint.load(tmp_path, "b") is None
    kept = sorted(tmp_path.glob("set-aside-*"))
    assert [path.name.split("-")[-1] for path in kept] == [
        "checkpoint.safetensors",
        "previous.safetensors",
    ]
    for path, name in zip(kept, (checkpoint.CURRENT, checkpoint.PREVIOUS), strict=True):
        path.rename(tmp_path / name)
    assert checkpoint.load(tmp_path, "a")["step"] == 2


def test_clear_leaves_nothing(tmp_path, state):
    checkpoint.save(tmp_path, state, "a")
    checkpoint.save(tmp_path, state, "a")
    checkpoint.clear(tmp_path)
    assert checkpoint.load(tmp_path, "a") is None
