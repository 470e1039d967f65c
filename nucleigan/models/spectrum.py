"""How strongly images vary at each spatial frequency, where generators leave their traces.

Layers that enlarge what they are given weave patterns of a few frequencies into images, or leave
fine ones out (Durall et al. 2020).
"""

from typing import Any

import torch
from torch.nn import functional

from nucleigan.training import processes

# Spectra are of windows of this side, pixels, half of it apart: those of whole images hide flat
# tissue beside sharp borders.
SIDE = 32
# Bands each way, from the highest negative frequency to the highest positive one: 16² of them, of
# 1/16 cycle a pixel.
BANDS = 16
# Variance of a pixel in [-1, 1] from rounding to 256 values: finer is not seen in real images.
ROUNDING = (2 / 255) ** 2 / 12
# Of the running means, a step; some 50 steps of images are enough to know a spectrum by.
DECAY = 0.98


def log_spectrum(images: torch.Tensor) -> torch.Tensor:
    """Mean logarithm of the power that windows of images have at spatial frequencies.

    Parameters
    ----------
    images
        (B, C, H, W) float32 in [-1, 1].

    Returns
    -------
    (B, C, 16, 16), or a band a pixel of smaller images: from the lowest frequency in rows and
    columns to the highest, each of the mean power of a band, to which that of rounding to 8 bits is
    added. White noise has about its variance in all of them.
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
    bands = functional.avg_pool2d(shifted, max(1, side // BANDS))
    return (bands + ROUNDING).log().unflatten(1, (images.shape[1], -1)).mean(dim=2)


class SpectrumLoss:
    """The squared distance of the mean spectra of painted and of real images.

    The means run over the images of many steps: those of one step say little, and all images must
    not get one and the same spectrum. The gradient is that of the distance of the means.
    """

    def __init__(self) -> None:
        self._means: dict[str, torch.Tensor] = {}

    def __call__(self, painted: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Take the images of a step, each (B, C, H, W), into the means; how far these are apart."""
        found = log_spectrum(painted)
        self._update("painted", found.detach())
        self._update("real", log_spectrum(real))
        apart = self._means["painted"] - self._means["real"]
        slope = (2 * apart * found).mean()
        return apart.square().mean() + slope - slope.detach()

    def _update(self, kind: str, found: torch.Tensor) -> None:
        now = processes.gather(found).mean(dim=0)
        self._means[kind] = now.lerp(self._means.get(kind, now).to(now), DECAY)

    def state(self) -> dict[str, Any]:
        """The means so far."""
        return dict(self._means)

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self._means = dict(state)
