import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spams
import tifffile
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucleigan import windows
from nucleigan.config import StainSettings
from nucleigan.stain import (
    StainProfile,
    concentrations,
    estimate_stains,
    normalize,
    separation,
)
from nucleigan.stain.optical_density import optical_density, to_image
from nucleigan.stain.profile import angles
from nucleigan.stain.separation import MIN_PERCENTILE, solve
from nucleigan.stain.vectors import TEXTBOOK

# Ruifrok & Johnston 2001.
RUIFROK = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
WHITE = np.full((64, 64, 3), 255, np.uint8)


def unit(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def turned(matrix: np.ndarray, axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    """Rotate both stains about an axis (Rodrigues), and keep them non-negative."""
    k = np.array(axis) / np.linalg.norm(axis)
    angle = np.radians(degrees)
    rotated = (
        matrix * np.cos(angle)
        + np.cross(k, matrix) * np.sin(angle)
        + np.outer(matrix @ k, k) * (1 - np.cos(angle))
    )
    return unit(np.maximum(rotated, 0.01))


@pytest.mark.parametrize("base", [TEXTBOOK, unit(RUIFROK)], ids=["macenko", "ruifrok"])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
@pytest.mark.parametrize("degrees", [-10, 0, 10])
def test_known_stains_are_found(
    render: Callable[..., np.ndarray],
    base: np.ndarray,
    axis: tuple[float, float, float],
    degrees: float,
) -> None:
    truth = turned(base, axis, degrees)
    found = estimate_stains(render(truth))
    assert found.matrix.dtype == np.float64
    assert (angles(found.matrix, truth) < 5).all()
    np.testing.assert_allclose(np.linalg.norm(found.matrix, axis=1), 1)
    assert (found.matrix >= 0).all()
    assert found.matrix[0, 0] > found.matrix[1, 0]


@pytest.mark.parametrize("factors", [(0.5, 1.0), (1.0, 0.5), (2.0, 2.0)])
def test_strength_leaves_the_stains_as_they_are(
    render: Callable[..., np.ndarray], factors: tuple[float, float]
) -> None:
    found = estimate_stains(render(TEXTBOOK, factors))
    assert (angles(found.matrix, TEXTBOOK) < 5).all()
    ratio = found.percentiles / estimate_stains(render(TEXTBOOK)).percentiles
    np.testing.assert_allclose(ratio, factors, rtol=0.08)


def test_haematoxylin_comes_first(
    monkeypatch: pytest.MonkeyPatch, render: Callable[..., np.ndarray]
) -> None:
    image = render(TEXTBOOK)
    expected = estimate_stains(image)
    train = spams.trainDL
    monkeypatch.setattr(spams, "trainDL", lambda *a, **k: np.asarray(train(*a, **k))[:, ::-1])
    np.testing.assert_array_equal(estimate_stains(image).matrix, expected.matrix)


# The lasso.


@st.composite
def stains(draw: st.DrawFn) -> np.ndarray:
    """Two non-negative unit vectors at least 5° apart."""
    matrix = draw(arrays(np.float64, (2, 3), elements=st.floats(0, 1)))
    lengths = np.linalg.norm(matrix, axis=1)
    if (lengths < 0.1).any() or angles(*unit(matrix)[:, None])[0] < 5:
        return TEXTBOOK
    return unit(matrix)


@settings(max_examples=200)
@given(
    stains(),
    arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(0, 5.6)),
    st.floats(1e-3, 0.5),
)
def test_closed_form_is_the_lasso(matrix: np.ndarray, density: np.ndarray, sparsity: float) -> None:
    # SPAMS returns 0 for a pixel to which both stains are exactly equally close; the test of
    # optimality below covers these.
    tied = np.abs(density @ (matrix[0] - matrix[1])) < 1e-6
    density = density[~tied]
    assume(len(density))
    expected = spams.lasso(
        np.asfortranarray(density.T),
        D=np.asfortranarray(matrix.T),
        lambda1=sparsity,
        mode=2,
        pos=True,
        numThreads=1,
    )
    found = solve(density, matrix, sparsity)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.toarray().T, rtol=0, atol=1e-6)


@given(
    stains(),
    arrays(np.float64, (8, 3), elements=st.floats(0, 5.6)),
    st.floats(0, 0.5),
)
def test_closed_form_is_optimal(matrix: np.ndarray, density: np.ndarray, sparsity: float) -> None:
    """Karush, Kuhn and Tucker: the gradient is 0 where a stain is present, else not negative."""
    amounts = solve(density, matrix, sparsity)
    gradient = (amounts @ matrix - density) @ matrix.T + sparsity
    assert (amounts >= 0).all()
    assert (gradient >= -1e-9).all()
    assert (np.abs(gradient[amounts > 0]) < 1e-9).all()


def test_concentrations_of_an_exact_mixture() -> None:
    amounts = np.array([[[0.0, 0.0], [1.2, 0.0], [0.0, 0.7], [0.8, 0.5]]])
    profile = StainProfile(TEXTBOOK, np.ones(2))
    found = concentrations(
        to_image(amounts @ TEXTBOOK), profile, StainSettings(concentration_sparsity=0)
    )
    assert found.dtype == np.float32
    assert found.shape == (1, 4, 2)
    np.testing.assert_allclose(found, amounts, atol=0.03)  # 8 bits


def test_a_pixel_depends_on_that_pixel_only(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK, size=300)  # more than one chunk
    profile = estimate_stains(image)
    whole = concentrations(image, profile)
    for row, column, height, width in [
        (0, 0, 1, 1),
        (7, 11, 1, 2),
        (219, 0, 3, 300),
        (5, 9, 17, 31),
    ]:
        part = np.s_[row : row + height, column : column + width]
        np.testing.assert_array_equal(concentrations(image[part], profile), whole[part])
    singles = [concentrations(pixel[None, None], profile)[0, 0] for pixel in image[100]]
    np.testing.assert_array_equal(singles, whole[100])


# The same bits every time.

SCRIPT = """
import hashlib, sys
import numpy as np
if sys.argv[2] != "none":
    import torch
    torch.set_num_threads(int(sys.argv[2]))
    torch.rand(300, 300) @ torch.rand(300, 300)
    np.random.seed(int(sys.argv[2]))
    np.random.rand(300, 300) @ np.random.rand(300, 300)
from nucleigan.stain import estimate_stains, normalize
image = np.load(sys.argv[1])
for _ in range(2):
    profile = estimate_stains(image)
    parts = profile.matrix, profile.percentiles, normalize(image, profile, profile)
    print(*(hashlib.sha256(part.tobytes()).hexdigest() for part in parts))
    estimate_stains(255 - image)
"""


def run_script(image: Path, threads: int, torch_threads: str) -> list[str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(image), torch_threads],
        env={**os.environ, **dict.fromkeys(names, str(threads))},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_threads_and_repetition_change_no_bit(
    tmp_path: Path, render: Callable[..., np.ndarray]
) -> None:
    path = tmp_path / "image.npy"
    np.save(path, render(turned(TEXTBOOK, (1, 1, 1), 7), size=400))
    first = run_script(path, 1, "none")
    assert len(first) == 6
    assert first[:3] == first[3:]
    for threads, torch_threads in [(1, "none"), (2, "none"), (4, "none"), (1, "4"), (4, "2")]:
        assert run_script(path, threads, torch_threads) == first, (threads, torch_threads)


def test_other_settings_in_the_same_process_change_no_bit(
    render: Callable[..., np.ndarray],
) -> None:
    image = render(TEXTBOOK)
    expected = estimate_stains(image)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            np.random.default_rng(threads).random((200, 200)) @ np.ones((200, 200))
            spams.trainDL(
                np.asfortranarray(np.random.default_rng(threads).random((3, 500))),
                K=2,
                lambda1=0.1,
                iter=5,
                numThreads=threads,
                verbose=False,
            )
            found = estimate_stains(image)
            assert found.matrix.tobytes() == expected.matrix.tobytes()
            assert found.percentiles.tobytes() == expected.percentiles.tobytes()
    finally:
        torch.set_num_threads(before)


# Images that hold no two stains.


def noise(low: int, high: int, size: int = 128) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, (size, size, 3)).astype(np.uint8)


def nearly_empty() -> np.ndarray:
    image = WHITE.copy()
    image[:5, :5] = noise(0, 200, 5)
    return image


def one_stain(stain: int) -> np.ndarray:
    amounts = np.random.default_rng(1).gamma(2.0, 0.4, (128, 128, 1))
    return to_image(amounts * TEXTBOOK[stain])


HOPELESS = {
    "white": (WHITE, "0 pixels of tissue"),
    "black": (WHITE * 0, "100% of the slide is black"),
    "constant": (WHITE * 0 + np.uint8(128), "one colour only"),
    "constant pink": (WHITE * 0 + np.array([200, 120, 180], np.uint8), "one colour only"),
    "nearly empty": (nearly_empty(), "pixels of tissue"),
    "one pixel": (np.array([[[120, 40, 150]]], np.uint8), "only 1 pixels of tissue"),
    "one row": (noise(0, 255)[:1], "pixels of tissue"),
    "haematoxylin alone": (one_stain(0), "single stain"),
    "eosin alone": (one_stain(1), "single stain"),
    "grey": (np.repeat(noise(0, 255)[..., :1], 3, axis=2), "single stain"),
    "noise": (noise(0, 256), "from the textbook's vector"),
    "nearly white noise": (noise(250, 256), "tissue"),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_hopeless_images_warn_and_never_crash(case: str) -> None:
    image, warning = HOPELESS[case]
    profile = estimate_stains(image)
    assert np.isfinite(profile.matrix).all()
    np.testing.assert_allclose(np.linalg.norm(profile.matrix, axis=1), 1)
    assert np.isfinite(profile.percentiles).all()
    assert (profile.percentiles >= MIN_PERCENTILE).all()
    assert profile.matrix[0, 0] > profile.matrix[1, 0]
    assert any(re.search(warning, text) for text in profile.warnings), profile.warnings
    reference = StainProfile(TEXTBOOK, np.array([1.5, 1.0]))
    assert normalize(image, profile, reference).shape == image.shape


@settings(max_examples=60)
@given(
    st.integers(0, 255),
    st.integers(1, 256),
    st.integers(0, 2**31),
    st.sampled_from([0.5, 0.9, 1.0]),
)
def test_any_range_of_colours_gives_finite_unit_stains(
    low: int, width: int, seed: int, threshold: float
) -> None:
    """Saturated, nearly white and nearly black images, with every threshold of tissue."""
    rng = np.random.default_rng(seed)
    image = rng.integers(low, min(low + width, 256), (40, 40, 3)).astype(np.uint8)
    profile = estimate_stains(image, StainSettings(luminance_threshold=threshold, iterations=20))
    assert np.isfinite(profile.matrix).all()
    np.testing.assert_allclose(np.linalg.norm(profile.matrix, axis=1), 1)
    assert np.isfinite(profile.percentiles).all()


def test_absent_stain_has_the_least_percentile() -> None:
    profile = estimate_stains(one_stain(0))
    assert profile.percentiles[1] == MIN_PERCENTILE
    assert profile.percentiles[0] > 1
    assert any("eosin is nearly absent" in text for text in profile.warnings)


@pytest.mark.parametrize("trace", [0.0, 0.05, 0.1])
def test_a_trace_of_eosin_is_not_painted_over_the_slide(
    render: Callable[..., np.ndarray], trace: float
) -> None:
    """Nuclei and next to nothing else: what looks like two stains is said, or stays faint."""
    image = render(TEXTBOOK, (1.0, trace))
    profile = estimate_stains(image)
    assert profile.warnings
    reference = StainProfile(TEXTBOOK, np.array([1.5, 1.0]))
    result = normalize(image, profile, reference)
    before, after = (
        concentrations(one, StainProfile(TEXTBOOK, np.ones(2)))[..., 1].mean()
        for one in (image, result)
    )
    assert after < 4 * before + 0.02


def test_good_slide_has_no_warning(render: Callable[..., np.ndarray]) -> None:
    assert estimate_stains(render(TEXTBOOK)).warnings == ()


@pytest.mark.parametrize(("height", "said"), [(1, []), (40, ["of the slide is black"])])
def test_black_padding_changes_no_stain(
    render: Callable[..., np.ndarray], height: int, said: list[str]
) -> None:
    """As of a turned slide, or where nothing was scanned."""
    image = render(TEXTBOOK)
    padding = np.full((height, *image.shape[1:]), 3, np.uint8)
    clean, padded = (estimate_stains(one) for one in (image, np.concatenate([padding, image])))
    np.testing.assert_array_equal(padded.matrix, clean.matrix)
    np.testing.assert_array_equal(padded.percentiles, clean.percentiles)
    assert padded.black == pytest.approx(height / (height + len(image)))
    assert padded.padded == bool(said)
    assert len(padded.warnings) == len(said)
    assert all(words in found for words, found in zip(said, padded.warnings, strict=True))


def test_number_of_pixels_is_limited_without_chance(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK)
    few = StainSettings(max_pixels=2000)
    found, again = estimate_stains(image, few), estimate_stains(image, few)
    np.testing.assert_array_equal(found.matrix, again.matrix)
    assert (angles(found.matrix, TEXTBOOK) < 5).all()


def test_single_precision_is_enough(render: Callable[..., np.ndarray]) -> None:
    image = render(TEXTBOOK, size=64)
    density = optical_density(image).reshape(-1, 3)
    exact = solve(density.astype(np.float64), TEXTBOOK, 0.02)
    np.testing.assert_allclose(solve(density, TEXTBOOK, 0.02), exact, atol=1e-4)


# Real slides.


def test_real_tile_takes_less_than_half_a_second(real_data: Path) -> None:
    image = tifffile.imread(sorted((real_data / "kumar" / "images").glob("*.tif"))[0])
    assert image.shape == (1000, 1000, 3)
    estimate_stains(image[:100, :100])  # imports
    reference = StainProfile(TEXTBOOK, np.array([1.5, 1.0]))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        normalize(image, estimate_stains(image), reference)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_real_tiles_give_stains_like_the_textbook(real_data: Path) -> None:
    paths = sorted((real_data / "kumar" / "images").glob("*.tif"))
    profiles = [estimate_stains(tifffile.imread(path)) for path in paths]
    assert len(profiles) == 30
    found = np.array([profile.angles for profile in profiles])
    assert (found.mean(axis=0) < [5, 7]).all()
    assert (found < StainSettings().max_angle).all()
    assert not any(profile.warnings for profile in profiles)


@pytest.mark.parametrize("most", [1000, 5000, 10**6])
def test_a_slide_that_is_read_twice_has_the_same_stains(
    render: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    image = render(TEXTBOOK, size=120)
    few = StainSettings(max_pixels=most)
    once = estimate_stains(image, few)
    monkeypatch.setattr(separation, "HELD", 0)
    monkeypatch.setattr(windows, "BAND", 7 * 120 * 3)
    twice = estimate_stains(image, few)
    np.testing.assert_array_equal(twice.matrix, once.matrix)
    np.testing.assert_array_equal(twice.percentiles, once.percentiles)
