"""The precision that ``auto`` takes."""

import pytest
import torch

from nucleigan.config import ComputeSettings
from nucleigan.training import compute
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


def test_a_product_takes_its_processor_time():
    seconds = compute._product_seconds(torch.float32)
    # Two operations for each of 1024³ steps, at .1 to 10,000 GFLOP a second.
    assert 2 * 1024**3 / 1e13 < seconds < 2 * 1024**3 / 1e8


def test_gpus_that_pytorch_cannot_use_are_told_of(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for names, warned in (([], False), (["0"], True)):
        monkeypatch.setattr(compute, "allowed", lambda device, names=names: names)
        assert compute.prepare(ComputeSettings(threads=1)).device.type == "cpu"
        assert ("warning: this machine has GPUs" in capsys.readouterr().out) == warned
