"""Spectra of noise and waves that are known, and the loss that compares their means."""

import math

import pytest
import torch

from nucleigan.models.spectrum import BANDS, SpectrumLoss, spectra


def noise(std, count=40, side=64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return std * torch.randn(count, 3, side, side, generator=rng)


def test_white_noise_has_its_variance_in_every_band():
    spectrum = (spectra(noise(0.2) + 0.3).mean().mean(dim=0) - math.log(0.2**2)).exp()
    assert spectrum.shape == (BANDS, BANDS)
    # Of the logarithm of a mean of few powers the mean is below that of their mean.
    assert 0.7 < spectrum.mean().item() < 1
    # The mean of a window, which is taken away, lies in the four bands in the middle.
    around = (spectrum / spectrum.mean()).flatten().sort().values[4:]
    assert around.min() > 0.9 and around.max() < 1.1


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize(("vertical", "horizontal"), [(0, 5), (3, 0), (-6, 2)])
def test_a_wave_is_in_the_band_of_its_frequency(side, vertical, horizontal):
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    # In the middle of its band.
    waves = (vertical + 0.5) * rows + (horizontal + 0.5) * columns
    image = 0.5 * torch.cos(2 * torch.pi * waves / BANDS)
    spectrum = spectra(image.expand(1, 3, -1, -1)).mean().exp()[0]
    middle = BANDS // 2
    here = spectrum[middle + vertical, middle + horizontal]
    opposite = spectrum[middle - vertical - 1, middle - horizontal - 1]
    assert here.item() == pytest.approx(spectrum.max().item())
    # Half of the variance 0.5²/2 for each, a part of which lies in the bands beside; a band is one
    # of 16² of the plane.
    for power in (here, opposite):
        assert 0.6 < power.item() / (0.5**2 / 4 * BANDS**2) < 1


@pytest.mark.parametrize(("side", "bands"), [(1, 1), (8, 8), (16, 16), (20, 16), (40, 16)])
def test_images_may_be_small_or_odd(side, bands):
    assert spectra(noise(0.1, 2, side)).mean().shape == (3, bands, bands)


def test_an_even_image_has_the_spectrum_of_rounding_alone():
    spectrum = spectra(torch.full((1, 3, 32, 32), 0.3)).mean().exp()
    assert spectrum.max().item() == pytest.approx((2 / 255) ** 2 / 12, rel=1e-3)


def test_glass_is_left_out():
    tissue = noise(0.1, 20)
    glass = torch.full((1, 3, 64, 64), 0.95) + noise(0.005, 1)
    mixed = torch.cat([tissue, glass.expand(20, -1, -1, -1)])
    assert (spectra(mixed).mean() - spectra(tissue).mean()).abs().max().item() < 1e-5
    assert spectra(glass).windows == 0 and spectra(glass).mean().isnan().all()
    # Windows of the left third, a half apart.
    left = torch.cat([tissue[..., :32], glass.expand(20, -1, -1, -1)[..., :32]], dim=-1)
    assert spectra(left).windows == 20 * 3 * 2


def test_glass_alone_asks_for_nothing():
    loss = SpectrumLoss()
    painted = noise(0.1, 2).requires_grad_(True)
    far = loss(painted, torch.full((2, 3, 64, 64), 1.0))
    far.backward()
    assert far.item() == 0 and painted.grad.abs().max() == 0
    assert loss(torch.full((2, 3, 64, 64), 1.0), noise(0.2, 2)).item() > 1


def test_the_loss_is_the_squared_distance_of_logarithms():
    loss = SpectrumLoss()
    assert loss(noise(0.1), noise(0.1, seed=1)).item() == pytest.approx(0, abs=0.01)
    louder = SpectrumLoss()(noise(0.2), noise(0.1, seed=1)).item()
    assert louder == pytest.approx(torch.tensor(4.0).log().item() ** 2, rel=0.02)


@pytest.mark.parametrize(("painted", "real"), [(0.3, 0.1), (0.1, 0.3)])
def test_the_gradient_leads_to_the_spectrum_of_real_images(painted, real):
    gain = torch.tensor(painted).requires_grad_(True)
    optimiser = torch.optim.SGD([gain], 0.001)
    loss = SpectrumLoss()
    for step in range(400):
        optimiser.zero_grad()
        far = loss(gain * noise(1.0, 4, 32, 2 * step), noise(real, 4, 32, 2 * step + 1))
        far.backward()
        optimiser.step()
    assert abs(gain.item()) == pytest.approx(real, rel=0.1)


def test_images_may_differ_as_long_as_their_mean_spectrum_is_right():
    """Half of them loud and half of them quiet, as the real ones: nothing is to be mended."""
    loss = SpectrumLoss()
    mixed = torch.cat([noise(0.3, 20), noise(0.1, 20)])
    given = torch.cat([noise(0.1, 20, seed=1), noise(0.3, 20, seed=2)]).requires_grad_(True)
    assert loss(given, mixed).item() < 0.02
    given.grad = None
    far = torch.cat([noise(0.3, 40, seed=3)]).requires_grad_(True)
    SpectrumLoss()(far, mixed).backward()
    loss(given, mixed).backward()
    assert given.grad.norm() < 0.1 * far.grad.norm()


def test_it_goes_on_from_its_state():
    one, other = SpectrumLoss(), SpectrumLoss()
    for step in range(3):
        one(noise(0.1, seed=step), noise(0.2, seed=step + 10))
    other.load(one.state())
    assert one(noise(0.3), noise(0.1)) == other(noise(0.3), noise(0.1))
