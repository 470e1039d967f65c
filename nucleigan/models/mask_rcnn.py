"""Mask R-CNN (He et al. 2017): torchvision's, from random weights.

Its instances are drawn as a mask of the run's encoding, weighted by their scores, so that tiles
blend and nuclei are decoded as for every other method.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import masks_to_boxes

from nucleigan import masks
from nucleigan.config import MaskSettings, SegmentationSettings
from nucleigan.models.contract import Method
from nucleigan.models.supervised import Supervised, seeded
from nucleigan.randomness import torch_seed
from nucleigan.training.compute import Compute

# Sides of the boxes that the five levels propose, pixels: nuclei of 2 to 30 µm at 0.25 µm.
ANCHORS = ((8,), (16,), (32,), (64,), (128,))
# Most nuclei in a tile; dense tissue holds some 300 in 512×512 pixels.
DETECTIONS = 600
# Part of the configured learning rate: at 0.001 the losses of the first steps grow a hundredfold.
RATE = 0.2
# Boxes of a patch that a step learns from; a quarter of them hold nuclei, and drawing the masks of
# these takes most of a step. torchvision's 512 are for images ten times as large.
BOXES = 128
# Instances whose masks are drawn at once, for the sake of memory.
AT_ONCE = 50
# Instances narrower or lower than this, pixels, are too little for a box.
LEAST = 2


class AsTheyCome(GeneralizedRCNNTransform):
    """Images are at one scale and in [-1, 1] already: neither resized nor standardised."""

    def __init__(self) -> None:
        super().__init__(1, 1, [0.0] * 3, [1.0] * 3)

    def resize(
        self, image: torch.Tensor, target: dict[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """The same, in training and after it."""
        return image, target

    def postprocess(
        self,
        result: list[dict[str, torch.Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, torch.Tensor]]:
        """Instances with masks of the image's size; boxes are where they belong already."""
        if self.training:
            return result
        return [
            found | {"masks": pasted(found["masks"], found["boxes"], *size)}
            for found, size in zip(result, image_shapes, strict=True)
        ]


def pasted(masks_: torch.Tensor, places: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The masks of boxes as masks of the image.

    torchvision's own rounds the boxes down to whole pixels first, which moves a nucleus by half a
    pixel on average, to the left and up.

    Parameters
    ----------
    masks_
        (N, 1, k, k) probabilities.
    places
        Their boxes (N, 4) as x1, y1, x2, y2, where 0 is the middle of the first pixel.
    height, width
        Of the image.

    Returns
    -------
    (N, 1, height, width), 0 outside of the boxes.
    """
    side = masks_.shape[-1]
    padded = functional.pad(masks_, (1, 1, 1, 1))
    axes = []
    for length, first, last in ((width, 0, 2), (height, 1, 3)):
        low, high = places[:, first, None], places[:, last, None]
        pixels = torch.arange(length, device=places.device, dtype=places.dtype)
        within = (pixels - low) / (high - low).clamp(min=1e-3)
        axes.append((2 * within - 1) * side / (side + 2))
    found = [
        functional.grid_sample(
            one,
            torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), dim=-1),
            align_corners=False,
        )
        for one, x, y in zip(*(part.split(AT_ONCE) for part in (padded, *axes)), strict=True)
    ]
    return torch.cat(found) if len(masks_) else masks_.new_zeros((0, 1, height, width))


class InstanceNetwork(nn.Module):
    """torchvision's detector, and its instances as a mask."""

    factor = 32

    def __init__(self, backbone: str, mask_settings: MaskSettings) -> None:
        super().__init__()
        self.mask_settings = mask_settings
        features = resnet_fpn_backbone(
            backbone_name=backbone, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
        )
        self.detector = MaskRCNN(
            features,
            num_classes=2,
            rpn_anchor_generator=AnchorGenerator(ANCHORS, ((0.5, 1.0, 2.0),) * len(ANCHORS)),
            box_detections_per_img=DETECTIONS,
            box_batch_size_per_image=BOXES,
        )
        self.detector.transform = AsTheyCome()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, C, H, W), before tanh; in training mode use :meth:`losses`."""
        with _in_full(x):
            instances = self.detector(list(x))
        drawn = np.stack([self._draw(found, x.shape[2:]) for found in instances])
        return torch.from_numpy(np.arctanh(np.clip(drawn, -0.999, 0.999))).to(x.device)

    def losses(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The terms of the loss of images (B, 3, H, W) with label maps (B, 1, H, W)."""
        with _in_full(x):
            return self.detector(list(x), [boxes(one[0].long()) for one in labels])

    def _draw(self, found: dict[str, torch.Tensor], size: torch.Size) -> np.ndarray:
        """Instances as a mask; where they overlap, the one with the higher score is in front."""
        labels = np.zeros(size, np.int32)
        scores = [0.0]
        # Fetched at once: a GPU is waited for twice an image, and not for every nucleus.
        certain = (found["masks"][:, 0] > 0.5).cpu().numpy()
        for score, seen in zip(found["scores"].tolist(), certain, strict=True):
            labels[seen & (labels == 0)] = len(scores)
            scores.append(score)
        certainty = np.array(scores, np.float32)[labels]
        return (masks.encode(labels, self.mask_settings) + 1) * certainty - 1


def _in_full(x: torch.Tensor) -> torch.autocast:
    """Float32 inside: in bfloat16 the corners of boxes lie at every second or fourth pixel."""
    return torch.autocast(x.device.type, enabled=False)


def boxes(labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the detector learns from: boxes, classes and masks of a label map's nuclei.

    Parameters
    ----------
    labels
        (H, W) int64.

    Returns
    -------
    ``boxes`` (N, 4) float32 as x1, y1, x2, y2, around all of each nucleus's pixels, where 0 is the
    middle of the first pixel; ``labels`` (N,), all 1; ``masks`` (N, H, W) uint8.
    Nuclei narrower or lower than :data:`LEAST` + 1 pixels are left out.
    """
    ids = labels.unique()
    pieces = labels[None] == ids[ids > 0][:, None, None]
    found = masks_to_boxes(pieces) if len(pieces) else torch.zeros((0, 4), device=labels.device)
    kept = ((found[:, 2:] - found[:, :2]) >= LEAST).all(dim=1)
    return {
        # From middle to middle the masks, which are 0 at the borders of a box, lack these pixels.
        "boxes": found[kept].float() + found.new_tensor([-0.5, -0.5, 0.5, 0.5]),
        "labels": torch.ones(int(kept.sum()), dtype=torch.int64, device=labels.device),
        "masks": pieces[kept].to(torch.uint8),
    }


def _losses(
    network: nn.Module, image: torch.Tensor, target: torch.Tensor
) -> dict[str, torch.Tensor]:
    assert isinstance(network, InstanceNetwork)
    return {
        name.removeprefix("loss_"): loss for name, loss in network.losses(image, target).items()
    }


def _draw(
    labels: np.ndarray, mask_settings: MaskSettings, settings: SegmentationSettings
) -> np.ndarray:
    return labels[None].astype(np.float32)


def _trainable(
    settings: SegmentationSettings, mask_settings: MaskSettings, compute: Compute, seed: int
) -> Supervised:
    with seeded(torch_seed(seed, "mask_rcnn")):
        network = InstanceNetwork(settings.backbone, mask_settings)
    return Supervised(network, _losses, settings, compute, RATE)


def _network(facts: dict[str, Any]) -> nn.Module:
    # Checked, since the file may come from anywhere.
    backbone = SegmentationSettings(backbone=facts["backbone"]).backbone
    return InstanceNetwork(backbone, MaskSettings(**facts["masks"]))


# Nuclei are drawn as faint as their scores are low, which is no probability of a pixel.
METHOD = Method(_trainable, _network, _draw, probabilities=False)
