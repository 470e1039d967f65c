"""Image-to-image networks. Each returns values before the final tanh and names its size factor."""

import itertools
from collections.abc import Callable

import torch
from torch import nn

from nucleigan.config import GeneratorSettings
from nucleigan.networks.blocks import (
    LastConvolution,
    ReflectionPad,
    ResizedConvolution,
    has_affine_shift,
    norm,
)

# The widest level has this many times the channels of the first (pix2pix: 64 to 512).
WIDEST = 8


def transposed(channels: int, bias: bool) -> nn.Module:
    """Twice the size, half the channels."""
    half = channels // 2
    return nn.ConvTranspose2d(channels, half, 3, stride=2, padding=1, output_padding=1, bias=bias)


def resized(channels: int, bias: bool) -> nn.Module:
    """The same by resizing first, so that every pixel is made alike (Odena et al. 2016)."""
    return ResizedConvolution(channels, channels // 2, bias)


UPSAMPLINGS = {"transposed": transposed, "resize": resized}


class Generator(nn.Module):
    """An image-to-image network whose last layer can be given a second one beside it.

    Attributes
    ----------
    factor
        Heights and widths must be multiples of it.
    lengths
        Whether it finds lengths in pixels, proportional to tanh of its output.
    """

    factor: int
    lengths: bool = False

    def head(self, outputs: int) -> nn.Sequential:
        """A new last layer: from :meth:`features` to (B, outputs, H, W)."""
        raise NotImplementedError

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the last layer is given of (B, inputs, H, W)."""
        raise NotImplementedError

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        """The last layer: from :meth:`features` to (B, outputs, H, W), before tanh."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), before tanh."""
        return self.finish(self.features(x))


class ResNet(Generator):
    """CycleGAN's generator: two strided levels, residual blocks, two levels back.

    (Johnson et al. 2016; Zhu et al. 2017.)

    Parameters
    ----------
    inputs, outputs
        Channels.
    width
        Channels at full resolution.
    blocks
        Residual blocks at a quarter of the resolution.
    norm_kind, dropout, upsampling
        See :class:`nucleigan.config.GeneratorSettings`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        blocks: int,
        norm_kind: str,
        dropout: float,
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        self.factor = 4
        self.width = width
        bias = not has_affine_shift(norm_kind)

        def level(convolution: nn.Module, channels: int) -> list[nn.Module]:
            return [convolution, norm(norm_kind, channels), nn.ReLU(inplace=True)]

        layers: list[nn.Module] = [ReflectionPad(3)]
        layers += level(nn.Conv2d(inputs, width, 7, bias=bias), width)
        for channels in (width, 2 * width):
            down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=bias)
            layers += level(down, 2 * channels)
        layers += [ResidualBlock(4 * width, norm_kind, dropout, bias) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += level(UPSAMPLINGS[upsampling](channels, bias), channels // 2)
        layers += self.head(outputs)
        self.layers = nn.Sequential(*layers)

    def head(self, outputs: int) -> nn.Sequential:
        """See :class:`Generator`."""
        return nn.Sequential(ReflectionPad(3), LastConvolution(self.width, outputs, 7))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, width, H, W)."""
        return self.layers[:-2](x)

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        """See :class:`Generator`."""
        return self.layers[-2:](features)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside an identity."""

    def __init__(self, channels: int, norm_kind: str, dropout: float, bias: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(norm_kind, channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout) if dropout else nn.Identity(),
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm(norm_kind, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        return x + self.layers(x)


class Pix2PixUNet(Generator):
    """pix2pix's U-Net: one strided 4×4 convolution a level, down to 1×1 for 256×256 at 8 levels.

    (Isola et al. 2017.) Parameters as in :class:`ResNet`, with ``levels`` for the depth.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, levels: int, norm_kind: str, dropout: float
    ) -> None:
        super().__init__()
        self.factor = 2**levels
        channels = [width * min(2**level, WIDEST) for level in range(levels)]
        self.width = width if levels == 1 else 2 * width
        bias = not has_affine_shift(norm_kind)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, wide in enumerate(channels):
            outermost, innermost = level == 0, level == levels - 1
            below = inputs if outermost else channels[level - 1]
            down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2)]
            plain = outermost or innermost
            down.append(nn.Conv2d(below, wide, 4, stride=2, padding=1, bias=bias or plain))
            if not plain:
                down.append(norm(norm_kind, wide))
            self.down.append(nn.Sequential(*down))

            if outermost:
                self.up.append(self.head(outputs))
                continue
            given, made = wide if innermost else 2 * wide, channels[level - 1]
            up: list[nn.Module] = [nn.ReLU()]
            up.append(nn.ConvTranspose2d(given, made, 4, stride=2, padding=1, bias=bias))
            up.append(norm(norm_kind, made))
            # pix2pix drops out in the three levels above the innermost one.
            if dropout and levels - 4 <= level < levels - 1:
                up.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*up))

    def head(self, outputs: int) -> nn.Sequential:
        """See :class:`Generator`."""
        return nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(self.width, outputs, 4, 2, 1))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, C, H / 2, W / 2)."""
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up, skip in zip(reversed(self.up[1:]), reversed(skips), strict=True):
            x = torch.cat([up(x), skip], dim=1)
        return x

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        """See :class:`Generator`."""
        return self.up[0](features)


class UNet(Generator):
    """U-Net with two 3×3 convolutions a level and max pooling (Ronneberger et al. 2015).

    It learns in far fewer steps than :class:`Pix2PixUNet`, which suits machines without a GPU.
    Parameters as there, and ``reduction``: squares of this side become channels before the first
    level and squares again after the last (Shi et al. 2016), so that every convolution runs over
    ``reduction``² times fewer pixels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int,
        levels: int,
        norm_kind: str,
        dropout: float,
        reduction: int = 1,
    ) -> None:
        super().__init__()
        self.factor = reduction * 2 ** (levels - 1)
        self.width, self.reduction = width, reduction
        channels = [width * min(2**level, WIDEST) for level in range(levels)]
        self.fold = nn.PixelUnshuffle(reduction)
        self.down = nn.ModuleList(
            double_convolution(below, wide, norm_kind)
            for below, wide in zip([inputs * reduction**2, *channels], channels, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(deep, wide, 2, stride=2)
            for wide, deep in itertools.pairwise(channels)
        )
        self.up = nn.ModuleList(
            double_convolution(2 * wide, wide, norm_kind) for wide in channels[:-1]
        )
        self.last, self.unfold = self.head(outputs)

    def head(self, outputs: int) -> nn.Sequential:
        """See :class:`Generator`."""
        last = nn.Conv2d(self.width, outputs * self.reduction**2, 1)
        return nn.Sequential(last, nn.PixelShuffle(self.reduction))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, width, H / reduction, W / reduction)."""
        x = self.fold(x)
        skips = []
        for level, down in enumerate(self.down):
            x = down(self.pool(x) if level else x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for grow, up, skip in zip(
            reversed(self.grow), reversed(self.up), reversed(skips), strict=True
        ):
            x = up(torch.cat([grow(x), skip], dim=1))
        return x

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        """See :class:`Generator`."""
        return self.unfold(self.last(features))


def double_convolution(inputs: int, outputs: int, norm_kind: str) -> nn.Sequential:
    """Two 3×3 convolutions, each normalised and rectified."""
    layers: list[nn.Module] = []
    for given in (inputs, outputs):
        layers += [
            nn.Conv2d(given, outputs, 3, padding=1, bias=not has_affine_shift(norm_kind)),
            norm(norm_kind, outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _resnet(inputs: int, outputs: int, settings: GeneratorSettings) -> Generator:
    return ResNet(
        inputs,
        outputs,
        settings.width,
        settings.depth,
        settings.norm,
        settings.dropout,
        settings.upsampling,
    )


def _pix2pix_unet(inputs: int, outputs: int, settings: GeneratorSettings) -> Generator:
    return Pix2PixUNet(
        inputs, outputs, settings.width, settings.depth, settings.norm, settings.dropout
    )


def _unet(inputs: int, outputs: int, settings: GeneratorSettings) -> Generator:
    return UNet(
        inputs,
        outputs,
        settings.width,
        settings.depth,
        settings.norm,
        settings.dropout,
        settings.reduction,
    )


GENERATORS: dict[str, Callable[[int, int, GeneratorSettings], Generator]] = {
    "resnet": _resnet,
    "pix2pix_unet": _pix2pix_unet,
    "unet": _unet,
}
