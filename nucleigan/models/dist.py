"""DIST: regression of the distance map and its dynamic watershed (Naylor et al. 2018).

The network is the U-Net of ``baselines.generator``. It learns, by squared error, how far each pixel
of a nucleus lies from its border; a nucleus is a hill of that map.
"""

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from nucleigan.config import DecodingSettings, MaskSettings, SegmentationSettings
from nucleigan.masks.decoding import fill_holes, grow, in_reading_order, keep_large, tops
from nucleigan.masks.encoding import depth
from nucleigan.models.contract import Method
from nucleigan.models.supervised import Supervised
from nucleigan.networks import IMAGE_CHANNELS, build_generator, stored_generator
from nucleigan.randomness import torch_seed
from nucleigan.training.compute import Compute

# Distances above this are not told apart, pixels. Nuclei of 80 pixels across, 20 µm at 0.25 µm per
# pixel, are the largest of the tissues that it is made for.
GREATEST = 40.0
# Outputs for distances of 0, where a fresh network begins, and of GREATEST: where tanh is steep. At
# -1, which it never reaches, the background would stay above 0 for thousands of steps.
LOW, HIGH = 0.0, 0.8
# How far a hill must rise above the saddle to a higher one where no validation slide tells, pixels.
DYNAMICS = 1.0


def distances(labels: np.ndarray) -> np.ndarray:
    """Distance of each pixel of a nucleus to its border.

    Parameters
    ----------
    labels
        (H, W) integers.

    Returns
    -------
    (H, W) float32, pixels: 0 outside of nuclei, 1 on their outermost pixels.
    """
    inside = (labels != 0) & (depth(labels, 1.5) > 1)
    # Without any border every pixel is as far from it as can be told.
    if inside.all():
        return np.full(labels.shape, GREATEST, np.float32)
    within = ndimage.distance_transform_edt(np.pad(inside, 1, constant_values=True))[1:-1, 1:-1]
    return np.where(labels != 0, within + 1, 0).astype(np.float32)


def _draw(
    labels: np.ndarray, mask_settings: MaskSettings, settings: SegmentationSettings
) -> np.ndarray:
    return (LOW + np.minimum(distances(labels) / GREATEST, 1) * (HIGH - LOW))[None]


def _decode(mask: np.ndarray, settings: MaskSettings, decoding: DecodingSettings) -> np.ndarray:
    from skimage.morphology import local_maxima, reconstruction

    distance = (mask[0].astype(np.float32) - LOW) / (HIGH - LOW) * GREATEST
    foreground = distance > decoding.foreground
    flooded = reconstruction(distance - (decoding.summit or DYNAMICS), distance)
    markers = tops(local_maxima(flooded) & foreground)
    nuclei = keep_large(grow(markers, -distance, foreground), decoding.min_area)
    return in_reading_order(fill_holes(nuclei))


def _squared_error(
    network: nn.Module, image: torch.Tensor, target: torch.Tensor
) -> dict[str, torch.Tensor]:
    # In squared pixels; the outputs between 0 and 1 would give errors too small for Adam's ε.
    guess = torch.tanh(network(image).float())
    return {"squared_error": ((guess - target) / (HIGH - LOW) * GREATEST).square().mean()}


def _trainable(
    settings: SegmentationSettings, mask_settings: MaskSettings, compute: Compute, seed: int
) -> Supervised:
    network = build_generator(
        settings.generator,
        IMAGE_CHANNELS,
        1,
        settings.optimiser.init_std,
        torch_seed(seed, "dist"),
    )
    return Supervised(network, _squared_error, settings, compute)


def _network(facts: dict[str, Any]) -> nn.Module:
    network = stored_generator(facts, 1)
    # What it sees enlarged it finds longer.
    network.lengths = True
    return network


METHOD = Method(
    _trainable,
    _network,
    _draw,
    _decode,
    # In pixels, as the next.
    foreground=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0),
    # The marker's threshold plays no part.
    markers=tuple((0.5, dynamics) for dynamics in (0.5, 1.0, 1.5, 2.0, 3.0)),
    # In pixels.
    thresholds={"foreground": 0.5, "summit": DYNAMICS},
)
