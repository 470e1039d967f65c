"""U-Net (Ronneberger et al. 2015): the network of ``baselines.generator``, by cross-entropy."""

from typing import Any

from torch import nn

from nucleigan import masks
from nucleigan.config import MaskSettings, SegmentationSettings
from nucleigan.models.contract import Method
from nucleigan.models.supervised import Supervised, cross_entropy
from nucleigan.networks import IMAGE_CHANNELS, build_generator, stored_generator
from nucleigan.randomness import torch_seed
from nucleigan.training.compute import Compute


def _trainable(
    settings: SegmentationSettings, mask_settings: MaskSettings, compute: Compute, seed: int
) -> Supervised:
    network = build_generator(
        settings.generator,
        IMAGE_CHANNELS,
        masks.channels(mask_settings),
        settings.optimiser.init_std,
        torch_seed(seed, "unet"),
    )
    return Supervised(network, cross_entropy, settings, compute)


def _network(facts: dict[str, Any]) -> nn.Module:
    return stored_generator(facts, masks.channels(MaskSettings(**facts["masks"])))


METHOD = Method(_trainable, _network)
