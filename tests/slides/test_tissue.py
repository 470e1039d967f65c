"""Tissue and glass."""

import numpy as np

from nucleigan.slides import tissue
from nucleigan.slides.tissue import tissue_mask


def test_glass_is_no_tissue(monkeypatch):
    monkeypatch.setattr(tissue, "ROWS", 3)
    image = np.full((10, 8, 3), 243, np.uint8)
    image[2:7, 3:6] = (180, 120, 170)
    expected = np.zeros((10, 8), bool)
    expected[2:7, 3:6] = True
    np.testing.assert_array_equal(tissue_mask(image), expected)
    assert not tissue_mask(image, threshold=0).any()


def test_black_is_no_tissue():
    image = np.full((4, 6, 3), (180, 120, 170), np.uint8)
    image[1] = (10, 0, 3)
    image[2] = (11, 0, 3)
    assert tissue_mask(image).all(axis=1).tolist() == [True, False, True, True]
