"""CNN3: a network that classifies the middle of a window (after Kumar et al. 2017).

Three classes: background, inside of a nucleus, boundary. Windows of 47 pixels pass three
convolutions with pooling and two fully connected layers. For whole images the same weights run as
dilated convolutions, so that neighbouring windows share their work.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nucleigan.config import CNN3_WINDOW, MaskSettings, SegmentationSettings
from nucleigan.models.contract import Method
from nucleigan.models.supervised import Supervised, seeded
from nucleigan.networks import IMAGE_CHANNELS
from nucleigan.randomness import torch_seed
from nucleigan.training.compute import Compute

WINDOW = CNN3_WINDOW
BACKGROUND, INSIDE, BOUNDARY = range(3)
# Windows that a step takes from each patch, as equally many of the three classes as there are.
WINDOWS = 48
# Whole images are classified at every second pixel and interpolated: a quarter of the time.
STRIDE = 2


class CNN3(nn.Module):
    """The classifier; windows in training, whole images otherwise."""

    factor = STRIDE

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(IMAGE_CHANNELS, 25, 4), nn.Conv2d(25, 50, 5), nn.Conv2d(50, 80, 6)]
        )
        # 47 pixels become 44, 22, 18, 9, 4, 2.
        self.first = nn.Conv2d(80, 1024, 2)
        self.second = nn.Conv2d(1024, 1024, 1)
        self.last = nn.Conv2d(1024, 3, 1)
        self.dropout = nn.Dropout(0.5)

    def windows(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 47, 47) to the scores of the classes, (N, 3)."""
        for convolution in self.convolutions:
            x = functional.max_pool2d(functional.relu(convolution(x)), 2)
        x = self.dropout(functional.relu(self.first(x)))
        x = self.dropout(functional.relu(self.second(x)))
        return self.last(x).flatten(1)

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to the scores of every second pixel, (B, 3, ⌈H/2⌉, ⌈W/2⌉)."""
        half = WINDOW // 2
        x = functional.pad(x, (half, half, half, half), mode="reflect")
        dilation = 1
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d)
            x = functional.conv2d(x, convolution.weight, convolution.bias, dilation=dilation)
            x = functional.max_pool2d(functional.relu(x), 2, stride=1, dilation=dilation)
            dilation *= 2
        x = functional.conv2d(
            x, self.first.weight, self.first.bias, stride=STRIDE, dilation=dilation
        )
        return self.last(functional.relu(self.second(functional.relu(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, 2, H, W), nucleus and inside, before tanh."""
        probability = self.scores(x).float().softmax(dim=1)
        nucleus = 1 - probability[:, BACKGROUND]
        both = torch.stack([nucleus, probability[:, INSIDE]], dim=1)
        # (1 + tanh z) / 2 is to be the probability.
        z = torch.logit(both, eps=1e-4) / 2
        # Corner i of the coarse grid is pixel 2 i.
        z = functional.interpolate(
            functional.pad(z, (0, 1, 0, 1), mode="replicate"),
            size=(x.shape[2] + 1, x.shape[3] + 1),
            mode="bilinear",
            align_corners=True,
        )
        return z[:, :, :-1, :-1]


def classes(target: torch.Tensor) -> torch.Tensor:
    """Masks (B, 2, H, W) of the encoding interior_boundary to classes, (B, H, W)."""
    nucleus, inside = target[:, 0] > 0, target[:, 1] > 0
    return torch.where(inside, INSIDE, torch.where(nucleus, BOUNDARY, BACKGROUND))


def _losses(
    network: nn.Module, image: torch.Tensor, target: torch.Tensor
) -> dict[str, torch.Tensor]:
    half = WINDOW // 2
    true = classes(target)[:, half:-half, half:-half]
    chosen = torch.cat([_choose(one, number) for number, one in enumerate(true)])
    number, y, x = chosen.unbind(dim=1)
    places = torch.arange(WINDOW, device=image.device)
    rows, columns = y[:, None, None] + places[:, None], x[:, None, None] + places
    seen = image[number[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
    assert isinstance(network, CNN3)
    scores = network.windows(seen.contiguous()).float()
    return {"cross_entropy": functional.cross_entropy(scores, true[number, y, x])}


def _choose(true: torch.Tensor, number: int) -> torch.Tensor:
    """Places (N, 3) of windows in a patch: the patch's number and the window's corner."""
    chosen = []
    for kind in (BACKGROUND, INSIDE, BOUNDARY):
        places = (true == kind).nonzero()
        if len(places):
            taken = torch.randint(len(places), (WINDOWS // 3,))
            chosen.append(places[taken.to(places.device)])
    places = torch.cat(chosen)
    return torch.cat([torch.full_like(places[:, :1], number), places], dim=1)


def _trainable(
    settings: SegmentationSettings, mask_settings: MaskSettings, compute: Compute, seed: int
) -> Supervised:
    with seeded(torch_seed(seed, "cnn3")):
        network = CNN3()
    return Supervised(network, _losses, settings, compute)


def _network(facts: dict[str, Any]) -> nn.Module:
    return CNN3()


METHOD = Method(
    _trainable,
    _network,
    # Two thirds of the windows that it learns from are of nuclei, of which tissue holds a quarter:
    # what is one in two in tissue is .86 to it, and inside .7.
    foreground=(0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    markers=(
        *((marker, None) for marker in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)),
        *((0.2, summit) for summit in (0.03, 0.05, 0.1)),
    ),
    thresholds={"foreground": 0.85, "marker": 0.7},
)
