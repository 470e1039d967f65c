"""What a step of the CycleGAN is given."""

import numpy as np
import pytest
import torch

from nucleigan.artifacts import write_stack
from nucleigan.config import (
    ComputeSettings,
    CycleGANSettings,
    DiscriminatorSettings,
    GeneratorSettings,
    MaskSettings,
)
from nucleigan.errors import NucleiganError
from nucleigan.models import cyclegan
from nucleigan.training import processes

SMALL = {
    "crop": 32,
    "generator": GeneratorSettings(width=4, depth=1),
    "discriminator": DiscriminatorSettings(width=4, layers=1),
    "latent_channels": 3,
    "batch_size": 4,
}


@pytest.fixture
def stacks(tmp_path):
    """Annotated patches whose red tells where their nuclei are, bare ones, and polygon maps."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (5, 48, 48)).astype(np.int32)
    images = np.repeat((labels * 200)[..., None], 3, axis=-1).astype(np.uint8)
    bare = np.full((7, 48, 48, 3), 77, np.uint8)
    drawn = np.kron(rng.integers(0, 3, (6, 6, 6)), np.ones((1, 8, 8))).astype(np.int32)
    named = {"images": images, "labels": labels, "bare": bare, "drawn": drawn, "few": labels[:3]}
    for name, stack in named.items():
        write_stack(tmp_path / f"{name}.tif", stack.shape, stack.dtype, stack)
    return tmp_path


def batches(monkeypatch, folder, labels, **changes):
    """What the first steps of a training would be given."""
    made = []

    def run(model, make_batch, *_):
        made.extend(make_batch(step)[0] for step in range(6))
        raise KeyboardInterrupt

    monkeypatch.setattr(cyclegan.loop, "run", run)
    with pytest.raises(KeyboardInterrupt):
        cyclegan.train(
            [folder / "images.tif", folder / "bare.tif"],
            [folder / f"{name}.tif" for name in labels],
            [folder / "drawn.tif"],
            *(folder / name for name in ("weights", "history.csv", "samples.png", "checkpoint")),
            CycleGANSettings(**SMALL, **changes),
            MaskSettings(encoding="outline"),
            ComputeSettings(device="cpu", threads=1),
            0,
        )
    return made


def test_looks_are_of_annotated_patches_alone_and_of_pairs_of_masks(monkeypatch, stacks):
    seen = set()
    for batch in batches(monkeypatch, stacks, ["labels"], lambda_nuclei=1.0):
        assert batch.looks.images.shape == (4, 3, 32, 32)
        # The label map was moved as its image was.
        red = batch.looks.images[:, 0]
        assert ((red > 0) == batch.looks.nuclei).all() and 0.3 < (red > 0).mean() < 0.7
        for first in (0, 2):
            assert (batch.masks[first] == batch.masks[first + 1]).all()
            assert (batch.looks.painted[first] == batch.looks.painted[first + 1]).all()
            # Nuclei, also where the mask holds outlines alone.
            assert 0.4 < batch.looks.painted[first].mean() < 0.9
        seen.add(batch.masks[0].tobytes())
        seen.add(batch.masks[2].tobytes())
    assert len(seen) == 12


def test_without_them_all_masks_differ(monkeypatch, stacks):
    for batch in batches(monkeypatch, stacks, []):
        assert batch.looks is None
        assert len({mask.tobytes() for mask in batch.masks}) == 4


def test_two_processes_make_the_batch_of_one(monkeypatch, stacks):
    whole = batches(monkeypatch, stacks, ["labels"], lambda_nuclei=1.0)
    monkeypatch.setattr(processes, "count", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        parts.append(batches(monkeypatch, stacks, ["labels"], lambda_nuclei=1.0))
    for one, first, second in zip(whole, *parts, strict=True):
        assert (one.masks == np.concatenate([first.masks, second.masks])).all()
        assert one.latent.shape == (2, 4, 3, 32, 32) and len(one.latent.unique()) > 30_000 / 4
        assert torch.equal(one.latent, torch.cat([first.latent, second.latent], dim=1))
        for name in ("painted", "images", "nuclei"):
            both = [getattr(part.looks, name) for part in (first, second)]
            assert (getattr(one.looks, name) == np.concatenate(both)).all()


def test_label_maps_of_other_patches_are_refused(monkeypatch, stacks):
    with pytest.raises(NucleiganError, match=r"hold 5 images but .* 3 label maps"):
        batches(monkeypatch, stacks, ["few"], lambda_nuclei=1.0)
