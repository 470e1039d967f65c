"""How good a segmenter is while it learns, on slides that it does not learn from."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nucleigan.artifacts import read_tiff
from nucleigan.config import DecodingSettings, MaskSettings
from nucleigan.metrics import aggregated_jaccard
from nucleigan.models.contract import Method
from nucleigan.networks import effective_state


class Validation:
    """Validation slides in memory.

    Parameters
    ----------
    images, labels
        Normalised slides and their label maps, TIFF.
    method, mask_settings
        How masks become nuclei.
    """

    def __init__(
        self,
        images: Sequence[str | Path],
        labels: Sequence[str | Path],
        method: Method,
        mask_settings: MaskSettings,
    ) -> None:
        self.slides = [
            (read_tiff(image), read_tiff(truth))
            for image, truth in zip(images, labels, strict=True)
        ]
        self.decode = method.decode
        self.mask_settings = mask_settings
        default = DecodingSettings()
        self.markers = method.markers_of(mask_settings) or ((default.marker, default.summit),)

    def look(self, guess: Callable[[np.ndarray], np.ndarray]) -> float:
        """Mean AJI of the slides that have nuclei, at the best of the method's markers.

        Where there is nothing to find, a single false nucleus makes 0 of 1; such slides count where
        there are no others.

        Thresholds of the configuration do not count: they may change without a training.

        Parameters
        ----------
        guess
            From an image (H, W, 3) uint8 to the mask (C, H, W) in [-1, 1].
        """
        found = np.zeros(len(self.markers))
        slides = [slide for slide in self.slides if slide[1].any()] or self.slides
        for image, truth in slides:
            mask = guess(image)
            for place, (marker, summit) in enumerate(self.markers):
                decoding = DecodingSettings(marker=marker, summit=summit)
                labels = self.decode(mask, self.mask_settings, decoding)
                found[place] += aggregated_jaccard(truth, labels)
        return float(found.max() / len(slides))


class BestWeights:
    """The weights of a run's best look.

    They are part of the run's checkpoints: one that falls back to an earlier step forgets the looks
    after it, and looks again.

    Parameters
    ----------
    measure
        What the looks measure.
    lowest
        Whether the lowest value is the best.
    """

    def __init__(self, measure: str, lowest: bool = False) -> None:
        self.measure, self.lowest = measure, lowest
        self.best: dict[str, Any] | None = None

    def offer(self, network: nn.Module, epoch: int, value: float) -> None:
        """Keep these weights if they are better than all before."""
        sign = -1 if self.lowest else 1
        if (
            self.best is None
            or math.isnan(self.best["value"])
            or sign * value > sign * self.best["value"]
        ):
            tensors = {name: one.cpu() for name, one in effective_state(network).items()}
            self.best = {"epoch": epoch, "value": value, "tensors": tensors}

    def state(self) -> dict[str, Any]:
        """The best look, for a checkpoint."""
        return {"best": self.best}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's best look."""
        self.best = state["best"]

    def chosen(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The weights that are kept, and ``epoch`` and measure of their look."""
        assert self.best is not None, "nobody looked"
        facts = {"epoch": self.best["epoch"], self.measure: round(self.best["value"], 6)}
        return self.best["tensors"], facts
