"""How good a segmenter is on slides that it does not learn from."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nucleigan.artifacts import open_image
from nucleigan.config import DecodingSettings, MaskSettings
from nucleigan.metrics import aggregated_jaccard
from nucleigan.models.contract import Method
from nucleigan.networks import effective_state

# Image (H, W, 3) uint8 and label map (H, W) of a slide, or of parts of it.
Fields = list[tuple[np.ndarray, np.ndarray]]
# Of a slide with more pixels than so many squares of this side, so many parts no larger than such
# a square are looked at: each of 70 sets of thresholds decodes them, and they stay in memory.
FIELDS, SIDE = 8, 1024


def fields(image: str | Path, labels: str | Path) -> Fields:
    """A validation slide as it is looked at: whole, or in parts that hold nuclei.

    Parameters
    ----------
    image, labels
        Normalised slide and its label map, TIFF.

    Returns
    -------
    At least one; of many parts with nuclei an even choice, of a slide without any the first.
    """
    with open_image(image) as picture, open_image(labels) as truth:
        height, width = truth.shape
        if height * width <= FIELDS * SIDE**2:
            return [(picture[:, :], truth[:, :])]
        sides = [
            itertools.pairwise(np.linspace(0, length, -(-length // SIDE) + 1).astype(int))
            for length in (height, width)
        ]
        parts = [tuple(slice(*ends) for ends in both) for both in itertools.product(*sides)]
        chosen = [part for part in parts if truth[part].any()] or parts[:1]
        places = np.linspace(0, len(chosen) - 1, min(FIELDS, len(chosen))).round().astype(int)
        return [(picture[chosen[place]], truth[chosen[place]]) for place in places]


def telling(slides: Iterable[Fields]) -> list[Fields]:
    """The slides that have nuclei, or all where none has.

    Where there is nothing to find, a single false nucleus makes an AJI of 0 of 1.
    """
    slides = list(slides)
    return [slide for slide in slides if any(truth.any() for _, truth in slide)] or slides


class Validation:
    """Validation slides in memory, large ones in part.

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
        self.slides = telling(map(fields, images, labels))
        self.decode = method.decode
        self.mask_settings = mask_settings
        default = DecodingSettings()
        self.markers = method.markers_of(mask_settings) or ((default.marker, default.summit),)

    def look(self, guess: Callable[[np.ndarray], np.ndarray]) -> float:
        """Mean AJI of the slides that have nuclei, at the best of the method's markers.

        Thresholds of the configuration do not count: they may change without a training.

        Parameters
        ----------
        guess
            From an image (H, W, 3) uint8 to the mask (C, H, W) in [-1, 1].
        """
        found = np.zeros(len(self.markers))
        for slide in self.slides:
            for image, truth in slide:
                mask = guess(image)
                for place, (marker, summit) in enumerate(self.markers):
                    decoding = DecodingSettings(marker=marker, summit=summit)
                    labels = self.decode(mask, self.mask_settings, decoding)
                    found[place] += aggregated_jaccard(truth, labels) / len(slide)
        return float(found.max() / len(self.slides))


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
