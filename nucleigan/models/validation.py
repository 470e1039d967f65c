"""How good a segmenter is while it learns, on slides that it does not learn from."""

import json
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
from nucleigan.models.weights import read_weights, write_weights
from nucleigan.networks import effective_state
from nucleigan.training.checkpoint import BEST


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
        self.markers = method.markers or ((default.marker, default.summit),)

    def look(self, guess: Callable[[np.ndarray], np.ndarray]) -> float:
        """Mean AJI of the slides, at the best of the method's markers.

        Thresholds of the configuration do not count: they may change without a training.

        Parameters
        ----------
        guess
            From an image (H, W, 3) uint8 to the mask (C, H, W) in [-1, 1].
        """
        found = np.zeros(len(self.markers))
        for image, truth in self.slides:
            mask = guess(image)
            for place, (marker, summit) in enumerate(self.markers):
                decoding = DecodingSettings(marker=marker, summit=summit)
                labels = self.decode(mask, self.mask_settings, decoding)
                found[place] += aggregated_jaccard(truth, labels)
        return float(found.max() / len(self.slides))


class BestWeights:
    """The weights of a run's best look, in a file: the run may be killed and go on.

    What it does depends on the looks alone, so that looking again after a kill changes nothing.

    Parameters
    ----------
    folder
        Of the run's checkpoints.
    identity
        Of the run; weights of another one are written over.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any]) -> None:
        self.path = Path(folder) / BEST
        # As text: what has been in a file no longer tells tuples from lists.
        self.identity = json.dumps(identity, sort_keys=True, default=str)
        self.best: tuple[float, int] | None = None
        if self.path.exists():
            facts = read_weights(self.path)[1]
            if facts["identity"] == self.identity:
                self.best = facts["aji"], facts["epoch"]

    def offer(self, network: nn.Module, epoch: int, aji: float) -> None:
        """Keep these weights if they are better, or as good and earlier."""
        if self.best is None or (aji, -epoch) > (self.best[0], -self.best[1]):
            self.best = aji, epoch
            facts = {"identity": self.identity, "aji": aji, "epoch": epoch}
            write_weights(self.path, effective_state(network), facts)

    def read(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The weights that are kept, and the ``epoch`` and ``aji`` of their look."""
        tensors, facts = read_weights(self.path)
        return tensors, {"epoch": facts["epoch"], "aji": round(facts["aji"], 6)}
