"""How strongly images vary at each spatial frequency, where generators leave their traces.

Layers that enlarge what they are given weave patterns of a few frequencies into images, or leave
fine ones out (Durall et al. 2020).
"""

from typing import Any, NamedTuple

import torch
from torch.nn import functional

from nucleigan.models.running_means import RunningMeans
from nucleigan.slides.tissue import GLASS, LUMINANCE

# Spectra are of windows of this side, pixels, half of it apart: those of whole images hide flat
# tissue beside sharp borders.
SIDE = 32
# Bands each way, from the highest negative frequency to the highest positive one: 16² of them, of
# 1/16 cycle a pixel.
BANDS = 16
# A window with less tissue is left out: glass has next to no power, whose logarithm would outweigh
# that of all tissue.
LEAST_TISSUE = 0.5
# Variance of a pixel in [-1, 1] from rounding to 256 values: finer is not seen in real images.
ROUNDING = (2 / 255) ** 2 / 12


class Spectra(NamedTuple):
    """Logarithms of the power of windows of tissue, added up.

    Attributes
    ----------
    total
        (C, B, B): from the lowest frequency in rows and columns to the highest, each of the mean
        power of a band, to which that of rounding to 8 bits is added.
    windows
        How many, ().
    """

    total: torch.Tensor
    windows: torch.Tensor

    def mean(self) -> torch.Tensor:
        """(C, B, B), NaN without windows. White noise has about its variance in all bands."""
        return self.total / self.windows


def spectra(images: torch.Tensor) -> Spectra:
    """Spectra of the windows of images that hold tissue, in 16×16 bands.

    Parameters
    ----------
    images
        (B, 3, H, W) float32 in [-1, 1]. Of fewer than 16 pixels a side each frequency is a band.
    """
    side = min(SIDE, *images.shape[-2:])
    side = side // BANDS * BANDS or side
    parts = windows(images, side, max(1, side // 2))
    shifted = torch.fft.fftshift(power(amplitudes(parts)), dim=(-2, -1)).flatten(1, 2)
    # Not adaptive, whose gradient follows no fixed order on a GPU.
    bands = functional.avg_pool2d(shifted, max(1, side // BANDS)).unflatten(1, parts.shape[1:3])
    kept = (_tissue(parts) >= LEAST_TISSUE).to(images.dtype)
    logarithms = (bands + ROUNDING).log() * kept[:, None, :, None, None]
    return Spectra(logarithms.sum(dim=(0, 2)), kept.sum())


def windows(images: torch.Tensor, side: int, stride: int) -> torch.Tensor:
    """The windows of images (B, C, H, W), row by row, (B, C, N, side, side)."""
    return images.unfold(-2, side, stride).unfold(-2, side, stride).flatten(2, 3)


def amplitudes(parts: torch.Tensor) -> torch.Tensor:
    """Complex amplitudes of windows (..., S, S) around their means, as ``torch.fft.fft2`` has them.

    Their squares, the power, are at all frequencies but the lowest the variance of white noise.
    """
    side = parts.shape[-1]
    window = torch.hann_window(side, periodic=False, device=parts.device, dtype=parts.dtype)
    window = window[:, None] * window
    varying = parts - parts.mean(dim=(-2, -1), keepdim=True)
    return torch.fft.fft2(varying * (window / window.square().sum().sqrt()))


def power(waves: torch.Tensor) -> torch.Tensor:
    """Squares of complex amplitudes; by way of their absolute values it would take roots."""
    return waves.real.square() + waves.imag.square()


@torch.no_grad()
def _tissue(parts: torch.Tensor) -> torch.Tensor:
    """The part of tissue in windows (B, 3, N, H, W), (B, N)."""
    luminance = torch.einsum("bcnhw,c->bnhw", parts, torch.from_numpy(LUMINANCE).to(parts))
    return (luminance < GLASS / 127.5 - 1).to(parts.dtype).mean(dim=(-2, -1))


class SpectrumLoss:
    """The squared distance of the mean spectra of painted and of real images.

    All images must not get one and the same spectrum: the means run over the images of many steps.
    """

    def __init__(self) -> None:
        self._means = RunningMeans()

    def __call__(self, painted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Take the images of a step, each (B, C, H, W), into the means; how far these are apart.

        0 as long as either side had no window of tissue.
        """
        (ours,), (theirs,) = (
            self._means.take(kind, [found.total], found.windows)
            for kind, found in (("painted", spectra(painted)), ("real", spectra(real)))
        )
        return (ours - theirs).square().mean() * self._means.known()

    def state(self) -> dict[str, Any]:
        """The means so far."""
        return self._means.state()

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self._means.load(state)
