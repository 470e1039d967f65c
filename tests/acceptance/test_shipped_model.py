"""The model that comes with the package, from raw image to nuclei, on tiles it has never seen."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from nucleigan.metrics import aggregated_jaccard
from nucleigan.segmentation import Segmenter
from nucleigan.slides import read_image, read_labels

MODEL = Path(__file__).parents[2] / "models" / "kumar-cpu.safetensors"
LEAST_AJI = 0.58


def test_it_is_small_and_says_what_it_is():
    assert MODEL.stat().st_size <= 20_000_000
    facts = Segmenter.load(MODEL).facts
    assert facts["mpp"] == 0.25 and facts["data_licence"] == "CC BY-NC-SA 4.0"
    assert facts["generator"]["kind"] == "unet" and facts["stain_reference"] is not None
    assert facts["training"]["steps"] == 2400 and facts["started_from"]["steps"] == 5000


@pytest.mark.parametrize("shape", [(1, 1), (40, 700), (256, 256)])
def test_it_takes_images_of_any_size(shape):
    image = np.full((*shape, 3), 235, np.uint8)
    assert Segmenter.load(MODEL).segment(image).shape == shape


def test_it_finds_the_nuclei_of_the_test_tiles(real_data):
    with (real_data / "kumar" / "slides.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    segmenter = Segmenter.load(MODEL)
    found = defaultdict(list)
    for row in rows:
        image = read_image(real_data / "kumar" / row["image"])
        truth = read_labels(real_data / "kumar" / row["labels"], image.shape[:2])
        labels = segmenter.segment(image, mpp=float(row["mpp"]))
        found[row["organ"]].append(aggregated_jaccard(truth, labels))
    assert len(found) == 7
    overall = np.mean([np.mean(values) for values in found.values()])
    assert overall >= LEAST_AJI, dict(found)
