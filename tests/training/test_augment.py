"""Random changes of patches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import measure

from nucleigan.config import JitterSettings
from nucleigan.stain.optical_density import optical_density, to_image
from nucleigan.stain.vectors import TEXTBOOK
from nucleigan.training.augment import augment


def marked(size=64):
    """An image whose red channel is the label of each pixel."""
    labels = np.zeros((size, size), np.int32)
    labels[10:30, 20:50] = 60
    labels[40:55, 5:25] = 200
    image = np.repeat(labels[..., None], 3, axis=2).astype(np.uint8)
    return image, labels


EVERYTHING = JitterSettings(resize=286, scale=(0.6, 1.5), rotate=True)


@given(seed=st.integers(0, 10_000))
def test_image_and_labels_move_together(seed):
    image, labels = marked()
    moved, turned = augment(image, labels, 48, EVERYTHING, np.random.default_rng(seed))
    assert moved.shape == (48, 48, 3) and turned.shape == (48, 48)
    shown = np.zeros(turned.shape)
    for number in np.unique(turned[turned > 0]):
        shown[turned == number] = min(
            (60, 200), key=lambda label: abs(np.median(moved[turned == number, 0]) - label)
        )
    # Interpolation blurs borders; inside, the picture shows the label.
    agree = np.abs(moved[..., 0] - shown) < 3
    assert agree.mean() > 0.8


@given(seed=st.integers(0, 10_000))
def test_a_nucleus_and_its_mirror_image_are_two(seed):
    """Their centres lie in them, not between them."""
    _, labels = marked()
    _, turned = augment(None, labels, 60, EVERYTHING, np.random.default_rng(seed))
    for number in np.unique(turned[turned > 0]):
        assert measure.label(turned == number, connectivity=2).max() == 1


def test_a_nucleus_in_several_pieces_stays_one_inside_of_a_patch():
    labels = np.zeros((64, 64), np.int32)
    labels[10:20, 10:20] = labels[10:20, 30:40] = 5
    still = JitterSettings(resize=256, flip=False)
    _, moved = augment(None, labels, 48, still, np.random.default_rng(0))
    assert set(np.unique(moved)) == {0, 5}


def test_without_jitter_a_crop_is_exact():
    image, labels = marked()
    still = JitterSettings(resize=256, flip=False)
    moved, turned = augment(image, labels, 64, still, np.random.default_rng(0))
    assert np.array_equal(moved, image) and np.array_equal(turned, labels)


@given(seed=st.integers(0, 10_000), size=st.integers(20, 37))
def test_a_window_of_an_image_that_is_not_resized_holds_its_own_pixels(seed, size):
    image = np.random.default_rng(0).integers(0, 256, (41, 37, 3), np.uint8)
    still = JitterSettings(resize=256, flip=False)
    moved, _ = augment(image, None, size, still, np.random.default_rng(seed))
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size, 3))
    assert (windows[:, :, 0] == moved).all(axis=(2, 3, 4)).any()
    turned, _ = augment(image, None, size, JitterSettings(resize=256), np.random.default_rng(seed))
    assert set(map(tuple, turned.reshape(-1, 3))) <= set(map(tuple, image.reshape(-1, 3)))


def test_the_methods_jitter_magnifies_by_286_over_256():
    labels = np.zeros((256, 256), np.int32)
    labels[100:140, 100:140] = 1
    areas = []
    for seed in range(40):
        _, turned = augment(None, labels, 256, JitterSettings(), np.random.default_rng(seed))
        areas.append((turned == 1).sum())
    assert np.mean(areas) == pytest.approx(1600 * (286 / 256) ** 2, rel=0.03)


def test_same_generator_same_result():
    image, labels = marked()
    jitter = EVERYTHING.model_copy(update={"stain": 0.3, "brightness": 0.1, "blur": 1.0})
    one = augment(image, labels, 48, jitter, np.random.default_rng(3))
    two = augment(image, labels, 48, jitter, np.random.default_rng(3))
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])


def test_blur_makes_nothing_darker():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    jitter = JitterSettings(resize=256, flip=False, blur=1.0)
    for seed in range(5):
        blurred, _ = augment(image, None, 64, jitter, np.random.default_rng(seed))
        assert blurred.mean() == pytest.approx(image.mean(), abs=0.4)
    white, _ = augment(np.full_like(image, 255), None, 64, jitter, np.random.default_rng(0))
    assert (white == 255).all()


def test_stain_jitter_leaves_white_white_and_changes_stain():
    image = np.full((32, 32, 3), 255, np.uint8)
    image[:, :16] = (110, 60, 140)
    jitter = JitterSettings(resize=256, flip=False, stain=0.4)
    changes = []
    for seed in range(10):
        moved, _ = augment(image, None, 32, jitter, np.random.default_rng(seed))
        assert (moved[:, 20:] >= 254).all()
        changes.append(np.abs(moved[:, :12].astype(int) - image[:, :12]).mean())
    assert min(changes) > 0.5


@pytest.mark.parametrize("stain", [0, 1])
def test_stain_jitter_makes_more_or_less_of_a_stain_and_no_other_colour(stain):
    image = np.tile(to_image(0.8 * TEXTBOOK[stain]), (32, 32, 1))
    jitter = JitterSettings(resize=256, flip=False, stain=0.4)
    amounts = []
    for seed in range(60):
        moved, _ = augment(image, None, 32, jitter, np.random.default_rng(seed))
        density = optical_density(moved)[16, 16]
        amounts.append(np.linalg.norm(density))
        assert density @ TEXTBOOK[stain] / amounts[-1] > np.cos(np.radians(2))
    assert np.std(np.log(np.array(amounts) / 0.8)) == pytest.approx(0.4, rel=0.35)


def test_brightness_scales_all_colours_alike():
    image = np.tile(np.array([60, 90, 120], np.uint8), (32, 32, 1))
    jitter = JitterSettings(resize=256, flip=False, brightness=0.2)
    factors = []
    for seed in range(60):
        moved, _ = augment(image, None, 32, jitter, np.random.default_rng(seed))
        ratios = np.log((moved[16, 16] + 1.0) / (image[16, 16] + 1.0))
        assert np.ptp(ratios) < 0.03
        factors.append(ratios[0])
    assert np.std(factors) == pytest.approx(0.2, rel=0.35)


def test_resampling_makes_no_image_darker():
    image = np.random.default_rng(0).integers(100, 104, (80, 80, 3)).astype(np.uint8)
    jitter = JitterSettings(resize=256, flip=False, rotate=True, scale=(0.9, 1.2))
    seeds = range(30)
    means = [
        augment(image, None, 64, jitter, np.random.default_rng(seed))[0].mean() for seed in seeds
    ]
    assert np.mean(means) == pytest.approx(image.mean(), abs=0.1)
