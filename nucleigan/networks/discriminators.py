"""PatchGAN: judges overlapping patches of a picture, one logit each (Isola et al. 2017)."""

import torch
from torch import nn

from nucleigan.networks.blocks import has_affine_shift, norm

WIDEST = 8


class PatchGAN(nn.Module):
    """Strided 4×4 convolutions, then two of stride 1; three strided layers see 70×70 pixels.

    Parameters
    ----------
    inputs
        Channels; a conditional discriminator gets condition and picture stacked.
    width
        Channels of the first layer.
    layers
        Strided layers.
    norm_kind
        See :data:`nucleigan.networks.blocks.NORMS`.
    """

    def __init__(self, inputs: int, width: int, layers: int, norm_kind: str) -> None:
        super().__init__()
        bias = not has_affine_shift(norm_kind)
        given, made = inputs, width
        parts: list[nn.Module] = []
        for layer in range(layers + 1):
            stride = 2 if layer < layers else 1
            first = layer == 0
            parts.append(nn.Conv2d(given, made, 4, stride=stride, padding=1, bias=bias or first))
            if not first:
                parts.append(norm(norm_kind, made))
            parts.append(nn.LeakyReLU(0.2, inplace=True))
            given, made = made, width * min(2 ** (layer + 1), WIDEST)
        parts.append(nn.Conv2d(given, 1, 4, padding=1))
        self.layers = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to logits (B, 1, h, w)."""
        return self.layers(x)
