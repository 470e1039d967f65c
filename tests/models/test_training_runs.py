"""Whole training runs: repeatable, resumable after a kill, with readable results."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from nucleigan.artifacts import write_image, write_json, write_stack
from nucleigan.config import CycleGANSettings
from nucleigan.models import cyclegan
from nucleigan.models.guards import doubts
from nucleigan.models.weights import read_weights

SCRIPT = """
import sys
from pathlib import Path
from nucleigan.config import *
from nucleigan.models import cyclegan
from nucleigan.models.train import train_segmenter
kind, data, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
compute = ComputeSettings(device="cpu", threads=2)
small = dict(epochs=6, decay_from=3, steps_per_epoch=20, batch_size=2, crop=32, pool_size=4,
             sample_every=2, checkpoint_seconds=0.05,
             discriminator=DiscriminatorSettings(width=4, layers=2))
if kind == "cyclegan":
    settings = CycleGANSettings(generator=GeneratorSettings(width=4, depth=1), mask_noise=0.3,
                                latent_channels=4, slope_penalty=0.5, lambda_spectrum=0.5,
                                lambda_nuclei=0.5, choose_epoch=True, **small)
    cyclegan.train([data / "images.tif"], [data / "labels.tif"], [data / "labels.tif"],
                   out / "model.safetensors", out / "history.csv", out / "samples.png",
                   out / "checkpoint", settings, MaskSettings(), compute, 3)
else:
    settings = SegmentationSettings(
        generator=GeneratorSettings(kind="pix2pix_unet", width=4, depth=4, dropout=0.5,
                                    norm="batch"), synthetic_share=0.5, boundary_weight=1.0,
        centres=3.0, validate_every=1, choose_epoch=True, **small)
    pair = ([data / "images.tif"], [data / "labels.tif"])
    train_segmenter(kind, "both", pair, pair, data / "patches.csv", [], out / "model.safetensors",
                    out / "history.csv", out / "samples.png", out / "checkpoint", settings,
                    MaskSettings(), StainSettings(), compute, 3, 0.25, data / "reference.json",
                    None, ([data / "slide.tif"], [data / "truth.tif"]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    labels = np.zeros((6, 48, 48), np.int32)
    for patch in labels:
        for number in range(1, 6):
            y, x = rng.integers(4, 40, 2)
            patch[y : y + 7, x : x + 7] = number
        # One that holds windows to look into.
        patch[10:38, 10:38] = 6
    images = np.where(labels[..., None] > 0, 90, 220) + rng.integers(-20, 20, (6, 48, 48, 3))
    write_stack(folder / "images.tif", images.shape, np.uint8, images.astype(np.uint8))
    write_stack(folder / "labels.tif", labels.shape, np.int32, labels)
    write_json(folder / "reference.json", {})
    write_image(folder / "slide.tif", images[5].astype(np.uint8))
    write_image(folder / "truth.tif", labels[5])
    rows = "".join(f"slide{n // 2},organ{n // 4}\n" for n in range(6))
    (folder / "patches.csv").write_text("slide,organ\n" + rows)
    return folder


def start(kind, data, out):
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-c", SCRIPT, kind, str(data), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def written(checkpoints):
    """When each checkpoint was written. The run renames and removes them meanwhile."""
    times = {}
    for path in checkpoints.glob("*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            times[path] = path.stat().st_mtime_ns
    return times


@pytest.mark.parametrize("kind", ["cyclegan", "cgan"])
def test_killed_runs_end_in_the_same_weights(kind, data, tmp_path):
    whole = start(kind, data, tmp_path / "whole")
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output

    out, kills, resumed = tmp_path / "killed", 0, 0
    checkpoints = out / "checkpoint"
    chance = random.Random(kind)
    # Once at any moment of the start, then at random ones after a checkpoint.
    run = start(kind, data, out)
    time.sleep(chance.uniform(0, 3))
    run.kill()
    run.communicate()
    for _ in range(12):
        run = start(kind, data, out)
        seen = written(checkpoints)
        while run.poll() is None and kills < 4:
            if written(checkpoints) != seen:
                time.sleep(chance.uniform(0, 0.2))
                os.kill(run.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        output, _ = run.communicate(timeout=300)
        resumed += "resumed after step" in output
        if run.returncode == 0:
            break
    assert run.returncode == 0, output
    assert kills >= 3 and resumed >= 3
    expected = load_file(tmp_path / "whole" / "model.safetensors")
    found = load_file(out / "model.safetensors")
    assert expected.keys() == found.keys()
    assert all((expected[name] == found[name]).all() for name in expected)
    timings = ["seconds", "waiting_seconds"]
    history = [
        pd.read_csv(folder / "history.csv").drop(columns=timings)
        for folder in (tmp_path / "whole", out)
    ]
    pd.testing.assert_frame_equal(*history)
    assert len(history[0]) == 6 and (history[0]["rate"] > 0).all()
    if kind == "cgan":
        looks = history[0]["validation_aji"]
        best = read_weights(out / "model.safetensors")[1]["training"]["chosen"]
        assert looks.notna().all() and best["epoch"] == looks.argmax() + 1
        assert best["aji"] == pytest.approx(looks.max(), abs=1e-5)
    else:
        snapshots = sorted(path.name for path in (out / "snapshots").iterdir())
        assert snapshots == ["00002.png", "00004.png", "00006.png"]
        columns = ["spread", "hidden", "contrast", "bright", "woven"]
        assert (history[0][columns].notna().all(axis=1) == [False, True] * 3).all()
        looks = history[0]["kernel_distance"]
        assert looks.notna().tolist() == [False, False, False, True, False, True]
        chosen = read_weights(out / "model.safetensors")[1]["training"]["chosen"]
        assert chosen["epoch"] == looks.argmin() + 1
        assert chosen["kernel_distance"] == pytest.approx(looks.min(), rel=1e-5)
        kept = history[0].loc[looks.argmin(), columns]
        told = read_weights(out / "model.safetensors")[1]["training"]["doubts"]
        # Seen by its own numbers, of which the table holds six digits.
        assert told == doubts(kept.to_dict())
    assert (out / "samples.png").exists() and not list(checkpoints.glob("*.safetensors"))


def test_a_sheet_shows_no_pictures_of_another_training(tmp_path):
    settings = CycleGANSettings(crop=16, sample_every=1)
    for epoch, (of, width) in enumerate([("ours", 32), ("theirs", 50), ("ours", 32)], 1):
        picture = Image.new("RGB", (width, 16), (epoch, 0, 0))
        picture.save(tmp_path / f"{epoch:05d}.png", pnginfo=cyclegan._written(of))
    # The fourth is gone.
    found = cyclegan._snapshots(tmp_path, 4, settings, "ours")
    assert [(picture.shape, picture[0, 0, 0]) for picture in found] == [
        ((16, 16, 3), epoch) for epoch in (1, 1, 3, 3)
    ]
