from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity

from nucleigan.artifacts import read_json, write_json
from nucleigan.config import StainSettings
from nucleigan.stain import StainProfile, concentrations, estimate_stains, normalize
from nucleigan.stain.normalization import scales
from nucleigan.stain.optical_density import to_image
from nucleigan.stain.profile import angles
from nucleigan.stain.separation import CHUNK, MIN_PERCENTILE
from nucleigan.stain.vectors import TEXTBOOK

PLAIN = StainSettings(concentration_sparsity=0)
OTHER = np.array([[0.65, 0.70, 0.29], [0.15, 0.90, 0.40]])
OTHER = OTHER / np.linalg.norm(OTHER, axis=1, keepdims=True)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other)


def test_normalising_to_itself_changes_little(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK)
    profile = estimate_stains(image)
    change = difference(normalize(image, profile, profile), image)
    assert change.mean() < 3
    # Without sparsity only what neither stain explains is lost.
    assert difference(normalize(image, profile, profile, PLAIN), image).mean() < 1


def test_normalising_twice_is_normalising_once(render: Callable[..., np.ndarray]) -> None:
    image = render(OTHER)
    source, reference = estimate_stains(image), StainProfile(TEXTBOOK, np.array([1.5, 1.0]))
    once = normalize(image, source, reference, PLAIN)
    twice = normalize(once, reference, reference, PLAIN)
    assert difference(once, twice).max() <= 1


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 0.5))
def test_white_stays_white(first: float, second: float, sparsity: float) -> None:
    white = np.full((3, 5, 3), 255, np.uint8)
    source = StainProfile(TEXTBOOK, np.array([first, second]))
    reference = StainProfile(OTHER, np.array([second, first]))
    settings = StainSettings(concentration_sparsity=sparsity)
    np.testing.assert_array_equal(normalize(white, source, reference, settings), white)


def test_the_black_of_padding_becomes_white_and_changes_nothing_beside_it(
    render: Callable[..., np.ndarray],
) -> None:
    """Dark slides, whose black a lighter reference would turn into a colour of its own."""
    image = render(TEXTBOOK)
    source = estimate_stains(image)
    reference = StainProfile(OTHER, source.percentiles / 2)
    padded = image.copy()
    padded[:, :9] = 7
    expected = normalize(image, source, reference)
    expected[:, :9] = 255
    source = replace(source, black=estimate_stains(padded).black)
    np.testing.assert_array_equal(normalize(padded, source, reference), expected)


def test_a_few_black_pixels_are_the_darkest_of_a_nucleus(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK)
    image[20:23, 30:33] = 7
    source = estimate_stains(image)
    shown = normalize(image, source, source)
    assert 0 < source.black < 0.01 and not source.padded
    assert shown[20:23, 30:33].max() < np.percentile(shown, 5)


@given(st.data())
def test_bands_are_parts_of_the_whole(data: st.DataObject) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (61, 47, 3)).astype(np.uint8)
    source = StainProfile(TEXTBOOK, np.array([1.3, 0.9]))
    reference = StainProfile(OTHER, np.array([1.1, 1.2]))
    whole = normalize(image, source, reference)
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, 61), st.integers(0, 61))))
    left, right = sorted(data.draw(st.tuples(st.integers(0, 47), st.integers(0, 47))))
    part = np.s_[top:bottom, left:right]
    np.testing.assert_array_equal(normalize(image[part], source, reference), whole[part])


def test_bands_are_the_whole_beyond_a_chunk(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK, size=301)
    assert image.shape[0] * image.shape[1] > CHUNK
    source, reference = estimate_stains(image), StainProfile(OTHER, np.array([1.1, 1.2]))
    whole = normalize(image, source, reference)
    for height in (1, 37, 200):
        bands = [
            normalize(image[top : top + height], source, reference) for top in range(0, 301, height)
        ]
        np.testing.assert_array_equal(np.concatenate(bands), whole)


@pytest.mark.parametrize("factor", [(0.6, 0.6), (1.5, 1.5), (0.7, 1.4)])
def test_known_factor_is_undone_exactly(factor: tuple[float, float]) -> None:
    amounts = np.random.default_rng(0).uniform(0, 0.8, (50, 60, 2))
    image = to_image((amounts * factor) @ OTHER)
    source = StainProfile(OTHER, np.array(factor))
    result = normalize(image, source, StainProfile(TEXTBOOK, np.ones(2)), PLAIN)
    wanted = to_image(amounts @ TEXTBOOK)
    assert difference(result, wanted).mean() < 1.5  # what 8 bits lose, amplified
    assert difference(result, wanted).max() <= 12


@pytest.mark.parametrize("factor", [(0.6, 0.6), (1.5, 1.5), (0.7, 1.4)])
def test_estimated_stains_undo_a_known_factor(
    render: Callable[..., np.ndarray], factor: tuple[float, float]
) -> None:
    wanted = render(TEXTBOOK)
    image = render(OTHER, factor)
    result = normalize(image, estimate_stains(image), estimate_stains(wanted))
    assert difference(image, wanted).mean() > 10
    assert difference(result, wanted).mean() < 4


def test_result_has_the_reference_stains(render: Callable[..., np.ndarray]) -> None:
    image = render(OTHER, (0.7, 1.3))
    reference = StainProfile(TEXTBOOK, np.array([1.4, 0.9]))
    found = estimate_stains(normalize(image, estimate_stains(image), reference))
    assert (angles(found.matrix, TEXTBOOK) < 5).all()
    np.testing.assert_allclose(found.percentiles, reference.percentiles, rtol=0.1)


@pytest.mark.parametrize("stain", [0, 1])
def test_absent_stain_is_not_amplified(stain: int) -> None:
    """Its traces stay as faint as they are; the present stain is matched all the same."""
    rng = np.random.default_rng(0)
    amounts = rng.gamma(2.0, 0.3, (80, 80, 2))
    amounts[..., stain] = rng.uniform(0, 0.05, (80, 80))
    percentiles = np.percentile(amounts.reshape(-1, 2), 99, axis=0)
    source = StainProfile(TEXTBOOK, np.maximum(percentiles, MIN_PERCENTILE))
    reference = StainProfile(TEXTBOOK, np.array([1.0, 1.0]))
    result = normalize(to_image(amounts @ TEXTBOOK), source, reference, PLAIN)
    after = np.percentile(concentrations(result, reference, PLAIN).reshape(-1, 2), 99, axis=0)
    assert after[stain] < 0.15
    assert after[1 - stain] == pytest.approx(1.0, abs=0.05)


def test_no_stain_is_amplified_beyond_a_bound() -> None:
    """What has little of a stain is not given another slide's."""
    reference = StainProfile(TEXTBOOK, np.array([1.0, 1.0]))
    for percentile, scale in ((0.5, 2.0), (0.25, 4.0), (0.2, 4.0), (0.11, 4.0), (0.1, 1.0)):
        source = StainProfile(TEXTBOOK, np.array([2.0, percentile]))
        np.testing.assert_allclose(scales(source, reference), [0.5, scale])


def test_absent_stain_of_the_reference_is_weakened() -> None:
    amounts = np.random.default_rng(0).uniform(0, 1, (40, 40, 2))
    source = StainProfile(TEXTBOOK, np.ones(2))
    reference = StainProfile(TEXTBOOK, np.array([1.0, MIN_PERCENTILE]))
    result = normalize(to_image(amounts @ TEXTBOOK), source, reference, PLAIN)
    found = concentrations(result, reference, PLAIN)
    np.testing.assert_allclose(found[..., 1], amounts[..., 1] * MIN_PERCENTILE, atol=0.06)


def test_input_is_not_changed(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK)
    copy = image.copy()
    profile = estimate_stains(image)
    normalize(image, profile, profile)
    np.testing.assert_array_equal(image, copy)


def test_parts_need_not_be_contiguous(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK)
    profile = estimate_stains(image)
    view = image[::2, ::-3]
    assert not view.flags.c_contiguous
    np.testing.assert_array_equal(
        normalize(view, profile, profile), normalize(view.copy(), profile, profile)
    )


@pytest.mark.parametrize("shape", [(5, 5, 4), (5, 5)])
def test_opacity_or_grey_is_refused_not_garbled(shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, np.uint8)
    profile = StainProfile(TEXTBOOK, np.ones(2))
    with pytest.raises(ValueError, match="uint8"):
        normalize(image, profile, profile)
    with pytest.raises(ValueError, match="uint8"):
        concentrations(image, profile)
    with pytest.raises(ValueError, match="uint8"):
        estimate_stains(image)


@given(
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
    st.lists(st.floats(MIN_PERCENTILE, 50), min_size=2, max_size=2),
    st.lists(st.text(), max_size=3),
)
def test_profile_survives_json_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    matrix: list[float],
    percentiles: list[float],
    warnings: list[str],
) -> None:
    path = tmp_path_factory.getbasetemp() / "profile.json"
    profile = StainProfile(np.array(matrix).reshape(2, 3), np.array(percentiles), tuple(warnings))
    write_json(path, {"slide": "one", **profile.as_dict()})
    restored = StainProfile.from_dict(read_json(path))
    assert restored.matrix.tobytes() == profile.matrix.tobytes()
    assert restored.percentiles.tobytes() == profile.percentiles.tobytes()
    assert restored.warnings == profile.warnings


def test_published_result_is_matched(real_data: Path) -> None:
    """The method's authors' own source, target and result."""
    source, target, published = (
        np.asarray(Image.open(real_data / "stain" / f"{name}.png").convert("RGB"))
        for name in ("source1", "target1", "norm")
    )
    result = normalize(source, estimate_stains(source), estimate_stains(target))
    assert difference(result, published).mean() <= 2.3
    assert structural_similarity(result, published, channel_axis=2) >= 0.997
    # Against these the figures above mean something.
    assert difference(source, published).mean() > 15
