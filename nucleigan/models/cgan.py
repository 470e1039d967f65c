"""Conditional GAN from H&E images to masks (Mahmood et al. 2018; Isola et al. 2017).

The segmenter ``S`` minimises::

    w_a BCE(D(n, S(n)), 1) + w_1 ‖m − S(n)‖₁ + w_d Dice(m, S(n)) + w_c CE(m, S(n))
        + w_o ‖o − O(n)‖₁

and the discriminator sees the image beside the mask, as in the released code; the objective as
printed, ``D(m, S(n))``, would show it the answer. ``O`` is ``S`` with another last layer, which is
thrown away in the end: it tells the way ``o`` to the centre of each pixel's nucleus.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nucleigan import masks
from nucleigan.config import MaskSettings, SegmentationSettings
from nucleigan.masks.centres import CHANNELS as CENTRE_CHANNELS
from nucleigan.masks.centres import to_centres
from nucleigan.models.contract import Method, mask_alone
from nucleigan.networks import (
    IMAGE_CHANNELS,
    build_discriminator,
    build_generator,
    build_head,
    load_effective,
    stored_generator,
)
from nucleigan.randomness import torch_seed
from nucleigan.training import processes
from nucleigan.training.adversarial import adam, adversarial_loss, frozen, judge_loss, set_rate
from nucleigan.training.average import AveragedNetwork
from nucleigan.training.compute import CHANNELS_LAST, Compute
from nucleigan.training.pool import HistoryPool

# The ways to centres are told in this many pixels: a large nucleus is 50 across.
REACH = 32.0
# How far from a border of the mask pixels count more (segmentation.boundary_weight), pixels.
BORDER_REACH = 3


class ConditionalGAN:
    """Networks, losses and one training step.

    Parameters
    ----------
    settings
        Weights of the loss, networks, optimiser. Without an adversarial weight there is no
        discriminator.
    mask_channels
        Channels of the mask encoding.
    compute
        Device and precision.
    seed
        Of the initial weights.
    """

    def __init__(
        self, settings: SegmentationSettings, mask_channels: int, compute: Compute, seed: int
    ) -> None:
        self.settings = settings
        self.compute = compute
        std = settings.optimiser.init_std
        self.segmenter = build_generator(
            settings.generator,
            IMAGE_CHANNELS,
            mask_channels,
            std,
            torch_seed(seed, "cgan", "segmenter"),
        ).to(compute.device)
        self.segmenter.to(memory_format=CHANNELS_LAST)
        processes.share_layers(self.segmenter)
        learning: list[nn.Module] = [self.segmenter]
        self.mask_channels = mask_channels
        self.pointer = None
        if settings.centres > 0:
            self.pointer = build_head(
                self.segmenter, CENTRE_CHANNELS, std, torch_seed(seed, "cgan", "pointer")
            ).to(compute.device)
            learning.append(self.pointer)
        self.optimise_segmenter = adam(learning, settings.optimiser)
        self.average = AveragedNetwork(self.segmenter, settings.average_decay)
        self.judge = None
        if settings.adversarial > 0:
            self.judge = build_discriminator(
                settings.discriminator,
                IMAGE_CHANNELS + mask_channels,
                std,
                torch_seed(seed, "cgan", "judge"),
            ).to(compute.device)
            processes.share_layers(self.judge)
            self.optimise_judge = adam([self.judge], settings.optimiser)
        self.past = HistoryPool(settings.pool_size)

    def start_from(self, tensors: dict[str, torch.Tensor]) -> None:
        """Begin with these weights of a segmenter; what is not part of it begins anew."""
        load_effective(self.segmenter, tensors)
        self.average = AveragedNetwork(self.segmenter, self.settings.average_decay)

    def step(
        self, batch: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Learn from images (B, 3, H, W) and what :data:`METHOD` draws of their nuclei.

        The images and the first channels of that, their masks, are float32 in [-1, 1].
        """
        image, drawn = (torch.from_numpy(part).to(self.compute.device) for part in batch)
        image = image.contiguous(memory_format=CHANNELS_LAST)
        mask = drawn[:, : self.mask_channels]
        self.segmenter.train()
        with self.compute.autocast():
            features = self.segmenter.features(image)
            logits = self.segmenter.finish(features).float()
        guess = torch.tanh(logits)
        losses = pixel_losses(logits, guess, mask, self.settings)
        if self.pointer is not None:
            with self.compute.autocast():
                ways = self.pointer(features).float()
            missed = centre_loss(ways, drawn[:, self.mask_channels :])
            losses["centres"] = self.settings.centres * missed
        if self.judge is not None:
            with frozen(self.judge), self.compute.autocast():
                judged = self.judge(torch.cat([image, guess], dim=1))
            losses["fool"] = self.settings.adversarial * adversarial_loss(judged, real=True)
        self.optimise_segmenter.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        processes.average_gradients(self.optimise_segmenter)
        self.optimise_segmenter.step()
        self.average.update(self.segmenter)

        if self.judge is not None:
            past = self.past.query(torch.cat([image, guess], dim=1).detach(), rng)
            with self.compute.autocast():
                losses["judge"] = judge_loss(self.judge, torch.cat([image, mask], dim=1), past)
            self.optimise_judge.zero_grad(set_to_none=True)
            losses["judge"].backward()
            processes.average_gradients(self.optimise_judge)
            self.optimise_judge.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def set_rate(self, factor: float) -> None:
        """Set the optimisers to this part of the rate."""
        rate = factor * self.settings.optimiser.learning_rate
        set_rate(self.optimise_segmenter, rate)
        if self.judge is not None:
            set_rate(self.optimise_judge, rate)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        state: dict[str, Any] = {
            "segmenter": self.segmenter.state_dict(),
            "optimise_segmenter": self.optimise_segmenter.state_dict(),
            "average": self.average.state(),
            "past": self.past.state(),
        }
        if self.pointer is not None:
            state["pointer"] = self.pointer.state_dict()
        if self.judge is not None:
            state["judge"] = self.judge.state_dict()
            state["optimise_judge"] = self.optimise_judge.state_dict()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self.segmenter.load_state_dict(state["segmenter"])
        self.optimise_segmenter.load_state_dict(state["optimise_segmenter"])
        self.average.load(state["average"])
        self.past.load(state["past"])
        if self.pointer is not None:
            self.pointer.load_state_dict(state["pointer"])
        if self.judge is not None:
            self.judge.load_state_dict(state["judge"])
            self.optimise_judge.load_state_dict(state["optimise_judge"])


def pixel_losses(
    logits: torch.Tensor, guess: torch.Tensor, mask: torch.Tensor, settings: SegmentationSettings
) -> dict[str, torch.Tensor]:
    """The weighted terms that compare masks pixel by pixel; those of weight 0 are left out.

    Parameters
    ----------
    logits
        (B, C, H, W) before tanh. Since (1 + tanh z) / 2 is the logistic function of 2z, doubled
        they are the logits of the probability.
    guess, mask
        (B, C, H, W) in [-1, 1].
    settings
        Weights.
    """
    losses = {}
    weights = None
    if settings.boundary_weight:
        weights = 1 + settings.boundary_weight * near_border(mask, BORDER_REACH)
    if settings.l1:
        losses["l1"] = settings.l1 * weighted_mean((guess - mask).abs(), weights)
    target = (mask + 1) / 2
    if settings.cross_entropy:
        entropy = functional.binary_cross_entropy_with_logits(2 * logits, target, reduction="none")
        losses["cross_entropy"] = settings.cross_entropy * weighted_mean(entropy, weights)
    if settings.dice:
        losses["dice"] = settings.dice * dice_loss((guess + 1) / 2, target)
    return losses


def near_border(mask: torch.Tensor, reach: int) -> torch.Tensor:
    """1 where a square of ``2 reach + 1`` pixels holds both values of a mask's channel, else 0.

    Parameters
    ----------
    mask
        (B, C, H, W), two values; what lies outside of it counts as neither.
    reach
        Pixels.
    """
    size = 2 * reach + 1
    # Rows, then columns: a square of 7 pixels by 14 looks instead of 49.
    across, down = ((size, 1), 1, (reach, 0)), ((1, size), 1, (0, reach))
    highest, lowest = (
        functional.max_pool2d(functional.max_pool2d(signed, *across), *down)
        for signed in (mask, -mask)
    )
    return (highest != -lowest).to(mask.dtype)


def weighted_mean(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Mean over all pixels of the whole batch, 0 where none weighs; without weights all do."""
    if weights is None:
        return values.mean()
    # Of all processes, whose parts may hold different numbers of borders or nuclei.
    whole = processes.total(weights.mean()).clamp(min=1e-12)
    return (values * weights).mean() * (processes.count() / whole)


def dice_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 − soft Dice, a mean over channels; over the whole batch, since a patch may be empty.

    Parameters
    ----------
    probability, target
        (B, C, H, W) in [0, 1].
    """
    over = (0, 2, 3)
    shared = processes.total((probability * target).sum(over))
    both = processes.total(probability.sum(over) + target.sum(over))
    return (1 - (2 * shared + 1) / (both + 1)).mean()


def centre_loss(guess: torch.Tensor, ways: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the ways to centres, over all pixels of nuclei of the whole batch.

    Parameters
    ----------
    guess
        (B, 2, H, W), ways in units of :data:`REACH`.
    ways
        (B, 2, H, W), pixels; NaN in the background.
    """
    inside = ~ways.isnan()
    error = (guess - (ways / REACH).where(inside, guess)).abs()
    return weighted_mean(error, inside.float())


def _draw(
    labels: np.ndarray, mask_settings: MaskSettings, settings: SegmentationSettings
) -> np.ndarray:
    mask = mask_alone(labels, mask_settings, settings)
    return np.concatenate([mask, to_centres(labels)]) if settings.centres > 0 else mask


def _trainable(
    settings: SegmentationSettings, mask_settings: MaskSettings, compute: Compute, seed: int
) -> ConditionalGAN:
    return ConditionalGAN(settings, masks.channels(mask_settings), compute, seed)


def _network(facts: dict[str, Any]) -> nn.Module:
    return stored_generator(facts, masks.channels(MaskSettings(**facts["masks"])))


METHOD = Method(_trainable, _network, _draw)
