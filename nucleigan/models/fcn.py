"""FCN (Long et al. 2015): torchvision's, on a dilated ResNet-50, by cross-entropy."""

from typing import Any

import torch
from torch import nn
from torchvision.models.segmentation import fcn_resnet50

from nucleigan import masks
from nucleigan.config import MaskSettings, SegmentationSettings
from nucleigan.models.contract import Method
from nucleigan.models.supervised import Supervised, cross_entropy, seeded
from nucleigan.randomness import torch_seed
from nucleigan.training.compute import Compute


class FCN(nn.Module):
    """torchvision's network without its auxiliary head, from random weights."""

    # Its outputs are an eighth of the size, interpolated.
    factor = 8

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.network = fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=outputs, aux_loss=False
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, outputs, H, W), before tanh."""
        return self.network(x)["out"]


def _trainable(
    settings: SegmentationSettings, mask_settings: MaskSettings, compute: Compute, seed: int
) -> Supervised:
    with seeded(torch_seed(seed, "fcn")):
        network = FCN(masks.channels(mask_settings))
    return Supervised(network, cross_entropy, settings, compute)


def _network(facts: dict[str, Any]) -> nn.Module:
    return FCN(masks.channels(MaskSettings(**facts["masks"])))


METHOD = Method(_trainable, _network)
