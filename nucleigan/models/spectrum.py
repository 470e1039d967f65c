"""How strongly images vary at each spatial frequency, where generators leave their traces.

Layers that enlarge what they are given weave patterns of a few frequencies into images, or leave
fine ones out (Durall et al. 2020).
"""

from typing import Any, NamedTuple

import torch
from torch.nn import functional

from nucleigan.slides.tissue import GLASS, LUMINANCE
from nucleigan.training import processes

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
# What a step leaves of the sums before it; 50 steps of images are enough to know a spectrum by.
DECAY = 0.98


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
    parts = images.unfold(-2, side, side // 2).unfold(-2, side, side // 2).flatten(2, 3)
    window = torch.hann_window(side, periodic=False, device=images.device, dtype=images.dtype)
    window = window[:, None] * window
    varying = parts - parts.mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.fft2(varying * window).abs().square() / window.square().sum()
    shifted = torch.fft.fftshift(power, dim=(-2, -1)).flatten(1, 2)
    # Not adaptive, whose gradient follows no fixed order on a GPU.
    bands = functional.avg_pool2d(shifted, max(1, side // BANDS)).unflatten(1, parts.shape[1:3])
    kept = (_tissue(parts) >= LEAST_TISSUE).to(images.dtype)
    logarithms = (bands + ROUNDING).log() * kept[:, None, :, None, None]
    return Spectra(logarithms.sum(dim=(0, 2)), kept.sum())


@torch.no_grad()
def _tissue(parts: torch.Tensor) -> torch.Tensor:
    """The part of tissue in windows (B, 3, N, H, W), (B, N)."""
    luminance = torch.einsum("bcnhw,c->bnhw", parts, torch.from_numpy(LUMINANCE).to(parts))
    return (luminance < GLASS / 127.5 - 1).to(parts.dtype).mean(dim=(-2, -1))


class SpectrumLoss:
    """The squared distance of the mean spectra of painted and of real images.

    The means run over the images of many steps: those of one step say little, and all images must
    not get one and the same spectrum. The gradient is that of the distance of the means.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Spectra] = {}

    def __call__(self, painted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Take the images of a step, each (B, C, H, W), into the means; how far these are apart."""
        found = spectra(painted)
        everywhere = self._add("painted", found)
        self._add("real", spectra(real))
        apart = (self._sums["painted"].mean() - self._sums["real"].mean()).nan_to_num()
        # The windows of all processes count alike; these average their gradients.
        mean = found.total * processes.count() / everywhere.windows.clamp(min=1)
        slope = (2 * apart * mean).mean()
        return apart.square().mean() + slope - slope.detach()

    def _add(self, kind: str, found: Spectra) -> Spectra:
        """Take the spectra of all processes into a sum that forgets; those of this step alone."""
        now = Spectra(*(processes.gather(part.detach()[None]).sum(dim=0) for part in found))
        sums = now
        if kind in self._sums:
            both = zip(now, self._sums[kind], strict=True)
            sums = Spectra(*(new + DECAY * old.to(new) for new, old in both))
        self._sums[kind] = sums
        return now

    def state(self) -> dict[str, Any]:
        """The sums so far."""
        return {kind: list(sums) for kind, sums in self._sums.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self._sums = {kind: Spectra(*sums) for kind, sums in state.items()}
