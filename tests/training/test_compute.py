"""The precision that ``auto`` takes."""

import os

import pytest
import torch

from nucleigan.config import ComputeSettings
from nucleigan.training import checkpoint, compute
from nucleigan.training.compute import prepare


@pytest.fixture
def machine(monkeypatch):
    """A CPU with bfloat16 instructions and given milliseconds a product."""

    def become(bfloat16, float32, instructions=True):
        taken = {torch.bfloat16: bfloat16, torch.float32: float32}
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(compute, "_product_seconds", taken.__getitem__)
        compute._multiplies_bfloat16.cache_clear()

    yield become
    compute._multiplies_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("bfloat16", "float32", "instructions", "precision"),
    [
        (5.4, 10.8, True, "bfloat16"),
        # Instructions that take two cycles where those of float32 take one.
        (24.8, 10.8, True, "float32"),
        # Emulated products are not tried.
        (5.4, 10.8, False, "float32"),
    ],
)
def test_auto_takes_the_faster_precision(machine, bfloat16, float32, instructions, precision):
    machine(bfloat16, float32, instructions)
    assert prepare(ComputeSettings(device="cpu")).precision == precision


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_chosen_precision_is_taken_on_any_machine(machine, precision):
    machine(1.0, 1.0, instructions=False)
    chosen = prepare(ComputeSettings(device="cpu", precision=precision))
    assert chosen.precision == precision


@pytest.mark.parametrize(
    ("begun", "instructions", "wanted", "other_seed", "precision"),
    [
        # Both were equally fast, or the training began on another machine.
        ("float32", True, "auto", False, "float32"),
        ("bfloat16", True, "auto", False, "bfloat16"),
        # Emulated it would take ten times as long.
        ("bfloat16", False, "auto", False, "float32"),
        # Named by the user, who wants to begin anew.
        ("bfloat16", True, "float32", False, "float32"),
        # It starts anew in any case.
        ("float32", True, "auto", True, "bfloat16"),
    ],
)
def test_an_unfinished_training_goes_on_in_its_precision(
    machine, tmp_path, begun, instructions, wanted, other_seed, precision
):
    # This moment would choose the other one.
    machine(*((5.4, 10.8) if begun == "float32" else (24.8, 10.8)), instructions)
    identity = {"seed": 1, "slides": ("a", "b"), "precision": begun}
    checkpoint.save(tmp_path, {"step": 1}, checkpoint.as_text(identity))
    settings = ComputeSettings(device="cpu", precision=wanted)
    chosen = prepare(settings)
    identity |= {"seed": 2 if other_seed else 1, "precision": chosen.precision}
    assert compute.go_on(chosen, settings, tmp_path, identity).precision == precision


def test_without_a_readable_checkpoint_the_machine_decides(machine, tmp_path):
    machine(5.4, 10.8)
    settings = ComputeSettings(device="cpu")
    identity = {"precision": "float32"}
    assert compute.go_on(prepare(settings), settings, tmp_path, identity).precision == "bfloat16"
    checkpoint.save(tmp_path, {"step": 1}, checkpoint.as_text(identity))
    os.truncate(tmp_path / checkpoint.CURRENT, 20)
    assert compute.go_on(prepare(settings), settings, tmp_path, identity).precision == "bfloat16"


def test_a_product_takes_its_processor_time():
    seconds = compute._product_seconds(torch.float32)
    # Two operations for each of 1024³ steps, at .1 to 10,000 GFLOP a second.
    assert 2 * 1024**3 / 1e13 < seconds < 2 * 1024**3 / 1e8


def test_gpus_that_pytorch_cannot_use_are_told_of(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90a", "sm_120"])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    # None; one with an old driver; one that is too old for the kernels; others.
    for names, available, capability, warned in (
        ([], False, None, False),
        (["0"], False, None, True),
        (["0"], True, (7, 0), True),
        (["0"], True, (7, 5), False),
        (["0"], True, (12, 1), False),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", lambda capability=capability: capability
        )
        monkeypatch.setattr(compute, "allowed", lambda device, names=names: names)
        kind = "cuda" if available and not warned else "cpu"
        assert compute.prepare(ComputeSettings(threads=1)).device.type == kind
        assert compute.on_gpu("auto") == (kind == "cuda")
        assert ("warning: this machine has GPUs" in capsys.readouterr().out) == warned
