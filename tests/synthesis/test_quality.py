"""Measures of synthetic pairs on sets whose relation is known."""

import numpy as np
import pandas as pd
import pytest

from nucleigan.artifacts import write_image, write_stack
from nucleigan.config import ComputeSettings, GeneratorSettings, MaskSettings, PolygonSettings
from nucleigan.masks import sample_polygons
from nucleigan.models.features import features, kernel_distance, nearest, spread, standardise
from nucleigan.models.header import PAINTER
from nucleigan.models.weights import write_weights
from nucleigan.networks import build_generator
from nucleigan.randomness import generator
from nucleigan.slides import tissue_mask
from nucleigan.synthesis import judge, quality
from nucleigan.synthesis.quality import (
    SHAPES,
    _memory_rows,
    _nearest,
    _shape_row,
    _shapes,
    _solidity,
    _spectrum,
    _spectrum_rows,
    _windows,
)


def noise(count, seed, contrast=20, side=32):
    rng = np.random.default_rng(seed)
    images = 150 + contrast * rng.standard_normal((count, side, side, 3))
    return images.clip(0, 255).astype(np.uint8)


def test_kernel_distance_is_nought_for_one_distribution_and_grows_with_the_gap():
    reference, same = features(noise(120, 0)), features(noise(120, 1))
    near, far = features(noise(120, 2, contrast=24)), features(noise(120, 3, contrast=40))
    reference, same, near, far = standardise(reference, same, near, far)
    rng = np.random.default_rng(0)
    nought, error = kernel_distance(same, reference, rng)
    assert abs(nought) < 4 * error + 0.05
    small = kernel_distance(near, reference, rng)[0]
    large = kernel_distance(far, reference, rng)[0]
    assert nought + 0.5 < small < large / 5


def test_a_feature_that_nearly_never_varies_decides_nothing():
    """One that a single window of many wakes a little is no measure of how far others are."""
    rng = np.random.default_rng(0)
    alive = rng.standard_normal((3, 200, 40))
    reference, one, other = (np.column_stack([some, np.zeros(200)]) for some in alive)
    before = kernel_distance(*standardise(reference, one, other)[1:], generator(0, "subsets"))[0]
    reference[7, -1], one[3, -1] = 1e-5, 0.01
    after = kernel_distance(*standardise(reference, one, other)[1:], generator(0, "subsets"))[0]
    assert after == pytest.approx(before, abs=0.01)


def test_repeats_and_copies_are_seen():
    one, other = features(noise(10, 0)), features(noise(10, 1))
    assert np.allclose(nearest(one, np.concatenate([other, one])), 0, atol=1e-9)
    assert (nearest(one, other) > 0).all()
    assert spread(np.repeat(one[:1], 5, axis=0)) == 0 < spread(one)


@pytest.mark.parametrize("quarter", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_and_mirrored_copies_are_seen(quarter, mirrored):
    """A CycleGAN sees its patches that way."""
    training = noise(4, 0)
    copies = np.rot90(training, quarter, axes=(1, 2))
    copies = copies[:, ::-1] if mirrored else copies
    learned, reference = features(training), features(noise(20, 1))
    assert np.allclose(_nearest(copies, learned, reference), 0, atol=1e-3)
    assert (_nearest(noise(4, 2), learned, reference) > 1).all()


@pytest.fixture
def run(tmp_path, monkeypatch):
    # For the sake of time.
    monkeypatch.setattr(quality, "WINDOWS", 100)
    monkeypatch.setattr(quality, "IN_VIEWS", 50)
    settings = GeneratorSettings(width=4, depth=1)
    facts = {
        "kind": PAINTER,
        "generator": settings.model_dump(),
        "masks": MaskSettings().model_dump(),
    }

    def judged(latent, images, slide=None):
        network = build_generator(settings, 2 + latent, 3, init_std=0.3, seed=1)
        facts["latent_channels"] = latent
        write_weights(tmp_path / "g.safetensors", network.state_dict(), facts)
        shapes = PolygonSettings(fit=False)
        maps = [sample_polygons(generator(0, "quality", n), shapes, 64) for n in range(6)]
        write_stack(tmp_path / "maps.tif", (6, 64, 64), np.int32, maps)
        write_stack(tmp_path / "real.tif", (6, 64, 64, 3), np.uint8, noise(6, 5, side=64))
        write_stack(tmp_path / "made.tif", (6, 64, 64, 3), np.uint8, images)
        slide = noise(1, 7, side=200)[0] if slide is None else slide
        write_image(tmp_path / "slide.tif", slide)
        (tmp_path / "agreement.csv").write_text("pair,aji,dice\n0,0.25,0.5\n1,0.75,1.0\n")
        judge(
            [str(tmp_path / "made.tif")],
            [str(tmp_path / "maps.tif")],
            [tmp_path / "real.tif"] * 2,
            tmp_path / "maps.tif",
            [str(tmp_path / "slide.tif")],
            tmp_path / "g.safetensors",
            tmp_path / "agreement.csv",
            tmp_path / "quality.csv",
            tmp_path / "shapes.png",
            ComputeSettings(device="cpu", precision="float32", threads=1),
            seed=0,
        )
        return pd.read_csv(tmp_path / "quality.csv").set_index("measure")

    return judged


def test_the_table_knows_copies_from_strangers(run, tmp_path):
    copies = run(0, noise(6, 5, side=64))
    assert copies.loc["nearest training window", "synthetic"] == 0
    assert copies.loc["copies of training windows", "synthetic"] == 1
    assert "random-convolutions-1" in copies.loc["kernel distance (KID)", "meaning"]
    assert copies.loc["one mask, many images", "synthetic"] == 0
    assert copies.loc["agreement (AJI)", "synthetic"] == 0.5
    assert copies.loc["agreement (Dice)", "synthetic"] == 0.75
    shapes = [name for name in copies.index if name.startswith("shape: ")]
    assert len(shapes) == 6 and (copies.loc[shapes, "synthetic"] == 0).all()
    assert (copies.loc[shapes, "reference"] > 0).all()
    assert (tmp_path / "shapes.png").stat().st_size > 1000

    strangers = run(2, noise(6, 9, contrast=60, side=64))
    row = strangers.loc["kernel distance (KID)"]
    assert row["synthetic"] > 10 * abs(row["reference"])
    assert strangers.loc["one mask, many images", "synthetic"] > 0.01
    assert strangers.loc["nearest training window", "synthetic"] > 1
    assert strangers.loc["copies of training windows", "synthetic"] == 0


def test_windows_are_of_one_size_whatever_the_slides(run):
    """Small unseen slides do not make the windows of larger ones look like copies."""
    measured = run(0, noise(6, 9, side=64), noise(1, 7, side=300)[0][:48, :60])
    assert measured.loc["copies of training windows", "synthetic"] < 0.1
    row = measured.loc["nearest training window"]
    assert row["synthetic"] == pytest.approx(row["reference"], rel=0.2)


def test_windows_of_whole_slides_show_tissue():
    slide = np.full((600, 700, 3), 243, np.uint8)
    slide[80:330, 40:300] = noise(1, 7, side=300)[0][:250, :260]
    windows = _windows([slide, slide], generator(0, "windows"))
    assert len(windows) == 400
    assert min(tissue_mask(window).mean() for window in windows) >= 0.5
    # Of one with a crumb of tissue, what shows most of it: no window shows half.
    crumb = np.full((900, 900, 3), 243, np.uint8)
    crumb[400:460, 400:460] = slide[100:160, 60:120]
    shown = [tissue_mask(window).mean() for window in _windows([crumb], generator(0, "windows"))]
    assert np.mean(np.array(shown) > 0) > 0.8
    # Of a slide without any there is nothing else to see.
    assert (_windows([slide[400:]], generator(0, "windows")) == 243).all()


def test_few_copies_among_strangers_are_counted():
    training, strangers = features(noise(60, 0)), features(noise(98, 1))
    unseen = features(noise(100, 2))
    unseen, training, made = standardise(
        unseen, training, np.concatenate([strangers, training[:2] + 1e-6])
    )
    _, row = _memory_rows(nearest(made, training), nearest(unseen, training))
    assert 0.02 <= row["synthetic"] <= 0.06 and row["reference"] == 0.01


def test_solidity_of_a_square_and_of_a_cross():
    labels = np.zeros((40, 40), np.int32)
    labels[2:12, 2:12] = 1
    labels[15:36, 22:29] = labels[22:29, 15:36] = 2
    square, cross = _solidity(labels)
    assert square == 1 and 0.6 < cross < 0.8


def grid(radius, step, side=200):
    """Discs of one radius at one distance from each other, none at the border."""
    y, x = np.mgrid[:side, :side]
    centre = [(at // step + 0.5) * step for at in (y, x)]
    inside = np.hypot(y - centre[0], x - centre[1]) < radius
    numbers = (y // step) * (side // step) + x // step + 1
    return np.where(inside, numbers, 0).astype(np.int32)


def test_shapes_of_discs_of_known_size_and_distance():
    found = _shapes([grid(6, 20)], np.random.default_rng(0))
    assert found.keys() == SHAPES.keys()
    assert found["area"].mean() == pytest.approx(np.pi * 36, rel=0.05)
    assert found["elongation"].mean() == pytest.approx(1, abs=0.02)
    assert found["neighbour"].tolist() == pytest.approx([20] * 100)
    assert found["density"].tolist() == [100 * 1e6 / 200**2]


def test_the_distance_of_shapes_is_counted_in_standard_deviations():
    real = np.array([0.0, 2.0])
    row = _shape_row("area", real + 3, real)
    assert (row["measure"], row["synthetic"], row["reference"]) == ("shape: area", 3, 2)
    assert _shape_row("area", real * 2, real)["synthetic"] == 1
    # Nuclei that are all alike have no deviation to count in.
    assert np.isnan(_shape_row("area", real, np.ones(2))["synthetic"])
    assert np.isnan(_shape_row("area", np.zeros(0), real)["synthetic"])
    # Between the halves of a sample lies what chance makes.
    many = generator(0, "shapes").normal(50, 10, 2000)
    assert 0 < _shape_row("area", many, many)["reference"] < 0.15


def test_larger_sparser_polygons_are_seen_in_each_measure_that_they_change():
    rng = np.random.default_rng(0)
    ours, theirs = (_shapes(maps, rng) for maps in ([grid(8, 40)], [grid(4, 20), grid(6, 20)]))
    for name in ("area", "neighbour", "density"):
        assert abs(ours[name].mean() - theirs[name].mean()) > 10
    assert _shape_row("area", ours["area"], theirs["area"])["synthetic"] > 2


def test_woven_windows_are_told_from_those_that_are_only_others():
    rng = np.random.default_rng(0)
    stripes = 20 * np.cos(np.arange(64) * np.pi / 2)[:, None]

    def windows(pattern):
        grey = 128 + 10 * rng.standard_normal((60, 64, 64, 3)) + pattern[..., None]
        return grey.clip(0, 255).astype(np.uint8)

    train, unseen = (_spectrum(windows(np.zeros((64, 1)))) for _ in range(2))
    spectrum, woven = _spectrum_rows(_spectrum(windows(stripes)), train, unseen)
    assert spectrum["reference"] < 0.05 and spectrum["synthetic"] > 5 * spectrum["reference"]
    assert woven["reference"] < 1.2 and woven["synthetic"] > 10
    spectrum, woven = _spectrum_rows(train + 0.5, train, train)
    assert spectrum["synthetic"] == pytest.approx(0.5)
    assert woven["synthetic"] == pytest.approx(np.exp(0.5))
