"""Calibration of mask probabilities."""

import numpy as np
import pandas as pd
import pytest

from nucleigan import masks
from nucleigan.artifacts import write_image
from nucleigan.config import ComputeSettings, MaskSettings
from nucleigan.figures.curves import calibration, calibration_error
from nucleigan.models.methods import load_method
from nucleigan.segmentation import Segmenter
from nucleigan.segmentation.calibration import (
    BINS,
    SIDE,
    _encoded,
    calibrate,
    middle,
    reliability,
)


def test_groups_of_known_pixels():
    predicted = np.array([0.0, 0.01, 0.52, 0.53, 0.54, 1.0])
    observed = np.array([0, 1, 1, 1, 0, 1], bool)
    table = reliability(predicted, observed)
    assert len(table) == BINS
    assert table["pixels"].sum() == 6
    first, middle_one, last = table.iloc[0], table.iloc[10], table.iloc[-1]
    assert (first["pixels"], first["observed"]) == (2, 0.5)
    assert first["predicted"] == pytest.approx(0.005)
    assert (middle_one["low"], middle_one["high"], middle_one["pixels"]) == (0.5, 0.55, 3)
    assert middle_one["observed"] == pytest.approx(2 / 3)
    assert (last["pixels"], last["predicted"], last["observed"]) == (1, 1, 1)
    assert np.isnan(table["predicted"].iloc[5]) and table["pixels"].iloc[5] == 0
    gaps = 2 * (0.5 - 0.005) + 3 * (2 / 3 - 0.53)
    assert calibration_error(table) == pytest.approx(gaps / 6)


def test_honest_probabilities_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(size=200_000)
    table = reliability(predicted, rng.uniform(size=predicted.size) < predicted)
    # 10,000 pixels a group: a standard error of at most 0.005.
    np.testing.assert_allclose(table["observed"], table["predicted"], atol=0.02)
    assert calibration_error(table) < 0.01
    assert calibration_error(reliability(predicted, np.ones(predicted.size, bool))) > 0.4


def test_without_pixels(tmp_path):
    table = reliability(np.zeros(0), np.zeros(0, bool))
    assert np.isnan(calibration_error(table))
    calibration({"a": table, "b": pd.DataFrame(table)}, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


@pytest.mark.parametrize("encoding", ["filled", "outline", "interior_boundary"])
def test_a_part_is_encoded_as_it_is_in_the_whole(encoding):
    y, x = np.mgrid[:700, :500]
    labels = ((y // 30) * 20 + x // 25 + 1) * ((y % 30 < 27) & (x % 25 < 24))
    settings = MaskSettings(encoding=encoding)
    place = middle(labels.shape)
    whole = masks.encode(labels, settings)[0]
    np.testing.assert_array_equal(_encoded(labels, place, settings), whole[place])
    small = labels[:100, :90]
    found = _encoded(small, middle(small.shape), settings)
    np.testing.assert_array_equal(found, masks.encode(small, settings)[0])


def test_the_middle_of_large_and_small_slides():
    assert np.zeros((1000, SIDE))[middle((1000, SIDE))].shape == (SIDE, SIDE)
    assert middle((1000, SIDE))[0].start == 308
    assert np.zeros((100, 3000))[middle((100, 3000))].shape == (100, SIDE)


def test_masks_of_slides_are_read_as_probabilities(tmp_path, monkeypatch):
    """A network that says .75 everywhere, and three of four pixels that are nucleus."""
    labels = np.zeros((40, 40), np.int32)
    labels[:30] = 1
    write_image(tmp_path / "labels.tif", labels)
    write_image(tmp_path / "image.tif", np.zeros((40, 40, 3), np.uint8))

    class Sure:
        method = load_method("cgan")
        mask_settings = MaskSettings(encoding="filled")

        def predict(self, image):
            return np.full((1, *image.shape[:2]), 0.5)

    monkeypatch.setattr(Segmenter, "load", lambda *_: Sure())
    slide = {"slide": "a"} | {kind: str(tmp_path / f"{kind}.tif") for kind in ("image", "labels")}
    calibrate("model", [slide], tmp_path / "table.csv", ComputeSettings())
    table = pd.read_csv(tmp_path / "table.csv").set_index("low")
    assert table["pixels"].sum() == table["pixels"][0.75] == 1600
    assert table["predicted"][0.75] == table["observed"][0.75] == 0.75
