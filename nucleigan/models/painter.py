"""A trained generator from masks to images, and the random numbers that it is given beside them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from nucleigan import masks
from nucleigan.config import MaskSettings
from nucleigan.errors import NucleiganError, shown
from nucleigan.models.header import PAINTER, check_kind
from nucleigan.models.weights import read_weights
from nucleigan.networks import IMAGE_CHANNELS, stored_generator
from nucleigan.training import compute as computing
from nucleigan.training.data import from_network

# Of the smooth random numbers, pixels; they resemble each other within a nucleus, and not beyond.
SMOOTHNESS = 4.0


def draw_latent(channels: int, height: int, width: int, seeds: Sequence[int]) -> torch.Tensor:
    """Standard normal numbers (B, channels, H, W).

    Half of the channels are constant over an image; of the others the first is of each pixel, the
    second smooth, and so on: what is to differ from nucleus to nucleus needs numbers that do.

    Parameters
    ----------
    channels
        May be 0.
    height, width
        Of the masks.
    seeds
        One an image.
    """
    drawn = torch.empty(len(seeds), channels, height, width)
    constant = channels // 2
    for seed, image in zip(seeds, drawn, strict=True):
        rng = torch.Generator().manual_seed(seed)
        image[:constant] = torch.randn(constant, 1, 1, generator=rng)
        image[constant:].normal_(generator=rng)
        for channel in image[constant + 1 :: 2].numpy():
            channel[:] = _smooth(channel)
    return drawn


def _smooth(noise: np.ndarray) -> np.ndarray:
    """White noise (H, W) made smooth, of the same variance, as on a torus."""
    for axis, length in enumerate(noise.shape):
        impulse = np.zeros(length)
        impulse[0] = 1
        answer = ndimage.gaussian_filter1d(impulse, SMOOTHNESS, mode="wrap")
        noise = ndimage.gaussian_filter1d(noise, SMOOTHNESS, axis, mode="wrap")
        noise = noise / np.sqrt(np.square(answer).sum())
    return noise


def with_latent(encoded: np.ndarray, channels: int, seeds: list[int]) -> torch.Tensor:
    """What a generator is given: masks (B, C, H, W) float32, and random numbers beside them.

    Parameters
    ----------
    encoded
        The masks.
    channels
        Of random numbers.
    seeds
        One a mask.

    Returns
    -------
    (B, C + channels, H, W).
    """
    height, width = encoded.shape[2:]
    latent = draw_latent(channels, height, width, seeds)
    return torch.cat([torch.from_numpy(encoded), latent], dim=1)


class Painter:
    """A trained generator from masks to images.

    Parameters
    ----------
    path
        Weights written by :func:`nucleigan.models.cyclegan.train`.
    compute
        Device and precision.

    Raises
    ------
    NucleiganError
        The file is missing, damaged, no such generator, or of another version's.
    """

    def __init__(self, path: str | Path, compute: computing.Compute) -> None:
        tensors, facts = read_weights(path)
        check_kind(path, facts, PAINTER)
        # Another version's facts may lack something, and fail anywhere.
        try:
            self.mask_settings = MaskSettings(**facts["masks"])
            self.latent_channels = int(facts["latent_channels"])
            inputs = masks.channels(self.mask_settings) + self.latent_channels
            self.network = stored_generator(facts, IMAGE_CHANNELS, inputs).eval()
            self.network.load_state_dict(tensors)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise NucleiganError(
                f"{path}: its weights do not fit the generator it names "
                f"({shown(str(error), 300)}); it was made by another version: train it again."
            ) from error
        self.network.to(compute.device).to(memory_format=computing.CHANNELS_LAST)
        self.compute = compute

    def paint(self, labels: list[np.ndarray], seeds: list[int]) -> np.ndarray:
        """Label maps (H, W) int32, with a seed each, to images (B, H, W, 3) uint8."""
        return self.paint_given(self.prepare(labels, seeds))

    def prepare(self, labels: list[np.ndarray], seeds: list[int]) -> torch.Tensor:
        """What the generator is given for such label maps."""
        encoded = np.stack([masks.encode(one, self.mask_settings) for one in labels])
        return with_latent(encoded, self.latent_channels, seeds)

    def paint_given(self, given: torch.Tensor) -> np.ndarray:
        """That to images (B, H, W, 3) uint8."""
        return paint(self.network, given, self.compute)


@torch.inference_mode()
def paint(network: nn.Module, given: torch.Tensor, compute: computing.Compute) -> np.ndarray:
    """Masks with random numbers beside them to images (B, H, W, 3) uint8."""
    with compute.autocast():
        images = torch.tanh(network(given.to(compute.device)).float())
    return np.stack([from_network(image) for image in images.cpu().numpy()])
