"""Generators and discriminators, built and initialised from their settings."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from nucleigan.config import DiscriminatorSettings, GeneratorSettings
from nucleigan.networks.blocks import (
    effective_state,
    initialise,
    load_effective,
    normalise_spectrally,
)
from nucleigan.networks.discriminators import PatchGAN
from nucleigan.networks.generators import GENERATORS, Generator

__all__ = [
    "IMAGE_CHANNELS",
    "build_discriminator",
    "build_generator",
    "build_head",
    "effective_state",
    "load_effective",
    "stored_generator",
]

Network = TypeVar("Network", bound=nn.Module)
# Red, green, blue.
IMAGE_CHANNELS = 3


def build_generator(
    settings: GeneratorSettings, inputs: int, outputs: int, init_std: float = 0.02, seed: int = 0
) -> Generator:
    """A generator with weights drawn from ``seed``.

    Parameters
    ----------
    settings
        Kind, width, depth, normalisation.
    inputs, outputs
        Channels.
    init_std
        Standard deviation of the initial weights.
    seed
        Of the initial weights.
    """
    network = GENERATORS[settings.kind](inputs, outputs, settings)
    return _finish(network, settings.spectral_norm, init_std, seed)


def stored_generator(
    facts: Mapping[str, Any], outputs: int, inputs: int = IMAGE_CHANNELS
) -> Generator:
    """The bare network that a model file's weights fit.

    Parameters
    ----------
    facts
        Of the model file; ``generator`` holds the settings.
    outputs, inputs
        Channels.
    """
    # The stored weights are divided by their spectral norm already.
    settings = GeneratorSettings(**{**facts["generator"], "spectral_norm": False})
    return build_generator(settings, inputs, outputs)


def build_head(
    network: Generator, outputs: int, init_std: float = 0.02, seed: int = 0
) -> nn.Module:
    """One more last layer for a generator, given its ``features``; parameters as there."""
    return _finish(network.head(outputs), False, init_std, seed)


def build_discriminator(
    settings: DiscriminatorSettings, inputs: int, init_std: float = 0.02, seed: int = 0
) -> nn.Module:
    """A PatchGAN with weights drawn from ``seed``; parameters as in :func:`build_generator`."""
    network = PatchGAN(inputs, settings.width, settings.layers, settings.norm)
    return _finish(network, settings.spectral_norm, init_std, seed)


def _finish(network: Network, spectral: bool, init_std: float, seed: int) -> Network:
    initialise(network, init_std, torch.Generator().manual_seed(seed))
    if spectral:
        normalise_spectrally(network, seed)
    return network
