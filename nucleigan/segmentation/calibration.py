"""Whether the mask's probability is the part of pixels that are what it says."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nucleigan import masks
from nucleigan.artifacts import open_image, read_table, write_table
from nucleigan.config import ComputeSettings, MaskSettings
from nucleigan.progress import progress
from nucleigan.segmentation.segmenter import Segmenter
from nucleigan.windows import Picture, surrounded

# A sample is enough, and networks are slow: at most so many slides, the middle of each (pixels).
SLIDES, SIDE = 16, 384
# Larger than nuclei, pixels: how wide a boundary is may depend on all of a nucleus.
AROUND = 128
BINS = 20
COLUMNS = ["low", "high", "pixels", "predicted", "observed"]


def calibrate(
    model: str | Path,
    slides: Sequence[dict[str, str]],
    output: str | Path,
    compute: ComputeSettings,
) -> None:
    """Compare the first channel of a model's mask with that of the true labels.

    Parameters
    ----------
    model
        A model file; of a method with masks of its own kind the table counts no pixels.
    slides
        Dictionaries with ``slide``, ``image`` (normalised) and ``labels``; of more than
        :data:`SLIDES`, an even choice is taken.
    output
        CSV: bounds of each of the :data:`BINS` groups of pixels by predicted probability, their
        number, mean predicted probability, and the part of them that the encoded labels mark.
    compute
        Device, precision and threads.
    """
    segmenter = Segmenter.load(model, compute)
    # Masks that are decoded otherwise, as distances are, hold no such probability.
    method = segmenter.method
    slides = slides if method.probabilities and method.decode is masks.decode else []
    predicted, observed = [np.zeros(0)], [np.zeros(0, bool)]
    chosen = np.linspace(0, len(slides) - 1, min(SLIDES, len(slides))).astype(int)
    for number in progress(chosen, len(chosen), "slides"):
        slide = slides[number]
        with open_image(slide["image"]) as image, open_image(slide["labels"]) as labels:
            place = middle(image.shape[:2])
            mask = segmenter.predict(image[place])
            predicted.append((mask[0].ravel() + 1) / 2)
            observed.append(_encoded(labels, place, segmenter.mask_settings).ravel() > 0)
        print(f"{slide['slide']}: {mask[0].size} pixels", flush=True)
    table = reliability(np.concatenate(predicted), np.concatenate(observed))
    write_table(output, table, digits=6)


def _encoded(labels: Picture, place: tuple[slice, ...], settings: MaskSettings) -> np.ndarray:
    """The first channel of a part of a label map, encoded with what lies around it."""
    around, inner = surrounded(place, labels.shape, AROUND)
    return masks.encode(labels[around], settings)[0][inner]


def middle(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The middle of an image, at most :data:`SIDE` pixels a side."""
    starts = [max(0, (length - SIDE) // 2) for length in shape]
    return tuple(slice(start, start + SIDE) for start in starts)


def reliability(predicted: np.ndarray, observed: np.ndarray) -> pd.DataFrame:
    """Group pixels by predicted probability.

    Parameters
    ----------
    predicted
        (N,) probabilities in [0, 1].
    observed
        (N,) bool.

    Returns
    -------
    Columns ``low``, ``high``, ``pixels``, ``predicted`` and ``observed``; the means of an empty
    group are NaN.
    """
    group = np.clip((predicted * BINS).astype(np.int64), 0, BINS - 1)
    pixels = np.bincount(group, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(group, values, BINS) / pixels for values in (predicted, observed)]
    edges = np.arange(BINS + 1) / BINS
    return pd.DataFrame(dict(zip(COLUMNS, (edges[:-1], edges[1:], pixels, *means), strict=True)))


def draw_calibration(tables: Mapping[str, str | Path], output: str | Path) -> None:
    """Draw the tables of :func:`calibrate`, model by model, into one PNG."""
    from nucleigan.figures.curves import calibration

    calibration({name: read_table(path) for name, path in tables.items()}, output)
