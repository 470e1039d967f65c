"""A network that learns from pairs by one loss: what most baselines share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from nucleigan.config import SegmentationSettings
from nucleigan.networks import load_effective
from nucleigan.training import processes
from nucleigan.training.adversarial import adam, set_rate
from nucleigan.training.average import AveragedNetwork
from nucleigan.training.compute import CHANNELS_LAST, Compute

Losses = Callable[[nn.Module, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]


class Supervised:
    """One network, its losses, its moving average and one training step.

    Parameters
    ----------
    network
        What is trained.
    losses
        From the network, images (B, 3, H, W) in [-1, 1] and what the method draws of their label
        maps (B, C, H, W) to the terms of the loss.
    settings
        Optimiser and decay of the average.
    compute
        Device and precision.
    rate
        Part of the configured learning rate that suits this network.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Losses,
        settings: SegmentationSettings,
        compute: Compute,
        rate: float = 1.0,
    ) -> None:
        self.rate = rate
        self.compute = compute
        self.settings = settings
        self.losses = losses
        self.network = network.to(compute.device).to(memory_format=CHANNELS_LAST)
        processes.share_layers(self.network)
        self.optimise = adam([self.network], settings.optimiser)
        self.average = AveragedNetwork(self.network, settings.average_decay)

    def start_from(self, tensors: dict[str, torch.Tensor]) -> None:
        """Begin with these weights."""
        load_effective(self.network, tensors)
        self.average = AveragedNetwork(self.network, self.settings.average_decay)

    def step(
        self, batch: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Learn from images (B, 3, H, W) and targets (B, C, H, W), float32."""
        image, target = (torch.from_numpy(part).to(self.compute.device) for part in batch)
        image = image.contiguous(memory_format=CHANNELS_LAST)
        self.network.train()
        with self.compute.autocast():
            losses = self.losses(self.network, image, target)
        self.optimise.zero_grad(set_to_none=True)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        processes.average_gradients(self.optimise)
        self.optimise.step()
        self.average.update(self.network)
        return {name: loss.detach() for name, loss in losses.items()}

    def set_rate(self, factor: float) -> None:
        """Set the optimiser to this part of the rate."""
        set_rate(self.optimise, factor * self.rate * self.settings.optimiser.learning_rate)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "optimise": self.optimise.state_dict(),
            "average": self.average.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self.network.load_state_dict(state["network"])
        self.optimise.load_state_dict(state["optimise"])
        self.average.load(state["average"])


def cross_entropy(
    network: nn.Module, image: torch.Tensor, target: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Pixel cross-entropy of masks in [-1, 1]; the network's outputs doubled are the logits."""
    logits = network(image).float()
    loss = nn.functional.binary_cross_entropy_with_logits(2 * logits, (target + 1) / 2)
    return {"cross_entropy": loss}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, layers that draw their own initial weights draw them from this seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
