"""Tiles leave no seams and views are turned back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nucleigan.config import ComputeSettings
from nucleigan.segmentation import Segmenter
from nucleigan.segmentation.tiles import TOGETHER, predict
from nucleigan.training.compute import prepare
from nucleigan.training.data import to_network

COMPUTE = prepare(ComputeSettings(device="cpu", precision="float32", threads=1))


class Pointwise(nn.Module):
    """A network whose answer at a pixel depends on that pixel alone."""

    factor = 8

    def forward(self, x):
        assert x.shape[2] % self.factor == 0 and x.shape[3] % self.factor == 0
        return x[:, :2] * 0.7


class Smooth(nn.Module):
    """A network that sees 7×7 pixels."""

    factor = 4

    def forward(self, x):
        return nn.functional.avg_pool2d(x, 7, 1, 3, count_include_pad=False)


@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 150), width=st.integers(1, 150), views=st.sampled_from([1, 2, 4, 8]))
def test_a_pointwise_network_is_reproduced_exactly(height, width, views):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = predict(Pointwise(), image, COMPUTE, tile=32, overlap=8, views=views)
    assert mask.shape == (2, height, width)
    assert np.allclose(mask, np.tanh(0.7 * to_network(image)[:2]), atol=1e-6)


def test_tiles_equal_the_whole_image_when_the_overlap_covers_the_field_of_view():
    image = np.random.default_rng(0).integers(0, 256, (200, 170, 3), dtype=np.uint8)
    tiled = predict(Smooth(), image, COMPUTE, tile=64, overlap=32)
    whole = predict(Smooth(), image, COMPUTE, tile=512, overlap=32)
    # Only the outermost 3 pixels of a tile see its border, where blending leaves little weight.
    assert np.abs(tiled - whole).max() < 0.05
    assert np.abs(tiled - whole).mean() < 2e-3


@pytest.mark.parametrize("together", [1, 3, 8])
@pytest.mark.parametrize("views", [2, 8])
def test_views_of_a_directed_network_average(views, together, monkeypatch):
    """A network that looks right only: the average of all views must look everywhere."""
    monkeypatch.setitem(TOGETHER, "cpu", together)

    class Right(nn.Module):
        factor = 1

        def forward(self, x):
            return torch.roll(x, 1, dims=3)[:, :1]

    image = np.zeros((16, 16, 3), np.uint8)
    image[8, 8] = 255
    mask = predict(Right(), image, COMPUTE, tile=16, overlap=0, views=views)
    lit = {(int(y), int(x)) for y, x in np.argwhere(mask[0] > mask.min() + 0.01)}
    sides = {(8, 9), (8, 7)} if views == 2 else {(8, 9), (8, 7), (9, 8), (7, 8)}
    assert lit == sides


def test_scales_show_larger_and_smaller_tiles_and_average_at_the_image():
    seen = []

    class Sized(Pointwise):
        def forward(self, x):
            seen.append(x.shape[-1])
            return super().forward(x) + len(seen)

    y, x = np.mgrid[:64, :64]
    blob = 255 * np.exp(-((y - 30) ** 2 + (x - 40) ** 2) / 200)
    image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    # 1.3 of 64 is 83.2 pixels, which the network rounds to 80.
    mask = predict(Sized(), image, COMPUTE, tile=64, overlap=0, scales=(0.5, 1.0, 1.3))
    assert seen == [32, 64, 80]
    pointwise = 0.7 * to_network(image)[:2]
    average = sum(np.tanh(pointwise + call) for call in (1, 2, 3)) / 3
    assert np.abs(mask - average).max() < 0.02
    # A blob that moved by a pixel would differ by more.
    assert np.abs(np.roll(mask, 1, axis=2) - average).max() > 0.04


def test_lengths_seen_enlarged_are_those_of_the_image():
    class Ruler(nn.Module):
        """The side of what it sees, in thousands of pixels."""

        factor, lengths = 16, True

        def forward(self, x):
            return torch.full_like(x[:, :1], np.arctanh(x.shape[-1] / 1000))

    image = np.zeros((64, 64, 3), np.uint8)
    mask = predict(Ruler(), image, COMPUTE, tile=64, overlap=0, views=2, scales=(0.5, 1.0, 1.3))
    np.testing.assert_allclose(mask, 0.064, rtol=1e-5)


@pytest.mark.parametrize("place", [(10, 36), (40, 36), (46, 40)])
def test_a_nucleus_that_reaches_into_glass_is_whole(place):
    """Of its few pixels beyond a tile's border the next tile says nothing."""
    y, x = np.mgrid[:96, :96]
    image = np.full((96, 96, 3), 245, np.uint8)
    image[np.hypot(y - place[0], x - place[1]) < 5] = 90
    seen = predict(Pointwise(), image, COMPUTE, tile=48, overlap=16)
    mask = predict(Pointwise(), image, COMPUTE, tile=48, overlap=16, least_tissue=0.02)
    nucleus = image[..., 0] < 200
    np.testing.assert_allclose(mask[:, nucleus], seen[:, nucleus], atol=1e-6)
    assert (mask[:, -16:] == -1).all() and (mask[:, :, -16:] == -1).all()


@pytest.mark.parametrize("shift", [(0.25, -0.5), (-1.0, 0.0), (0.0, 1.0)])
def test_a_shift_moves_what_is_found_across_tiles(shift):
    """A blurred disc's centre of mass moves right and down by as much."""
    rows, columns = np.mgrid[:96, :80]
    disc = 255.0 * np.exp(-((rows - 50) ** 2 + (columns - 37) ** 2) / 50)
    image = np.repeat(disc[..., None], 3, axis=2).astype(np.uint8)

    def centre(moved):
        mask = predict(Pointwise(), image, COMPUTE, tile=32, overlap=16, views=4, shift=moved)[0]
        height = mask - mask.min()
        return np.array([(height * columns).sum(), (height * rows).sum()]) / height.sum()

    assert centre(shift) - centre((0.0, 0.0)) == pytest.approx(shift, abs=0.02)


def test_on_glass_a_method_without_network_finds_nothing(model):
    """Otsu's threshold is found in noise as well."""
    image = np.random.default_rng(0).normal(245, 3, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    segmenter = Segmenter.load(model(method="classical"), ComputeSettings(device="cpu"))
    assert segmenter.segment(image, normalize=False).max() == 0
    image[40:60, 40:60] = (90, 40, 120)
    assert segmenter.segment(image, normalize=False).max() > 0


def test_a_shift_moves_what_a_method_without_network_finds(model):
    """By as much as that of a network, so that methods are compared on the same terms."""
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    as_found, half = (
        Segmenter.load(
            model(method="classical", prediction={"shift": shift}), ComputeSettings(device="cpu")
        ).predict(image)
        for shift in ((0.0, 0.0), (-0.5, 0.5))
    )
    # Half a pixel to the left and down: the mean of a pixel, the next one, and those above both.
    across = (as_found[:, :, :-1] + as_found[:, :, 1:]) / 2
    assert half[:, 1:, :-1] == pytest.approx((across[:, :-1] + across[:, 1:]) / 2, abs=1e-6)
