"""How good a segmenter is on slides that it does not learn from."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from nucleigan.artifacts import open_image
from nucleigan.config import DecodingSettings, MaskSettings
from nucleigan.metrics import aggregated_jaccard
from nucleigan.models.contract import Method

Told = TypeVar("Told")
# Of a slide with more pixels than so many squares of this side, so many parts no larger than such
# a square are looked at: each of 70 sets of thresholds decodes them, and they stay in memory.
FIELDS, SIDE = 8, 1024


class Part(NamedTuple):
    """A part of a validation slide, or all of it.

    Attributes
    ----------
    image, truth
        (H, W, 3) uint8, and its label map (H, W).
    share
        How much it counts among the parts: by its pixels of nuclei; 1 altogether.
    """

    image: np.ndarray
    truth: np.ndarray
    share: float


def looked_at(image: str | Path, labels: str | Path) -> list[Part]:
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
            return [Part(picture[:, :], truth[:, :], 1.0)]
        sides = [
            itertools.pairwise(np.linspace(0, length, -(-length // SIDE) + 1).astype(int))
            for length in (height, width)
        ]
        parts = [tuple(slice(*ends) for ends in both) for both in itertools.product(*sides)]
        chosen = [part for part in parts if truth[part].any()] or parts[:1]
        places = np.linspace(0, len(chosen) - 1, min(FIELDS, len(chosen))).round().astype(int)
        found = [(picture[chosen[place]], truth[chosen[place]]) for place in places]
    nuclei = [np.count_nonzero(map_) for _, map_ in found]
    total = sum(nuclei)
    return [
        Part(pixels, map_, count / total if total else 1.0)
        for (pixels, map_), count in zip(found, nuclei, strict=True)
    ]


def has_nuclei(parts: Sequence[Part]) -> bool:
    """Whether there is anything to find on a slide."""
    return any(part.truth.any() for part in parts)


def telling(found: Iterable[tuple[bool, Told]]) -> list[Told]:
    """What was found on the slides that have nuclei, or on all where none has.

    Where there is nothing to find, a single false nucleus makes an AJI of 0 of 1.

    Parameters
    ----------
    found
        Of each slide whether it has nuclei, and what was found.
    """
    told: dict[bool, list[Told]] = {True: [], False: []}
    for has, one in found:
        told[has].append(one)
    return told[True] or told[False]


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
        slides = map(looked_at, images, labels)
        self.slides = telling((has_nuclei(parts), parts) for parts in slides)
        self.decode, self.thresholds = method.decode, dict(method.thresholds)
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
            for image, truth, share in slide:
                mask = guess(image)
                for place, (marker, summit) in enumerate(self.markers):
                    tried = self.thresholds | {"marker": marker, "summit": summit}
                    decoding = DecodingSettings(**tried)
                    labels = self.decode(mask, self.mask_settings, decoding)
                    found[place] += share * aggregated_jaccard(truth, labels)
        return float(found.max() / len(self.slides))
