"""Decoding in bands finds what decoding the whole finds, and needs no more than it must."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nucleigan.config import DecodingSettings, MaskSettings
from nucleigan.masks import decode, encode, streaming
from nucleigan.masks.streaming import decode_bands

MASKS = MaskSettings(encoding="interior_boundary")


def in_bands(mask, heights, decoding):
    """The label map of a mask that is given in bands of these heights, and the nuclei."""
    cuts = [0, *np.minimum(np.cumsum(heights), mask.shape[1]).astype(int), mask.shape[1]]
    bands = [mask[:, low:high] for low, high in pairwise(cuts) if high > low]
    rows, nuclei = [], []
    for labels, found in decode_bands(bands, decoding):
        rows.append(labels)
        nuclei += found
    return np.concatenate(rows), nuclei


def noise(seed, shape, blur, gain):
    """Blobs with flat tops: of values that are equal, the order of the queue decides."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, blur, blur))
    field /= field.std()
    field[0] += 0.3 * field[1]
    return np.clip(gain * field, -1, 1).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    blur=st.sampled_from([0.6, 1.5, 3.0]),
    gain=st.sampled_from([0.5, 2.0, 50.0]),
    heights=st.lists(st.integers(1, 40), max_size=12),
    foreground=st.sampled_from([0.3, 0.5, 0.7]),
    marker=st.sampled_from([0.2, 0.6]),
    summit=st.sampled_from([None, 0.02, 0.3]),
    peak=st.sampled_from([0.0, 0.6, 0.8]),
    min_area=st.sampled_from([1, 12]),
    together=st.sampled_from([1, 300, 4_000_000]),
)
def test_bands_make_no_difference(
    seed, shape, blur, gain, heights, foreground, marker, summit, peak, min_area, together
):
    mask = noise(seed, shape, blur, gain)
    decoding = DecodingSettings(
        foreground=foreground, marker=marker, summit=summit, peak=peak, min_area=min_area
    )
    whole = decode(mask, MASKS, decoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "TOGETHER", together)
        labels, nuclei = in_bands(mask, heights, decoding)
    np.testing.assert_array_equal(labels, whole)
    assert labels.dtype == whole.dtype
    assert [one.number for one in nuclei] == list(range(1, int(whole.max()) + 1))
    for one in nuclei:
        box = np.s_[one.top : one.bottom, one.left : one.left + one.mask.shape[1]]
        np.testing.assert_array_equal(one.mask, whole[box] == one.number)


def drawn(labels):
    """A perfect mask of a label map, in one channel for nucleus and interior."""
    inside = 2.0 * (labels > 0) - 1
    return np.stack([inside, inside]).astype(np.float32)


def test_holes_are_filled_unless_another_nucleus_lies_in_them():
    labels = np.zeros((60, 120), np.int32)
    y, x = np.indices(labels.shape)
    for number, centre in enumerate((30, 90), 1):
        away = np.hypot(y - 30, x - centre)
        labels[(away > 15) & (away < 25)] = number
    labels[np.hypot(y - 30, x - 90) < 6] = 3
    # Two nuclei that merge at no pixel: whole rings, each with one marker.
    decoding = DecodingSettings(min_area=20)
    whole = decode(drawn(labels), MASKS, decoding)
    banded, nuclei = in_bands(drawn(labels), [7] * 9, decoding)
    np.testing.assert_array_equal(banded, whole)
    assert len(nuclei) == 3
    assert whole[30, 30] == whole[30, 10] > 0 and whole[30, 80] == 0 and whole[30, 90] > 0


def test_real_shapes_over_many_seams():
    rng = np.random.default_rng(3)
    y, x = np.indices((300, 200))
    labels = np.zeros(y.shape, np.int32)
    for number in range(1, 120):
        row, column = rng.uniform(0, 300), rng.uniform(0, 200)
        away = np.hypot((y - row) / rng.uniform(6, 12), (x - column) / rng.uniform(6, 12))
        labels[(away < 1) & (labels == 0)] = number
    mask = 2.0 * encode(labels, MASKS).astype(np.float32) - 1
    mask = np.clip(mask + rng.normal(0, 0.3, mask.shape), -1, 1).astype(np.float32)
    decoding = DecodingSettings(foreground=0.5, marker=0.3, summit=0.075, peak=0.8, min_area=20)
    whole = decode(mask, MASKS, decoding)
    assert whole.max() > 60
    for height in (1, 17, 64):
        banded, _ = in_bands(mask, [height] * 300, decoding)
        np.testing.assert_array_equal(banded, whole)


def test_rows_are_given_away_as_soon_as_nothing_can_change_them():
    mask = np.full((2, 2000, 50), -1, np.float32)
    mask[:, ::10, 5:20] = 1
    given_away = 0
    for number, (labels, _) in enumerate(
        decode_bands((mask[:, top : top + 20] for top in range(0, 2000, 20)), DecodingSettings()), 1
    ):
        given_away += len(labels)
        assert given_away >= min(2000, 20 * number - 30)
    assert given_away == 2000


def test_a_region_that_goes_on_and_on_is_not_looked_at_with_every_band(monkeypatch):
    seen, known = [], ndimage.label

    def label(picture, structure=None):
        seen.append(len(picture))
        return known(picture, structure)

    monkeypatch.setattr(streaming.ndimage, "label", label)
    mask = np.full((2, 4000, 40), -1, np.float32)
    mask[0, :, 10:16] = mask[1, :, 12:14] = 1
    labels, nuclei = in_bands(mask, [16] * 250, DecodingSettings())
    assert len(nuclei) == 1 and (labels > 0).sum() == 4000 * 6
    # Every row a few times; with every band it would be 125 times.
    assert sum(seen) < 10 * 4000


def test_no_rows_no_nuclei():
    assert list(decode_bands([], DecodingSettings())) == []
