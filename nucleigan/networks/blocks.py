"""Pieces that the networks share: normalisation, initialisation, spectral normalisation."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
# Channels of a group in group normalisation: small enough that 16-channel levels have several.
GROUP_CHANNELS = 8


class InstanceNorm(nn.InstanceNorm2d):
    """The same numbers as its parent, without leaving the channels-last layout on CPUs.

    The parent brings every batch into the default layout, from which convolutions in bfloat16
    learn at a third of their rate.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        # Statistics of a batch of one image are those of the image.
        images = [
            functional.batch_norm(image, None, None, training=True, eps=self.eps)
            for image in x.split(1)
        ]
        return torch.cat(images)


class ReflectionPad(nn.ReflectionPad2d):
    """In the precision of what it is given; autocast on CPUs would go to float32 and back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H + 2p, W + 2p)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class Doubled(nn.Upsample):
    """Every pixel becomes four equal ones, in the precision of what it is given."""

    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="nearest")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": lambda channels: InstanceNorm(channels),
    "batch": lambda channels: nn.BatchNorm2d(channels),
    "group": lambda channels: nn.GroupNorm(max(1, channels // GROUP_CHANNELS), channels),
    "none": lambda channels: nn.Identity(),
}


def norm(kind: str, channels: int) -> nn.Module:
    """A normalisation layer for ``channels`` channels; see :data:`NORMS`."""
    return NORMS[kind](channels)


def has_affine_shift(kind: str) -> bool:
    """Whether the normalisation adds its own offset, which makes a convolution's bias redundant."""
    return kind in ("batch", "group")


def initialise(network: nn.Module, std: float, generator: torch.Generator) -> None:
    """Draw convolution weights from N(0, std²); biases 0, normalisation gains N(1, std²).

    Must run *before* :func:`normalise_spectrally`: once a weight is parametrised, writing to it no
    longer reaches the stored tensor (Radford et al. 2016 for the distribution).
    """
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            module.weight.data.normal_(0.0, std, generator=generator)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm) and module.weight is not None:
            module.weight.data.normal_(1.0, std, generator=generator)
            module.bias.data.zero_()


def normalise_spectrally(network: nn.Module, seed: int) -> None:
    """Wrap every convolution so that its largest singular value is 1 (Miyato et al. 2018)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, CONVOLUTIONS):
                spectral_norm(module)


def effective_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's weights as its forward pass uses them, under the names of the bare network.

    Spectrally normalised weights are divided by their norm, so the result loads into a network
    that was built without it.
    """
    was_training = network.training
    network.eval()
    state = {
        name: tensor.detach().clone()
        for name, tensor in network.state_dict().items()
        if ".parametrizations." not in f".{name}"
    }
    for path, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            state[f"{path}.weight"] = module.weight.detach().clone()
    network.train(was_training)
    return state
