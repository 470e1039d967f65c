"""What a method is: how it learns, and how its networks find nuclei."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nucleigan import masks
from nucleigan.config import DecodingSettings, MaskSettings, SegmentationSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nucleigan.training.average import AveragedNetwork
    from nucleigan.training.compute import Compute
    from nucleigan.training.loop import Trainable

    class Learner(Trainable, Protocol):
        """What a method trains: its averaged network is the result."""

        average: AveragedNetwork

        def start_from(self, tensors: dict[str, torch.Tensor]) -> None:
            """Begin with these weights of a model file instead of random ones."""
            ...


# Thresholds of nucleus that are tried.
FOREGROUND = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
# Markers by a threshold alone, or low ones that the summits inside them split: (marker, summit).
MARKERS: tuple[tuple[float, float | None], ...] = (
    *((marker, None) for marker in (0.4, 0.5, 0.6, 0.7, 0.8)),
    *((0.2, summit) for summit in (0.02, 0.03, 0.05, 0.075, 0.1)),
)
# Probabilities that a nucleus may have to reach somewhere.
PEAKS = (0.0, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)


def mask_alone(
    labels: np.ndarray, mask_settings: MaskSettings, settings: SegmentationSettings
) -> np.ndarray:
    """What most methods draw of a label map: its mask."""
    return masks.encode(labels, mask_settings)


@dataclass(frozen=True)
class Method:
    """How one method learns, and how its networks find nuclei.

    Attributes
    ----------
    trainable
        From settings, mask encoding, machine and seed to networks, losses and one training step;
        None for a method that learns nothing.
    network
        From the facts of a model file to the network that predicts, (B, 3, h, w) in [-1, 1] to
        (B, C, h, w) before tanh, with the attribute ``factor``; its weights are loaded into it.
        None for a method without one.
    draw
        From a label map (H, W) to the (C, H, W) float32 that a training step is given; a function
        of its arguments alone, which several threads call at once.
    decode
        From the predicted mask (C, H, W) in [-1, 1] to a label map (H, W) int32.
    predict
        For a method without a network: from an image (H, W, 3) uint8 and the facts of the model
        file to the mask.
    foreground
        Values of the threshold ``foreground`` to choose from on validation slides.
    markers
        Pairs of the thresholds ``marker`` and ``summit`` to choose from on validation slides;
        without any, those that are configured are kept, or those below.
    thresholds
        Of a method whose numbers are no probabilities in tissue, those that it has without
        validation slides in the place of the configured ones.
    probabilities
        Whether the channels of its masks are probabilities of pixels, where ``decode`` is that of
        most methods.
    """

    trainable: "Callable[[SegmentationSettings, MaskSettings, Compute, int], Learner] | None" = None
    network: "Callable[[dict[str, Any]], nn.Module] | None" = None
    draw: Callable[[np.ndarray, MaskSettings, SegmentationSettings], np.ndarray] = mask_alone
    decode: Callable[[np.ndarray, MaskSettings, DecodingSettings], np.ndarray] = masks.decode
    predict: Callable[[np.ndarray, dict[str, Any]], np.ndarray] | None = None
    foreground: tuple[float, ...] = FOREGROUND
    markers: tuple[tuple[float, float | None], ...] = MARKERS
    thresholds: Mapping[str, float] = field(default_factory=dict)
    probabilities: bool = True

    def markers_of(self, mask_settings: MaskSettings) -> tuple[tuple[float, float | None], ...]:
        """Those worth trying; none where masks of one channel leave nothing to find nuclei by."""
        plain = self.decode is masks.decode and masks.channels(mask_settings) == 1
        return () if plain else self.markers

    def peaks_of(self, mask_settings: MaskSettings) -> tuple[float, ...]:
        """Values of ``peak`` worth trying; none where masks do not say how probable nuclei are."""
        says = self.probabilities and self.decode is masks.decode
        return PEAKS if says and mask_settings.encoding != "outline" else ()
