import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.color import rgb2lab

from nucleigan.stain.optical_density import as_pixels, is_tissue, optical_density, to_image

LEVELS = np.arange(256, dtype=np.uint8)


def test_density_follows_its_definition() -> None:
    density = optical_density(LEVELS)
    assert density.dtype == np.float32
    np.testing.assert_allclose(density, -np.log((LEVELS + 1.0) / 256.0), rtol=1e-6, atol=0)
    assert density[255] == 0
    assert density[0] == pytest.approx(np.log(256))
    assert (np.diff(density) < 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_level_comes_back(dtype: type) -> None:
    restored = to_image(optical_density(LEVELS).astype(dtype))
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, LEVELS)


def test_levels_are_rounded_not_cut() -> None:
    between = -np.log((np.array([100.4, 100.6]) + 1) / 256)
    np.testing.assert_array_equal(to_image(between), [100, 101])


def test_densities_beyond_the_range_are_clipped() -> None:
    np.testing.assert_array_equal(
        to_image(np.array([-1.0, -0.01, 0.0, 20.0, 1e4])), [255] * 3 + [0, 0]
    )


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3)))
def test_any_shape_comes_back(image: np.ndarray) -> None:
    np.testing.assert_array_equal(to_image(optical_density(image)), image)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(3))),
    st.floats(0.1, 1.0),
)
def test_tissue_is_what_cie_lightness_says(pixels: np.ndarray, threshold: float) -> None:
    lightness = rgb2lab(pixels[None])[0, :, 0] / 100
    # scikit-image rounds its matrix of primaries; pixels this close to the threshold may differ.
    clear = np.abs(lightness - threshold) > 1e-3
    np.testing.assert_array_equal(
        is_tissue(pixels, threshold)[clear], (lightness < threshold)[clear]
    )


def test_white_is_never_tissue() -> None:
    assert not is_tissue(np.full((1, 3), 255, np.uint8), 1.0).any()


def test_tissue_keeps_the_shape() -> None:
    assert is_tissue(np.zeros((4, 5, 3), np.uint8), 0.9).shape == (4, 5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((3, 4), np.uint8),
        np.zeros((3, 4, 3), np.uint16),
        np.zeros((3, 4, 3), np.float32),
        np.zeros(3, np.uint8),
    ],
)
def test_only_colour_images_of_8_bits_are_taken(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        as_pixels(image)
