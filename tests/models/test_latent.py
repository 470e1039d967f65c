"""Random numbers beside a mask: what they follow, and how far they reach."""

import numpy as np
import pytest
import torch

from nucleigan.models.painter import SMOOTHNESS, draw_latent


def test_half_of_them_are_constant_over_an_image():
    drawn = draw_latent(4, 32, 48, [1, 2, 3])
    assert drawn.shape == (3, 4, 32, 48)
    assert (drawn[:, :2].flatten(2).std(dim=2) == 0).all()
    assert len(drawn[:, :2, 0, 0].unique()) == 6


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 96)])
def test_the_others_are_standard_normal(height, width):
    local = draw_latent(4, height, width, list(range(200)))[:, 2:].numpy()
    # Of each pixel alone, and smooth.
    for channel in (0, 1):
        over_images = local[:, channel].std(axis=0)
        assert over_images.mean() == pytest.approx(1, abs=0.05)
        assert over_images.min() > 0.8 and over_images.max() < 1.25
        assert abs(local[:, channel].mean()) < 0.2


def test_smooth_numbers_resemble_each_other_as_far_as_a_nucleus_reaches():
    """Noise under a Gaussian of σ resembles itself at a distance d by exp(-d² / 4σ²)."""
    pixel, smooth = draw_latent(2 * 2, 128, 128, list(range(50)))[:, 2:].numpy().swapaxes(0, 1)
    for apart in (4, 8, 16):
        expected = np.exp(-(apart**2) / (4 * SMOOTHNESS**2))
        for axis in (1, 2):
            found = (smooth * np.roll(smooth, apart, axis)).mean()
            assert found == pytest.approx(expected, abs=0.05)
            assert (pixel * np.roll(pixel, apart, axis)).mean() == pytest.approx(0, abs=0.01)


def test_they_follow_the_seed_alone():
    torch.manual_seed(1)
    first = draw_latent(5, 16, 16, [3, 4])
    torch.manual_seed(2)
    again = draw_latent(5, 16, 16, [4, 3])
    assert torch.equal(first, again.flip(0))
    assert draw_latent(0, 16, 16, [1, 2]).shape == (2, 0, 16, 16)
