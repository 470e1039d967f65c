"""The stage of the workflow that segments slides with a trained model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from nucleigan.artifacts import atomic, write_image
from nucleigan.config import ComputeSettings
from nucleigan.figures.overlay import overlay
from nucleigan.segmentation.export import write_geojson
from nucleigan.segmentation.segmenter import Segmenter

# Pictures for people are at most this large, pixels.
PICTURE_SIDE = 1000


def segment_slides(
    model: str | Path,
    slides: Sequence[dict[str, Any]],
    outputs: Sequence[dict[str, str]],
    compute: ComputeSettings,
) -> None:
    """Segment normalised slides and write label maps, GeoJSON and overlays.

    Parameters
    ----------
    model
        A model file.
    slides
        Dictionaries with ``slide``, ``image`` and ``labels`` (None where not annotated).
    outputs
        Dictionaries with ``labels``, ``geojson`` and ``picture``, one a slide.
    compute
        Device, precision and threads.
    """
    segmenter = Segmenter.load(model, compute)
    mpp = float(segmenter.facts["mpp"])
    for number, (slide, output) in enumerate(zip(slides, outputs, strict=True), 1):
        image = tifffile.imread(slide["image"])
        labels = segmenter.segment(image, normalize=False)
        truth = tifffile.imread(slide["labels"]) if slide["labels"] else None
        write_image(output["labels"], labels, mpp)
        write_geojson(output["geojson"], labels, mpp)
        _write_picture(output["picture"], overlay(image, truth, labels))
        print(
            f"{number}/{len(slides)} {slide['slide']}: {int(labels.max(initial=0))} nuclei",
            flush=True,
        )


def _write_picture(path: str, picture: np.ndarray) -> None:
    drawn = Image.fromarray(picture)
    drawn.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    with atomic(path) as temporary:
        drawn.save(temporary)
