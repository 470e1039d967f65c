"""CycleGAN between masks and H&E images (Zhu et al. 2017; Mahmood et al. 2018).

``G`` turns masks ``M`` into images ``N``; ``S`` turns images into masks and only helps to train
``G``. The loss of both is::

    BCE(D_N(G(m)), 1) + BCE(D_M(S(n)), 1) + λ_n ‖G(S(n)) − n‖₁ + λ_m ‖S(G(m)) − m‖₁
"""

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import nn
from torch.nn import functional

from nucleigan import masks
from nucleigan.artifacts import atomic, stored_digest
from nucleigan.config import (
    ComputeSettings,
    CycleGANSettings,
    JitterSettings,
    MaskSettings,
)
from nucleigan.figures.sheets import contact_sheet, mask_picture
from nucleigan.models import guards
from nucleigan.models.header import PAINTER
from nucleigan.models.looks import SIDE, NucleiLoss
from nucleigan.models.painter import draw_latent, paint, with_latent
from nucleigan.models.realism import PAINTED, REAL, Realism
from nucleigan.models.spectrum import SpectrumLoss
from nucleigan.models.weights import write_weights
from nucleigan.networks import IMAGE_CHANNELS, build_discriminator, build_generator, effective_state
from nucleigan.provenance import package_digest
from nucleigan.randomness import generator, torch_seed
from nucleigan.training import compute as computing
from nucleigan.training import loop, processes
from nucleigan.training.adversarial import (
    adam,
    adversarial_loss,
    frozen,
    judge_loss,
    set_rate,
    slope_penalty,
)
from nucleigan.training.augment import augment
from nucleigan.training.average import AveragedNetwork
from nucleigan.training.best import BestWeights
from nucleigan.training.data import Pairs, Patches, order, to_network
from nucleigan.training.identity import begin
from nucleigan.training.pool import HistoryPool

SAMPLES = 6
# Folder of the sample pictures beside that of the checkpoints, and how many of them a sheet shows.
SNAPSHOTS, SHOWN_SNAPSHOTS = "snapshots", 5
# Under which a picture says which training it is of.
TRAINING = "training"
# Of the range [-1, 1] of red light, which haematoxylin absorbs and eosin hardly does; in normalised
# patches of the Kumar tiles nuclei are darker by 0.55 on average, by 0.35 in the fifth percentile.
POLARITY_MARGIN = 0.3
# Flips and quarter turns only: the generator must learn the slides' own colours and sizes.
JITTER = JitterSettings(resize=256)


@dataclass
class Networks:
    """The four networks of a CycleGAN."""

    to_image: nn.Module
    to_mask: nn.Module
    judge_image: nn.Module
    judge_mask: nn.Module

    @classmethod
    def build(cls, settings: CycleGANSettings, mask_channels: int, seed: int) -> "Networks":
        """Networks with weights drawn from the seed."""
        std = settings.optimiser.init_std

        def seeded(name: str) -> int:
            return torch_seed(seed, "cyclegan", name)

        return cls(
            build_generator(
                settings.generator,
                mask_channels + settings.latent_channels,
                IMAGE_CHANNELS,
                std,
                seeded("to_image"),
            ),
            build_generator(
                settings.generator, IMAGE_CHANNELS, mask_channels, std, seeded("to_mask")
            ),
            build_discriminator(settings.discriminator, IMAGE_CHANNELS, std, seeded("judge_image")),
            build_discriminator(settings.discriminator, mask_channels, std, seeded("judge_mask")),
        )

    def all(self) -> dict[str, nn.Module]:
        """By name."""
        return dict(vars(self))


class Looks(NamedTuple):
    """By which painted nuclei are compared with annotated ones.

    Attributes
    ----------
    painted
        Nuclei of a batch's masks, (B, H, W) bool; each two masks are the same.
    images
        Windows of annotated slides, (B, 3, H, W) float32 in [-1, 1].
    nuclei
        Theirs, (B, H, W) bool.
    """

    painted: np.ndarray
    images: np.ndarray
    nuclei: np.ndarray


class Batch(NamedTuple):
    """What one step learns from.

    Attributes
    ----------
    images, masks
        (B, 3, H, W) and (B, C, H, W) float32 in [-1, 1], not paired.
    latent
        Random numbers beside the masks, and beside those found in the images, (2, B, L, H, W).
    looks
        Where the looks of nuclei count.
    """

    images: np.ndarray
    masks: np.ndarray
    latent: torch.Tensor
    looks: Looks | None = None


class CycleGAN:
    """Networks, losses and one training step.

    Parameters
    ----------
    settings
        Weights of the loss, networks, optimiser.
    mask_channels
        Channels of the mask encoding.
    compute
        Device and precision.
    seed
        Of the initial weights.
    """

    def __init__(
        self,
        settings: CycleGANSettings,
        mask_channels: int,
        compute: computing.Compute,
        seed: int,
    ) -> None:
        self.settings = settings
        self.compute = compute
        self.networks = Networks.build(settings, mask_channels, seed)
        for network in self.networks.all().values():
            network.to(compute.device).to(memory_format=computing.CHANNELS_LAST)
            processes.share_layers(network)
        nets = self.networks
        self.optimise_generators = adam([nets.to_image, nets.to_mask], settings.optimiser)
        self.optimise_judges = adam([nets.judge_image, nets.judge_mask], settings.optimiser)
        self.average = AveragedNetwork(nets.to_image, settings.average_decay)
        self.past_images = HistoryPool(settings.pool_size)
        self.past_masks = HistoryPool(settings.pool_size)
        self.spectrum = SpectrumLoss()
        self.nuclei = NucleiLoss()

    def step(self, batch: Batch, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Learn from a batch; the generator is of this step alone."""
        images, masks_ = (
            torch.from_numpy(part)
            .to(self.compute.device)
            .contiguous(memory_format=computing.CHANNELS_LAST)
            for part in (batch.images, batch.masks)
        )
        latent = batch.latent.to(self.compute.device)
        nets = self.networks
        with frozen(nets.judge_image, nets.judge_mask):
            fake_images, fake_masks, losses = self._generator_losses(images, masks_, latent)
            if batch.looks is not None:
                painted, windows, nuclei = map(torch.from_numpy, batch.looks)
                far = self.nuclei(fake_images, painted, windows.to(self.compute.device), nuclei)
                losses["nuclei"] = self.settings.lambda_nuclei * far
            self.optimise_generators.zero_grad(set_to_none=True)
            torch.stack(list(losses.values())).sum().backward()
            processes.average_gradients(self.optimise_generators)
            self.optimise_generators.step()
        self.average.update(nets.to_image)

        past_images = self.past_images.query(fake_images.detach(), rng)
        past_masks = self.past_masks.query(fake_masks.detach(), rng)
        with self.compute.autocast():
            judged_image = judge_loss(nets.judge_image, images, past_images)
            judged_mask = judge_loss(nets.judge_mask, masks_, past_masks)
            judged = {"judge_image": judged_image, "judge_mask": judged_mask}
            if self.settings.slope_penalty:
                slope = slope_penalty(nets.judge_image, images)
                judged["slope"] = self.settings.slope_penalty * slope
        self.optimise_judges.zero_grad(set_to_none=True)
        torch.stack(list(judged.values())).sum().backward()
        processes.average_gradients(self.optimise_judges)
        self.optimise_judges.step()
        losses |= judged
        return {name: loss.detach() for name, loss in losses.items()}

    def _generator_losses(
        self, images: torch.Tensor, masks_: torch.Tensor, latent: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        nets, weights = self.networks, self.settings
        with self.compute.autocast():
            fake_images = torch.tanh(nets.to_image(torch.cat([masks_, latent[0]], dim=1)))
            fake_masks = torch.tanh(nets.to_mask(images))
            again_masks = torch.tanh(nets.to_mask(fake_images))
            noisy = fake_masks + weights.mask_noise * processes.normal_like(fake_masks)
            again_images = torch.tanh(nets.to_image(torch.cat([noisy, latent[1]], dim=1)))
            judged_images = nets.judge_image(fake_images)
            judged_masks = nets.judge_mask(fake_masks)
        losses = {
            "fool_image": adversarial_loss(judged_images, real=True),
            "fool_mask": adversarial_loss(judged_masks, real=True),
            "cycle_image": weights.lambda_image * functional.l1_loss(again_images.float(), images),
            "cycle_mask": weights.lambda_mask * functional.l1_loss(again_masks.float(), masks_),
        }
        if weights.lambda_polarity:
            hinge = polarity_loss(fake_images.float(), masks_)
            losses["polarity"] = weights.lambda_polarity * hinge
        if weights.lambda_spectrum:
            losses["spectrum"] = weights.lambda_spectrum * self.spectrum(
                fake_images.float(), images
            )
        return fake_images.float(), fake_masks.float(), losses

    @torch.inference_mode()
    def watch(
        self, shown: np.ndarray, windows: np.ndarray, nuclei: np.ndarray | None = None
    ) -> dict[str, float]:
        """:func:`nucleigan.models.guards.watch` of fixed masks and real windows.

        Parameters
        ----------
        shown, windows
            (B, C, H, W) and (B, 3, H, W) float32 in [-1, 1].
        nuclei
            Of the masks, (B, H, W) bool; by default where the first channel is high.
        """
        # The averaged generator paints the pairs, and the learning ones hide what they hide in the
        # masks of each other.
        painter, nets = self.average.network, self.networks
        height, width = shown.shape[2:]
        latent = draw_latent(self.settings.latent_channels, height, width, [0])

        def run(network: nn.Module, given: torch.Tensor) -> torch.Tensor:
            given = given.contiguous(memory_format=computing.CHANNELS_LAST)
            with self.compute.autocast():
                return torch.tanh(network(given).float())

        def paints(network: nn.Module) -> guards.Network:
            def to_image(given: torch.Tensor) -> torch.Tensor:
                beside = latent.to(given).expand(len(given), -1, -1, -1)
                return run(network, torch.cat([given, beside], dim=1))

            return to_image

        learning = (nets.to_image, nets.to_mask)
        for network in learning:
            network.eval()
        given, real = (torch.from_numpy(part).to(self.compute.device) for part in (shown, windows))
        seen = guards.watch(
            paints(painter),
            lambda image: run(nets.to_mask, image),
            given,
            real,
            paints(nets.to_image),
            None if nuclei is None else torch.from_numpy(nuclei).to(self.compute.device),
        )
        for network in learning:
            network.train()
        return seen

    def set_rate(self, factor: float) -> None:
        """Set both optimisers to this part of the rate."""
        for optimiser in (self.optimise_generators, self.optimise_judges):
            set_rate(optimiser, factor * self.settings.optimiser.learning_rate)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "networks": {name: net.state_dict() for name, net in self.networks.all().items()},
            "optimise_generators": self.optimise_generators.state_dict(),
            "optimise_judges": self.optimise_judges.state_dict(),
            "average": self.average.state(),
            "past_images": self.past_images.state(),
            "past_masks": self.past_masks.state(),
            "spectrum": self.spectrum.state(),
            "nuclei": self.nuclei.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        for name, network in self.networks.all().items():
            network.load_state_dict(state["networks"][name])
        self.optimise_generators.load_state_dict(state["optimise_generators"])
        self.optimise_judges.load_state_dict(state["optimise_judges"])
        self.average.load(state["average"])
        self.past_images.load(state["past_images"])
        self.past_masks.load(state["past_masks"])
        self.spectrum.load(state["spectrum"])
        self.nuclei.load(state["nuclei"])


def draw_latents(settings: CycleGANSettings, numbers: Sequence[int], seed: int) -> torch.Tensor:
    """The random numbers of a batch, see :class:`Batch`; ``numbers`` are those of its images."""
    channels, crop = settings.latent_channels, settings.crop
    both = [[torch_seed(seed, "latent", place, number) for number in numbers] for place in range(2)]
    return torch.stack([draw_latent(channels, crop, crop, seeds) for seeds in both])


def polarity_loss(images: torch.Tensor, masks_: torch.Tensor) -> torch.Tensor:
    """How far pixels of nuclei are from absorbing more red than the surroundings by a margin.

    Parameters
    ----------
    images
        (B, 3, H, W) in [-1, 1].
    masks_
        (B, C, H, W) in [-1, 1]; the first channel is high in nuclei. Masks without nuclei, or
        without anything else, cost nothing.
    """
    red = images[:, 0]
    inside = (masks_[:, 0] > 0).float()
    outside = 1 - inside
    over = (1, 2)
    bright = (red * outside).sum(over) / outside.sum(over).clamp(min=1)
    # Pixel by pixel: a mean would allow nuclei that are half dark and half white.
    excess = functional.relu(red - (bright - POLARITY_MARGIN)[:, None, None]) * inside
    judged = outside.sum(over) > 0
    return (excess.sum(over) / inside.sum(over).clamp(min=1) * judged).mean()


def train(
    images: Sequence[str | Path],
    labels: Sequence[str | Path],
    polygons: Sequence[str | Path],
    generator_output: str | Path,
    history_output: str | Path,
    samples_output: str | Path,
    checkpoint: str | Path,
    settings: CycleGANSettings,
    mask_settings: MaskSettings,
    compute_settings: ComputeSettings,
    seed: int,
) -> None:
    """Train a CycleGAN and write its averaged generator from masks to images.

    Parameters
    ----------
    images
        Stacks of real patches, (N, H, W, 3) uint8; an epoch is one pass over the first of them,
        unless the settings say otherwise.
    labels
        Stacks of the label maps of the first of these stacks, (N, H, W) int32; at least one where
        the looks of nuclei count.
    polygons
        Stacks of polygon label maps, (N, H, W) int32.
    generator_output, history_output, samples_output
        Weights, losses an epoch, and a picture of fixed masks with their images at several epochs.
    checkpoint
        Folder for checkpoints; removed from when the training is complete.
    settings, mask_settings, compute_settings
        Of the networks and losses, the encoding, and the machine.
    seed
        Of everything random.
    """
    training = {
        "settings": settings.model_dump(),
        "masks": mask_settings.model_dump(),
        "seed": seed,
        "data": [stored_digest(path) for path in (*images, *labels, *polygons)],
        "code": package_digest("nucleigan.models.cyclegan"),
    }
    compute, identity = begin(compute_settings, checkpoint, training)
    real, drawn = Patches.open(images), Patches.open(polygons)
    annotated = Pairs.open(images[: len(labels)], labels)
    model = CycleGAN(settings, masks.channels(mask_settings), compute, seed)
    # Slides without annotation bring more to see, not more epochs' worth of steps.
    steps = settings.steps_per_epoch or -(-len(real.stacks[0]) // settings.batch_size)
    # Each two masks are the same where what differs between their images counts.
    repeats = 2 if settings.lambda_nuclei else 1
    processes.check_batch(settings.batch_size, repeats)
    draw_image, draw_mask = order(len(real), seed, "image"), order(len(drawn), seed, "mask")
    chooses = settings.choose_epoch
    draw_annotated = order(len(annotated), seed, "annotated")

    def make_batch(step: int) -> tuple[Batch, str]:
        whole = range(step * settings.batch_size, (step + 1) * settings.batch_size)
        numbers = processes.mine(whole)
        chosen = [(draw_image(number), draw_mask(number // repeats)) for number in numbers]
        pictures, encoded, within = [], [], []
        for number, (i, m) in zip(numbers, chosen, strict=True):
            rng = generator(seed, "jitter", number)
            picture, _ = augment(real[i], None, settings.crop, JITTER, rng)
            rng = generator(seed, "jitter of masks", number // repeats)
            _, polygon_map = augment(None, drawn[m], settings.crop, JITTER, rng)
            assert picture is not None and polygon_map is not None
            pictures.append(to_network(picture))
            encoded.append(masks.encode(polygon_map, mask_settings))
            within.append(polygon_map > 0)
        looks, named = None, f"(image, polygon map) {chosen}"
        if settings.lambda_nuclei:
            looks = draw_looks(numbers, np.stack(within))
            named += f" and, annotated, {[draw_annotated(number) for number in numbers]}"
        latent = draw_latents(settings, numbers, seed)
        return Batch(np.stack(pictures), np.stack(encoded), latent, looks), named

    def draw_looks(numbers: range, painted: np.ndarray) -> Looks:
        pictures, nuclei = [], []
        for number in numbers:
            n = draw_annotated(number)
            rng = generator(seed, "jitter of annotated", number)
            picture, theirs = augment(
                annotated.images[n], annotated.labels[n], settings.crop, JITTER, rng
            )
            assert picture is not None and theirs is not None
            pictures.append(to_network(picture))
            nuclei.append(theirs > 0)
        return Looks(painted, np.stack(pictures), np.stack(nuclei))

    corner = np.s_[: settings.crop, : settings.crop]
    shown_maps = [drawn[n][corner] for n in range(min(SAMPLES, len(drawn)))]
    shown = np.stack([masks.encode(one, mask_settings) for one in shown_maps])
    shown_nuclei = np.stack([one > 0 for one in shown_maps])
    # Windows from all over the stack, so from different slides.
    places = np.linspace(0, len(real) - 1, min(SAMPLES, len(real))).astype(int)
    windows = np.stack([to_network(real[int(n)][corner]) for n in places])
    shown_seeds = [torch_seed(seed, "sample", n) for n in range(len(shown))]
    given = with_latent(shown, settings.latent_channels, shown_seeds)
    looked_at = None
    if chooses and processes.rank() == 0:
        looked_at = _looked_at(real, drawn, settings, mask_settings, seed)
    snapshots = Path(checkpoint).with_name(SNAPSHOTS)
    best = BestWeights("kernel_distance", lowest=True) if chooses else None

    def end_of_epoch(epoch: int) -> dict[str, float]:
        # Columns of every row: empty where nobody looked.
        nothing = dict.fromkeys((*guards.MEASURES, *["kernel_distance"] * chooses), math.nan)
        if epoch % settings.sample_every and epoch != settings.epochs:
            return nothing
        painted = paint(model.average.network, given, compute)
        with atomic(snapshots / f"{epoch:05d}.png") as temporary:
            row = Image.fromarray(np.concatenate(painted, axis=1))
            row.save(temporary, pnginfo=_written(of))
        taken = _snapshots(snapshots, epoch, settings, of)
        contact_sheet([*map(mask_picture, shown), *taken], samples_output, columns=len(shown))
        seen = model.watch(shown, windows, shown_nuclei)
        if looked_at is not None and best is not None and 2 * epoch > settings.epochs:
            distance = looked_at.look(lambda part: paint(model.average.network, part, compute))
            best.offer(model.average.network, epoch, distance)
            seen["kernel_distance"] = distance
        for doubt in guards.doubts(seen):
            print(f"warning: epoch {epoch}: {doubt}.", flush=True)
        if settings.lambda_nuclei and not model.nuclei.known():
            print(
                f"warning: epoch {epoch}: no two nuclei, painted or annotated, held a window of "
                f"{SIDE} pixels yet; cyclegan.lambda_nuclei has no effect.",
                flush=True,
            )
        return nothing | seen

    # Trainings of other settings leave their pictures in the same folder.
    of = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    history = loop.run(
        model,
        make_batch,
        steps,
        settings,
        seed,
        checkpoint,
        identity,
        end_of_epoch,
        compute_settings.tensorboard,
        best,
        compute.preparing,
    )
    if processes.rank() > 0:
        return
    facts: dict[str, Any] = {
        "kind": PAINTER,
        "generator": settings.generator.model_dump(),
        "latent_channels": settings.latent_channels,
        "masks": mask_settings.model_dump(),
        "training": {**identity, **compute.facts()},
    }
    tensors, epoch = effective_state(model.average.network), settings.epochs
    if best is not None:
        tensors, chosen = best.chosen()
        epoch, facts["training"]["chosen"] = chosen["epoch"], chosen
        print(f"chosen: {chosen}", flush=True)
    kept = history[history["epoch"] == epoch]
    seen = {key: float(kept[key].iloc[0]) for key in guards.MEASURES}
    facts["training"]["doubts"] = guards.doubts(seen)
    for doubt in facts["training"]["doubts"]:
        print(f"warning: of epoch {epoch}, which paints the pairs: {doubt}.", flush=True)
    write_weights(generator_output, tensors, facts)
    loop.finish(history, history_output, checkpoint)


def _looked_at(
    real: Patches,
    drawn: Patches,
    settings: CycleGANSettings,
    mask_settings: MaskSettings,
    seed: int,
) -> Realism:
    """What an epoch is chosen by: windows from all over the real patches and the polygon maps."""

    def window(source: Patches, kind: str, number: int, most: int) -> np.ndarray:
        picture = source[number * len(source) // most]
        rng = generator(seed, "looked at", kind, number)
        y, x = (int(rng.integers(length - crop + 1)) for length in picture.shape[:2])
        return picture[y : y + crop, x : x + crop]

    crop = settings.crop
    maps = [window(drawn, "mask", number, PAINTED) for number in range(PAINTED)]
    encoded = np.stack([masks.encode(one, mask_settings) for one in maps])
    seeds = [torch_seed(seed, "looked at", number) for number in range(PAINTED)]
    given = with_latent(encoded, settings.latent_channels, seeds)
    windows = np.stack([window(real, "image", number, REAL) for number in range(REAL)])
    return Realism(given, windows, seed)


def _written(of: str) -> PngInfo:
    """What a picture says of the training that it belongs to."""
    info = PngInfo()
    info.add_text(TRAINING, of)
    return info


def _snapshots(folder: Path, epoch: int, settings: CycleGANSettings, of: str) -> list[np.ndarray]:
    """The images of the fixed masks after some epochs up to this one, evenly chosen.

    Epochs whose picture is gone, or another training's, are left out.
    """
    epochs = [*range(settings.sample_every, epoch, settings.sample_every), epoch]
    places = np.linspace(0, len(epochs) - 1, min(SHOWN_SNAPSHOTS, len(epochs))).astype(int)
    found = []
    for place in places:
        with suppress(OSError), Image.open(folder / f"{epochs[place]:05d}.png") as picture:
            if picture.info.get(TRAINING) == of:
                row = np.asarray(picture)
                found += np.split(row, row.shape[1] // settings.crop, axis=1)
    return found
