"""How nuclei look: their colour, how much it differs from nucleus to nucleus, and their chromatin.

A discriminator of few steps learns where nuclei are and how dark, and the cycle of masks asks for
no more: painted nuclei become even. Here windows inside of them are compared with those inside of
annotated nuclei. What differs between two images of one mask can only come from the random numbers
beside it, so that neither the size of a nucleus nor rings along its border may stand for chromatin.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from nucleigan.models.running_means import RunningMeans
from nucleigan.models.spectrum import ROUNDING, amplitudes, power, windows

# Side of a window and how far the next one is, pixels; smaller nuclei hold none.
SIDE, STRIDE = 16, 8
# The part of a window that is nucleus.
LEAST_NUCLEUS = 0.8
# Colours that lie closer together than 0.02, of the range [-1, 1], are alike: the logarithm's slope
# would have no bound.
ALIKE = 0.02**2
# Two images of one mask have their nuclei in the same places, two annotated images do not: there
# each window of one is compared with as many of the other.
SHIFTS = 8


class _Looks(NamedTuple):
    """Sums over windows within nuclei, and over pairs of such windows of two images.

    Attributes
    ----------
    colour, square
        Of opponent colours and their squares, (3,).
    windows
        How many of them.
    spread, texture
        Logarithms of squared differences of colours, (3,), and of the power of differences of
        windows, (3, S, S), each of half the square: of the variance of one.
    pairs
        How many of them.
    """

    colour: torch.Tensor
    square: torch.Tensor
    windows: torch.Tensor
    spread: torch.Tensor
    texture: torch.Tensor
    pairs: torch.Tensor


class NucleiLoss:
    """Distance between the looks of painted and of annotated nuclei.

    The sum of three means: of log(1 + d²) over the differences d of mean colours, in standard
    deviations of the real windows' colours; of the same over the differences in the mean logarithm
    of how far the colours of two windows lie apart; and of the squared differences in the mean
    logarithm of the spectrum of what two windows differ by.
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
            (A, 3, H, W) in [-1, 1], A even.
        real_nuclei
            (A, H, W) bool.

        Returns
        -------
        Scalar; 0 as long as one of the two has shown no pair of windows within nuclei.
        """
        ours = self._take("painted", _looks(painted, painted_nuclei, [0]))
        count = windows(real_nuclei[:, None], SIDE, STRIDE).shape[2]
        shifts = [count * place // SHIFTS for place in range(SHIFTS)]
        theirs = self._take("real", _looks(real, real_nuclei, shifts))
        colour, _, spread, texture = ours
        real_colour, real_square, real_spread, real_texture = theirs
        variance = (real_square - real_colour.square()).clamp(min=ALIKE)
        # Logarithms, since at first both are far apart, which would outweigh all other losses.
        far = ((colour - real_colour).square() / variance).log1p().mean()
        far = far + (spread - real_spread).square().log1p().mean()
        far = far + (texture - real_texture).square().mean()
        return far * self.known()

    def _take(self, kind: str, looks: _Looks) -> list[torch.Tensor]:
        colours = self._means.take(f"{kind} windows", [looks.colour, looks.square], looks.windows)
        return colours + self._means.take(
            f"{kind} pairs", [looks.spread, looks.texture], looks.pairs
        )

    def known(self) -> torch.Tensor:
        """Whether both have shown pairs of windows within nuclei, after the first step."""
        return self._means.known()

    def state(self) -> dict[str, Any]:
        """The means so far."""
        return self._means.state()

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self._means.load(state)


def _looks(images: torch.Tensor, nuclei: torch.Tensor, shifts: Sequence[int]) -> _Looks:
    """Of images (B, 3, H, W), each two of them compared, and their nuclei (B, H, W).

    A window is compared with those that lie so many windows further in the other image.
    """
    parts = windows(images, SIDE, STRIDE)
    within = _within(nuclei)
    colours = _opponent(parts.mean(dim=(-2, -1)))
    waves = amplitudes(parts)
    spread, texture, pairs = [], [], []
    for shift in shifts:
        kept = within[0::2] * within[1::2].roll(shift, dims=1)
        apart = colours[0::2] - colours[1::2].roll(shift, dims=2)
        spread.append(_sum((apart.square() / 2 + ALIKE).log(), kept))
        differing = power(waves[0::2] - waves[1::2].roll(shift, dims=2)) / 2
        texture.append(_sum((differing + ROUNDING).log(), kept))
        pairs.append(kept.sum())
    return _Looks(
        _sum(colours, within),
        _sum(colours.square(), within),
        within.sum(),
        *(torch.stack(some).sum(dim=0) for some in (spread, texture, pairs)),
    )


@torch.no_grad()
def _within(nuclei: torch.Tensor) -> torch.Tensor:
    """Which windows of (B, H, W) lie in nuclei, (B, N) 0 or 1."""
    part = windows(nuclei[:, None].float(), SIDE, STRIDE).mean(dim=(-2, -1))[:, 0]
    return (part >= LEAST_NUCLEUS).to(part.dtype)


def _opponent(colours: torch.Tensor) -> torch.Tensor:
    """Brightness, red against blue, and green against both, of (B, 3, N) red, green and blue.

    Nuclei differ in the first far more than in the others, which red, green and blue by themselves
    would not show.
    """
    red, green, blue = colours.unbind(dim=1)
    return torch.stack(
        [
            (red + green + blue) / 3**0.5,
            (red - blue) / 2**0.5,
            (red - 2 * green + blue) / 6**0.5,
        ],
        dim=1,
    )


def _sum(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Sum of (B, C, N, ...) over the windows kept, (C, ...)."""
    kept = kept.reshape(len(kept), 1, -1, *(1,) * (values.ndim - 3))
    return (values * kept).sum(dim=(0, 2))
