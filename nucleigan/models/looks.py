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
from nucleigan.models.spectrum import ROUNDING, amplitudes, power

# Side of a window, pixels, half of it to the next one; smaller nuclei hold none.
SIDE = 16
STRIDE = SIDE // 2
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
            (B, H, W) bool, in the processor's memory: a GPU would be waited for to know which
            windows count.
        real
            (A, 3, H, W) in [-1, 1], A even.
        real_nuclei
            (A, H, W) bool, in the processor's memory.

        Returns
        -------
        Scalar; 0 as long as one of the two has shown no pair of windows within nuclei.
        """
        ours = self._take("painted", _looks(painted, painted_nuclei, [0]))
        count = _within(real_nuclei)[0].numel()
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

    A window is compared with those that lie so many windows further in the other image. Few lie in
    nuclei: only these are cut out of the images.
    """
    within = _within(nuclei)
    places, counts = _places(within)
    parts = _Cut.apply(images, _sent(places, images), counts)
    colours = _opponent(parts.mean(dim=(-2, -1)))
    first, second = _sent(_pairs(within, places, shifts), images)
    apart, differing = (some[first] - some[second] for some in (colours, parts))
    # Some libraries refuse to transform nothing.
    varying = power(amplitudes(differing)) if len(differing) else differing
    return _Looks(
        colours.sum(dim=0),
        colours.square().sum(dim=0),
        images.new_full((), len(parts)),
        (apart.square() / 2 + ALIKE).log().sum(dim=0),
        (varying / 2 + ROUNDING).log().sum(dim=0),
        images.new_full((), len(first)),
    )


def _within(nuclei: torch.Tensor) -> torch.Tensor:
    """Which windows of (B, H, W) lie in nuclei, (B, rows, columns) bool."""
    parts = nuclei.float().unfold(-2, SIDE, STRIDE).unfold(-2, SIDE, STRIDE)
    return parts.mean(dim=(-2, -1)) >= LEAST_NUCLEUS


def _places(within: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Image, row and column of each window within nuclei, (3, K), and how many are of each kind.

    Of the four kinds, which follow each other, rows and columns are even or odd: none overlaps
    another of its own.
    """
    places = within.nonzero().T
    kind = places[1] % 2 * 2 + places[2] % 2
    return places[:, kind.argsort(stable=True)], kind.bincount(minlength=4).tolist()


def _pairs(within: torch.Tensor, places: torch.Tensor, shifts: Sequence[int]) -> torch.Tensor:
    """Which of the windows at these places are compared, (2, P): one of either image."""
    numbers = torch.zeros(within.shape, dtype=torch.int64)
    numbers[tuple(places)] = torch.arange(places.shape[1])
    numbers, within = numbers.flatten(1), within.flatten(1)
    pairs = []
    for shift in shifts:
        kept = within[0::2] & within[1::2].roll(shift, dims=1)
        both = numbers[0::2], numbers[1::2].roll(shift, dims=1)
        pairs.append(torch.stack([some[kept] for some in both]))
    return torch.cat(pairs, dim=1)


def _sent(numbers: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Numbers where the images are; a GPU is not waited for."""
    if images.device.type == "cpu":
        return numbers
    return numbers.pin_memory().to(images.device, non_blocking=True)


class _Cut(torch.autograd.Function):
    """The windows of images (B, C, H, W) at the places of :func:`_places`, (K, C, side, side)."""

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, places: torch.Tensor, counts: list[int]
    ) -> torch.Tensor:
        ctx.shape, ctx.places, ctx.counts = images.shape, places, counts
        image, row, column = places
        return images.unfold(-2, SIDE, STRIDE).unfold(-2, SIDE, STRIDE)[image, :, row, column]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        total = gradient.new_zeros(ctx.shape)
        # One kind at a time, since sums must follow a fixed order.
        for kind, (places, parts) in enumerate(
            zip(ctx.places.split(ctx.counts, dim=1), gradient.split(ctx.counts), strict=True)
        ):
            if len(parts):
                image, row, column = places
                apart = total[..., kind // 2 * STRIDE :, kind % 2 * STRIDE :]
                apart = apart.unfold(-2, SIDE, SIDE).unfold(-2, SIDE, SIDE)
                apart[image, :, row // 2, column // 2] += parts
        return total, None, None


def _opponent(colours: torch.Tensor) -> torch.Tensor:
    """Brightness, red against blue, and green against both, of (K, 3) red, green and blue.

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
