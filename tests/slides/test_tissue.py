"""Tissue and glass."""

import numpy as np

from nucleigan.slides import tissue
from nucleigan.slides.tissue import tissue_mask, whitened


def test_glass_is_no_tissue(monkeypatch):
    monkeypatch.setattr(tissue, "ROWS", 3)
    image = np.full((10, 8, 3), 243, np.uint8)
    image[2:7, 3:6] = (180, 120, 170)
    expected = np.zeros((10, 8), bool)
    expected[2:7, 3:6] = True
    np.testing.assert_array_equal(tissue_mask(image), expected)
    assert not tissue_mask(image, threshold=0).any()


def test_black_is_shown_as_glass():
    image = np.full((6, 7, 3), 90, np.uint8)
    assert whitened(image) is image
    image[:2] = 10
    image[2] = (10, 10, 11)
    shown = whitened(image)
    assert (shown[:2] == 255).all() and (shown[2:] == image[2:]).all()
    assert (image[:2] == 10).all()


def test_black_is_no_tissue():
    image = np.full((4, 6, 3), (180, 120, 170), np.uint8)
    image[1] = (10, 0, 3)
    image[2] = (11, 0, 3)
    assert tissue_mask(image).all(axis=1).tolist() == [True, False, True, True]
