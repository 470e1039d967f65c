"""How nuclei look: their colour, how much it differs from nucleus to nucleus, and their chromatin.

A discriminator of few steps learns where nuclei are and how dark, and the cycle of masks asks for
no more: painted nuclei become even. Here windows inside of them are compared with those inside of
annotated nuclei. What differs between two images of one mask can only come from the random numbers
beside it, so that neither the size of a nucleus nor rings along its border may stand for chromatin.
"""

from typing import Any

import torch

from nucleigan.models.running import RunningMeans
from nucleigan.models.spectrum import ROUNDING, power, windows

# Side of a window and how far the next one is, pixels; smaller nuclei hold none.
SIDE, STRIDE = 16, 8
# The part of a window that is nucleus.
LEAST_NUCLEUS = 0.8
# Colours that lie closer together than 0.02, of the range [-1, 1], are alike: the logarithm's slope
# would have no bound.
ALIKE = 0.02**2
# Brightness, red against blue, and green against both: nuclei differ in the first far more than in
# the others, and red, green and blue by themselves would not show it.
OPPONENT = torch.nn.functional.normalize(
    torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
)


class NucleiLoss:
    """Distance between the looks of painted and of annotated nuclei.

    The sum of three means: of log(1 + d²) over the differences d of mean colours, in standard
    deviations of the real windows' colours; of the same over the differences in the mean logarithm
    of how far colours lie apart; and of the squared differences in the mean logarithms of the
    windows' spectra.
    """

    def __init__(self) -> None:
        self._means = RunningMeans()

    def __call__(
        self,
        painted: torch.Tensor,
        painted_nuclei: torch.Tensor,
        real: torch.Tensor,
        real_nuclei: torch.Tensor,
    ) -> torch.Tensor:
        """Take the images of a step into the means; how far these are apart.

        Parameters
        ----------
        painted
            (B, 3, H, W) in [-1, 1], B even: each two of the same mask.
        painted_nuclei
            (B, H, W) bool.
        real
            (A, 3, H, W) in [-1, 1].
        real_nuclei
            (A, H, W) bool, nowhere true in images without annotation.

        Returns
        -------
        Scalar; 0 as long as either side had no window within a nucleus.
        """
        parts, theirs = windows(painted, SIDE, STRIDE), windows(real, SIDE, STRIDE)
        # Differences of two independent windows have twice the variance of one.
        apart = (parts[0::2] - parts[1::2]) / 2**0.5
        within = _within(painted_nuclei)[0::2]
        of_painted = _colour((parts[0::2] + parts[1::2]) / 2)
        looks = of_painted, _distance(_colour(apart)), _spectra(apart)
        colour, spread, texture = self._means.take(
            "painted", [_sum(part, within) for part in looks], within.sum()
        )
        real_within = _within(real_nuclei)
        count = real_within.sum()
        of_real = _colour(theirs)
        real_colour, square = self._means.take(
            "colour", [_sum(part, real_within) for part in (of_real, of_real.square())], count
        )
        around = _distance(of_real - real_colour[:, None])
        real_spread, real_texture = self._means.take(
            "real", [_sum(part, real_within) for part in (around, _spectra(theirs))], count
        )
        variance = (square - real_colour.square()).clamp(min=ALIKE)
        # Logarithms, since at first both are far apart, which would outweigh all other losses.
        far = ((colour - real_colour).square() / variance).log1p().mean()
        far = far + (spread - real_spread).square().log1p().mean()
        far = far + (texture - real_texture).square().mean()
        known = (self._means.windows("painted") > 0) & (self._means.windows("real") > 0)
        return far * known

    def state(self) -> dict[str, Any]:
        """The means so far."""
        return self._means.state()

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self._means.load(state)


@torch.no_grad()
def _within(nuclei: torch.Tensor) -> torch.Tensor:
    """Which windows of (B, H, W) lie in nuclei, (B, N) 0 or 1."""
    part = windows(nuclei[:, None].float(), SIDE, STRIDE).mean(dim=(-2, -1))[:, 0]
    return (part >= LEAST_NUCLEUS).to(part.dtype)


def _colour(parts: torch.Tensor) -> torch.Tensor:
    """Mean colours of windows (B, 3, N, S, S), in opponent colours, (B, 3, N)."""
    return torch.einsum("kc,bcn->bkn", OPPONENT.to(parts), parts.mean(dim=(-2, -1)))


def _distance(colours: torch.Tensor) -> torch.Tensor:
    """Logarithms of squares."""
    return (colours.square() + ALIKE).log()


def _spectra(parts: torch.Tensor) -> torch.Tensor:
    """Logarithms of the power of windows (..., S, S)."""
    return (power(parts) + ROUNDING).log()


def _sum(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Sum of (B, C, N, ...) over the windows kept, (C, ...)."""
    kept = kept[:, None].reshape(len(kept), 1, -1, *(1,) * (values.ndim - 3))
    return (values * kept).sum(dim=(0, 2))
