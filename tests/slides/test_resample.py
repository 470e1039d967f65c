"""Resampling: area means are preserved, label ids survive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import ndimage

from nucleigan.slides import resample
from nucleigan.slides.resample import (
    resample_image,
    resample_labels,
    resampled,
    scaled_shape,
    shrunk,
)


def test_sizes():
    assert scaled_shape((1000, 600), 0.5) == (500, 300)
    assert scaled_shape((1000, 600), 1.996) == (1996, 1198)
    assert scaled_shape((1000, 600), 1.004) == (1000, 600)
    assert scaled_shape((1, 1000), 0.1) == (1, 100)


def test_equal_sizes_are_untouched():
    image = np.zeros((3, 4, 3), np.uint8)
    assert resample_image(image, (3, 4)) is image
    assert resample_labels(image[..., 0], (3, 4)).base is image


def test_halves_are_block_means():
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    blocks = image.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(resample_image(image, (4, 6)), np.rint(blocks))


def test_borders_count_by_the_part_that_is_covered():
    row = np.repeat(np.array([[[0], [90], [240]]], np.uint8), 3, axis=2)
    # Two pixels of one and a half: (0 + 90 / 2) / 1.5 and (90 / 2 + 240) / 1.5.
    np.testing.assert_array_equal(resample_image(row, (1, 2))[0, :, 0], [30, 190])


@given(
    image=arrays.arrays(np.uint8, st.tuples(st.integers(4, 40), st.integers(4, 40), st.just(3))),
    part=st.floats(0.25, 1.0),
)
def test_shrinking_preserves_the_mean(image, part):
    shape = scaled_shape(image.shape[:2], part)
    small = resample_image(image, shape)
    assert small.shape == (*shape, 3)
    # Rounding moves every new pixel by at most one half.
    np.testing.assert_allclose(small.mean(axis=(0, 1)), image.mean(axis=(0, 1)), atol=0.5)
    assert small.min() >= image.min()
    assert small.max() <= image.max()


def test_strips_do_not_show(monkeypatch):
    image = np.random.default_rng(1).integers(0, 256, (101, 67, 3), np.uint8)
    whole = resample_image(image, (41, 31))
    monkeypatch.setattr(resample, "STRIP", 2_000)
    np.testing.assert_array_equal(resample_image(image, (41, 31)), whole)


@settings(deadline=None)
@given(
    image=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))),
    factor=st.floats(1.005, 4.0),
    strip=st.sampled_from([1, 500, 5_000, 8_000_000]),
)
def test_enlarging_in_bands_is_that_of_pillow_bit_for_bit(image, factor, strip):
    shape = scaled_shape(image.shape[:2], factor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "STRIP", strip)
        enlarged = resample_image(image, shape)
    whole = Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(enlarged, np.asarray(whole))


class Watched:
    """A picture that remembers the largest window that was asked for."""

    def __init__(self, image):
        self.image, self.shape, self.dtype, self.most = image, image.shape, image.dtype, 0

    def __getitem__(self, window):
        found = self.image[window]
        self.most = max(self.most, found.shape[0])
        return found


@pytest.mark.parametrize("shape", [(300, 60), (171, 43), (150, 30), (555, 111), (7, 2)])
@pytest.mark.parametrize("strip", [2_000, 8_000_000])
def test_only_some_rows_are_read_at_a_time(monkeypatch, shape, strip):
    image = np.random.default_rng(2).integers(0, 256, (300, 60, 3), np.uint8)
    whole = resample_image(image, shape)
    monkeypatch.setattr(resample, "STRIP", strip)
    picture = Watched(image)
    found = list(resampled(picture, shape))
    np.testing.assert_array_equal(np.concatenate(found), whole)
    # A new row is made of those that it covers, an enlarged one of four; the rest is the strip's.
    if shape != image.shape[:2]:
        assert picture.most <= max(300 / shape[0] + 2, 4 + strip / (60 * 3))


def test_a_side_that_was_filled_up_is_read_in_bands_as_well(monkeypatch):
    """One side of the result is shorter than the image, the other longer than what it shows."""
    image = np.random.default_rng(2).integers(0, 256, (401, 152, 3), np.uint8)
    monkeypatch.setattr(resample, "STRIP", 2_000)
    picture = Watched(image)
    found = np.concatenate(list(resampled(picture, (400, 152), (400.5, 151.5))))
    assert found.shape == (400, 152, 3) and picture.most < 20
    # Hardly moved: less than half a pixel, at the far end.
    np.testing.assert_allclose(found[:40, :15], image[:40, :15], atol=30)


@pytest.mark.parametrize("value", [0, 137, 255])
@pytest.mark.parametrize("shape", [(7, 5), (40, 30), (10, 30)])
def test_one_colour_stays(value, shape):
    image = np.full((20, 16, 3), value, np.uint8)
    assert (resample_image(image, shape) == value).all()


def test_enlarged_labels_are_blocks():
    labels = np.arange(12, dtype=np.int32).reshape(3, 4)
    np.testing.assert_array_equal(
        resample_labels(labels, (6, 8)), np.repeat(np.repeat(labels, 2, 0), 2, 1)
    )


def test_a_pixel_takes_the_label_that_covers_most_of_it():
    labels = np.array([[1, 1, 2, 3], [1, 4, 5, 3], [6, 6, 7, 7], [8, 6, 9, 7]])
    np.testing.assert_array_equal(resample_labels(labels, (2, 2)), [[1, 3], [6, 7]])
    # Of 5 / 2 pixels the middle one counts half for each.
    row = np.array([[1, 2, 2, 3, 3]])
    np.testing.assert_array_equal(resample_labels(row, (1, 2)), [[2, 3]])


def test_far_coarser_labels_take_the_centre():
    labels = np.arange(7 * 70, dtype=np.int32).reshape(7, 70)
    np.testing.assert_array_equal(resample_labels(labels, (1, 10)), labels[3:4, 3::7])


@pytest.mark.parametrize(
    ("size", "new"),
    [
        (600, 300),
        (600, 150),
        (600, 450),
        (600, 420),
        (601, 300),
        (200, 300),
        (200, 260),
        (200, 400),
    ],
)
def test_nuclei_stay_where_they_are(size, new):
    """Discs of all sizes at all places between pixels, on the whole and in each third."""
    rng = np.random.default_rng(0)
    labels = np.zeros((size, size), np.int32)
    y, x = np.mgrid[:size, :size] + 0.5
    places = np.arange(15, size - 10, 20)
    centres = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    centres = centres + rng.uniform(-4, 4, centres.shape)
    for number, (row, column) in enumerate(centres, start=1):
        box = np.s_[int(row) - 7 : int(row) + 8, int(column) - 7 : int(column) + 8]
        labels[box][np.hypot(y[box] - row, x[box] - column) < rng.uniform(4, 6)] = number
    ids = np.arange(1, len(centres) + 1)
    before, after = (
        np.array(ndimage.center_of_mass(one > 0, one, ids)) + 0.5
        for one in (labels, resample_labels(labels, (new, new)))
    )
    moved = after - before * new / size
    assert np.abs(moved.mean(axis=0)).max() < 0.04
    for axis in (0, 1):
        third = np.digitize(before[:, axis], [size / 3, 2 * size / 3])
        drift = [moved[third == part, axis].mean() for part in range(3)]
        assert np.abs(drift).max() < 0.08


@given(
    factor=st.floats(0.4, 3.0),
    radius=st.floats(3.0, 8.0),
    ids=st.lists(st.integers(1, 2**31 - 1), min_size=4, max_size=4, unique=True),
    shift=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_discs_keep_their_ids_and_areas(factor, radius, ids, shift):
    labels = np.zeros((60, 60), np.int32)
    y, x = np.mgrid[:60, :60]
    for number, (row, column) in zip(ids, [(15, 15), (15, 45), (45, 15), (45, 45)], strict=True):
        inside = np.hypot(y - row - shift[0], x - column - shift[1]) < radius
        labels[inside] = number
    scaled = resample_labels(labels, scaled_shape(labels.shape, factor))
    assert scaled.dtype == np.int32
    assert set(np.unique(scaled)) == {0, *ids}
    for number in ids:
        area, expected = (scaled == number).sum(), np.pi * (radius * factor) ** 2
        # A ring of one pixel, of the coarser grid.
        assert abs(area - expected) <= 2 * np.pi * radius * factor * max(1, factor) + 4


def test_a_picture_is_shrunk_to_its_longer_side():
    assert shrunk(np.zeros((2000, 1000, 3), np.uint8), 400).shape == (400, 200, 3)
    small = np.full((30, 400, 3), 7, np.uint8)
    np.testing.assert_array_equal(shrunk(small, 400), small)


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    new=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    band=st.sampled_from([1, 7, 1 << 24]),
)
def test_labels_read_in_bands_are_those_of_the_whole(shape, new, band):
    labels = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    whole = resample_labels(labels, new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nucleigan.windows.BAND", band)
        np.testing.assert_array_equal(resample_labels(labels, new), whole)
    assert whole.shape == new


@settings(deadline=None)
@given(
    labels=arrays.arrays(
        np.int32,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.integers(0, 3),
    ),
    new=st.tuples(st.integers(3, 20), st.integers(3, 20)),
)
def test_no_label_covers_more_of_a_pixel_than_the_one_it_takes(labels, new):
    """Areas by enlarging both grids to a common finer one."""
    fine = labels.repeat(new[0], axis=0).repeat(new[1], axis=1)
    blocks = fine.reshape(new[0], labels.shape[0], new[1], labels.shape[1]).swapaxes(1, 2)
    areas = np.stack([(blocks == label).sum(axis=(2, 3)) for label in range(4)], axis=-1)
    taken = resample_labels(labels, new)
    found = np.take_along_axis(areas, taken[..., None].astype(int), axis=-1)[..., 0]
    np.testing.assert_array_equal(found, areas.max(axis=-1))
