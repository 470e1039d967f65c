"""Random polygon maps: limits, repeatability, and statistics that follow the settings."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label

from nucleigan.artifacts import open_stack, read_json
from nucleigan.config import PolygonSettings
from nucleigan.errors import NucleiganError
from nucleigan.masks import fit_polygons, fit_sampler, sample_polygons, write_polygons
from nucleigan.masks.polygons import _place, outlines, rasterise
from nucleigan.randomness import generator
from nucleigan.slides import read_labels, read_sheet

PLAIN = PolygonSettings(fit=False)


def maps(count, polygons=PLAIN, size=256, seed=0):
    return [sample_polygons(generator(seed, "polygon", n), polygons, size) for n in range(count)]


def whole_areas(labels):
    """Areas of the nuclei that the border does not cut."""
    areas = np.bincount(labels.ravel())
    border = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    areas[border] = 0
    areas[0] = 0
    return areas[areas > 0]


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([64, 128, 200]))
def test_maps_are_label_maps(seed, size):
    labels = sample_polygons(generator(seed, "x"), PLAIN, size)
    assert labels.shape == (size, size) and labels.dtype == np.int32
    ids = np.unique(labels)
    assert np.array_equal(ids[ids > 0], np.arange(1, len(ids[ids > 0]) + 1))


def test_density_and_area_follow_the_settings():
    wanted = PolygonSettings(
        density=40, density_spread=0.2, sparse_fraction=0, area=300, area_spread=0.2,
        area_spread_between=0, density_area_correlation=0, clustering=0,
    )  # fmt: skip
    drawn = maps(60, wanted)
    # Nuclei cut by the border count as well: half of those that straddle it belong to a patch.
    counts = [labels.max() for labels in drawn]
    assert np.mean(counts) == pytest.approx(40, rel=0.25)
    areas = np.concatenate([whole_areas(labels) for labels in drawn])
    assert np.median(areas) == pytest.approx(300, rel=0.1)


def test_border_nuclei_are_cut():
    cut = sum(
        np.count_nonzero(np.unique(np.r_[one[0], one[-1], one[:, 0], one[:, -1]]))
        for one in maps(20)
    )
    assert cut > 40


def test_nuclei_are_as_dense_at_the_border_as_in_the_middle():
    wanted = PolygonSettings(density=40, area=300, area_spread=0.2, sparse_fraction=0, clustering=0)
    covered = np.mean([one > 0 for one in maps(80, wanted, size=128)], axis=0)
    frame = np.ones((128, 128), bool)
    frame[6:-6, 6:-6] = False
    middle = covered[16:-16, 16:-16].mean()
    # Without nuclei whose centres lie outside the border has .88 of it.
    assert covered[frame].mean() == pytest.approx(middle, rel=0.06)


def test_some_patches_are_sparse():
    wanted = PolygonSettings(sparse_fraction=0.5, density=60, density_spread=0.1)
    counts = np.array([labels.max() for labels in maps(60, wanted)])
    assert 15 <= np.count_nonzero(counts < 25) <= 45


def test_elongation_follows_the_settings():
    def median_elongation(value):
        wanted = PolygonSettings(elongation=value, elongation_spread=0.05, irregularity=0.02)
        ratios = []
        for labels in maps(10, wanted):
            for number, box in enumerate(ndimage.find_objects(labels), 1):
                y, x = np.nonzero(labels[box] == number)
                if len(y) > 80:
                    lengths = np.sqrt(np.linalg.eigvalsh(np.cov(y, x)))
                    ratios.append(lengths[1] / lengths[0])
        return np.median(ratios)

    assert median_elongation(1.1) < 1.35 < median_elongation(1.9)


@given(cut=st.integers(1, 9))
@settings(max_examples=5)
def test_shards_do_not_matter(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("shards")
    write_polygons(folder / "whole.tif", 0, 10, 7, 64, PLAIN)
    write_polygons(folder / "a.tif", 0, cut, 7, 64, PLAIN)
    write_polygons(folder / "b.tif", cut, 10, 7, 64, PLAIN)
    parts = np.concatenate([open_stack(folder / name) for name in ("a.tif", "b.tif")])
    assert np.array_equal(open_stack(folder / "whole.tif"), parts)


def test_fitting_recovers_what_was_drawn():
    wanted = PolygonSettings(
        density=50, density_spread=0.3, sparse_fraction=0, area=400, area_spread=0.3,
        area_spread_between=0.1, elongation=1.4, clustering=0,
    )  # fmt: skip
    fitted = fit_polygons(maps(24, wanted, size=512), PolygonSettings())
    assert fitted.density == pytest.approx(50, rel=0.2)
    assert fitted.area == pytest.approx(400, rel=0.1)
    assert fitted.area_spread == pytest.approx(0.3, abs=0.08)
    assert fitted.elongation == pytest.approx(1.4, abs=0.12)


@pytest.mark.parametrize(("irregularity", "clustering"), [(0.05, 0.1), (0.12, 0.5)])
def test_fitting_recovers_outlines_and_neighbours(irregularity, clustering):
    wanted = PolygonSettings(
        density=50, density_spread=0.6, sparse_fraction=0, area=400, area_spread=0.3,
        area_spread_between=0.2, elongation=1.4, irregularity=irregularity, clustering=clustering,
        density_area_correlation=-0.5,
    )  # fmt: skip
    fitted = fit_polygons(maps(24, wanted, size=512, seed=3), PolygonSettings())
    assert fitted.irregularity == pytest.approx(irregularity, abs=0.02)
    assert fitted.clustering == pytest.approx(clustering, abs=0.12)
    assert fitted.density_spread == pytest.approx(0.6, abs=0.2)
    assert fitted.area_spread_between == pytest.approx(0.2, abs=0.06)
    assert fitted.density_area_correlation == pytest.approx(-0.5, abs=0.25)
    assert fitted.sparse_fraction < 0.1


def test_nuclei_longer_than_any_that_is_drawn_are_fitted_as_the_longest(tmp_path):
    labels = np.zeros((512, 512), np.int32)
    for number, (top, left) in enumerate(itertools.product(range(8, 500, 24), (8, 140, 270)), 1):
        labels[top : top + 4, left : left + 60] = number
    fitted = fit_polygons([labels], PolygonSettings())
    assert fitted.elongation == 4
    # As the next stage reads it.
    PolygonSettings.model_validate(fitted.model_dump())


def test_nuclei_that_lie_far_apart_have_their_spread_as_well():
    """Two in each window say nothing of a window, and all together of the slides."""
    rng = np.random.default_rng(0)
    maps = []
    for _ in range(12):
        labels = np.zeros((512, 512), np.int32)
        for number, (top, left) in enumerate(itertools.product((60, 180, 320, 440), (60, 320)), 1):
            radius = np.sqrt(350 * np.exp(rng.normal(0, 0.5)) / np.pi)
            y, x = np.mgrid[:512, :512]
            labels[np.hypot(y - top, x - left) < radius] = number
        maps.append(labels)
    fitted = fit_polygons(maps, PolygonSettings())
    assert 0.35 < fitted.area_spread < 0.65 and fitted.area_spread_between == 0


def test_glass_around_the_nuclei_is_warned_of(capsys):
    wanted = PolygonSettings(density=40, sparse_fraction=0)
    drawn = maps(4, wanted, size=512)
    fit_polygons(drawn, PolygonSettings())
    assert "warning" not in capsys.readouterr().out
    fit_polygons([np.pad(one, (0, 1024)) for one in drawn], PolygonSettings())
    assert "warning: 89% of the windows" in capsys.readouterr().out


def test_too_few_nuclei_to_fit_is_said(tmp_path):
    with pytest.raises(NucleiganError, match=r"polygons\.fit"):
        fit_polygons([np.zeros((256, 256), np.int32)], PolygonSettings())


def test_given_settings_are_written_unchanged(tmp_path):
    fit_sampler([], tmp_path / "sampler.json", PLAIN)
    assert PolygonSettings(**read_json(tmp_path / "sampler.json")) == PLAIN


def test_fitted_maps_look_like_the_real_nuclei(real_data):
    sheet = [s for s in read_sheet(real_data / "kumar" / "slides.csv") if s.split == "train"]
    real = [read_labels(slide.annotation, (1000, 1000)) for slide in sheet]
    fitted = fit_polygons(real, PolygonSettings())
    drawn = maps(200, fitted)
    density = np.mean([(labels > 0).mean() for labels in drawn])
    assert density == pytest.approx(np.mean([(labels > 0).mean() for labels in real]), rel=0.2)
    areas = [np.concatenate([whole_areas(one) for one in group]) for group in (drawn, real)]
    assert np.median(areas[0]) == pytest.approx(np.median(areas[1]), rel=0.15)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), overlap=st.floats(0, 0.3), clustering=st.floats(0, 1))
def test_every_id_is_one_piece(seed, overlap, clustering):
    wanted = PolygonSettings(overlap=overlap, clustering=clustering, irregularity=0.2)
    labels = sample_polygons(generator(seed, "x"), wanted, 128)
    assert label(labels, connectivity=2).max() == labels.max()


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), overlap=st.floats(0, 0.3), clustering=st.floats(0, 1))
def test_nothing_is_covered_beyond_the_limit(seed, overlap, clustering):
    """Draw the same shapes alone, and compare what the canvas left of each."""
    wanted = PolygonSettings(overlap=overlap, clustering=clustering)
    number, rng = 40, generator(seed, "x")
    shapes = outlines(rng, np.full(number, 300.0), np.full(number, 1.5), np.zeros(number), 0.06, 24)
    state = rng.bit_generator.state
    canvas = _place(rng, shapes, 220, wanted)
    rng.bit_generator.state = state
    whole = rasterise(shapes + rng.random((number, 1, 2)) - 0.5)[0].sum(axis=(1, 2))
    left = np.bincount(canvas.ravel(), minlength=number + 1)[1 : number + 1]
    cut = np.unique(np.r_[canvas[0], canvas[-1], canvas[:, 0], canvas[:, -1]])
    placed = (left > 0) & ~np.isin(np.arange(1, number + 1), cut)
    assert np.all(left[placed] >= (1 - overlap) * whole[placed] - 1e-9)


def test_a_square_is_rasterised_exactly():
    square = np.array([[[1.5, 2.5], [5.5, 2.5], [5.5, 4.5], [1.5, 4.5]]])
    masks, origins = rasterise(square)
    y, x = np.nonzero(masks[0])
    assert origins.tolist() == [[1, 2]]
    assert sorted(set(x + 1)) == [2, 3, 4, 5] and sorted(set(y + 2)) == [3, 4] and len(x) == 8
