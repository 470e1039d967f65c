"""The shift of annotations, where it is known."""

import numpy as np
import pytest
from skimage import measure


@pytest.mark.parametrize("shift", [(0.0, 0.0), (-0.5, -0.5), (0.0, -0.5)])
def test_the_best_shift_is_that_of_the_annotations(script, shift):
    benchmark = script("annotation_shift")
    rows, columns = np.mgrid[:80, :80]

    def height(right, down):
        """Above zero in a disc of radius 14, wherever its centre lies."""
        return 14.0 - np.hypot(rows - 40 - down, columns - 40 - right)

    truth = (height(*shift) > 0).astype(np.int32)
    mask = np.clip(height(0, 0) / 20, -1, 1)[None].astype(np.float32)
    found = benchmark.by_shift(mask, truth, lambda there: measure.label(there[0] > 0))
    assert benchmark.SHIFTS[int(np.argmax([aji for aji, _ in found]))] == shift
    assert max(overlap for _, overlap in found) > 0.99
