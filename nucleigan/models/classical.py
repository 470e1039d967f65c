"""Segmentation without learning: haematoxylin, Otsu's threshold, watershed of the distance."""

from typing import Any

import numpy as np
from scipy import ndimage

from nucleigan import masks
from nucleigan.config import DecodingSettings, MaskSettings, StainSettings
from nucleigan.models.contract import Method
from nucleigan.stain import StainProfile, concentrations
from nucleigan.stain.vectors import TEXTBOOK

# Blur of the haematoxylin before its threshold, pixels: it closes the gaps between clumps of
# chromatin, which are about 0.5 µm across.
BLUR = 2.0
FILLED = MaskSettings(encoding="filled")


def haematoxylin(image: np.ndarray, facts: dict[str, Any]) -> np.ndarray:
    """Concentration of haematoxylin of an image that has the model's reference stains.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    facts
        ``stain`` and ``stain_reference`` of a model file; without a reference the textbook's
        stain vectors are taken.

    Returns
    -------
    (H, W) float32, optical density.
    """
    stored = facts["stain_reference"]
    profile = StainProfile.from_dict(stored) if stored else StainProfile(TEXTBOOK, np.ones(2))
    return concentrations(image, profile, StainSettings(**facts["stain"]))[..., 0]


def _predict(image: np.ndarray, facts: dict[str, Any]) -> np.ndarray:
    from skimage.filters import threshold_otsu

    stained = ndimage.gaussian_filter(haematoxylin(image, facts).astype(np.float32), BLUR)
    if stained.min() == stained.max():
        return np.full((1, *stained.shape), -1, np.float32)
    # Otsu's threshold becomes probability 0.5, half of it 0.25.
    return np.clip(stained / threshold_otsu(stained) - 1, -1, 1)[None].astype(np.float32)


def _decode(mask: np.ndarray, settings: MaskSettings, decoding: DecodingSettings) -> np.ndarray:
    # Otsu's threshold stands: the method has none to choose.
    return masks.decode(mask, FILLED, decoding.model_copy(update={"foreground": 0.5}))


METHOD = Method(decode=_decode, predict=_predict, markers=())
