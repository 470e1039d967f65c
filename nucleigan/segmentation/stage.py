"""The stage of the workflow that segments a slide with a trained model."""

from pathlib import Path

import numpy as np
from PIL import Image

from nucleigan.artifacts import atomic, read_tiff, write_image
from nucleigan.config import ComputeSettings
from nucleigan.figures.overlay import overlay
from nucleigan.segmentation.export import write_geojson
from nucleigan.segmentation.segmenter import Segmenter

# Pictures for people are at most this large, pixels.
PICTURE_SIDE = 1000


def segment_slide(
    model: str | Path,
    image: str | Path,
    truth: str | Path | None,
    labels_output: str | Path,
    geojson_output: str | Path,
    picture_output: str | Path,
    compute: ComputeSettings,
) -> None:
    """Segment a normalised slide and write its label map, GeoJSON and overlay.

    Parameters
    ----------
    model
        A model file.
    image
        The normalised slide, TIFF.
    truth
        Its true label map for the overlay; None where it is not annotated.
    labels_output, geojson_output, picture_output
        Label TIFF, polygons for QuPath, and a PNG of outlines over the slide.
    compute
        Device, precision and threads.
    """
    segmenter = Segmenter.load(model, compute)
    mpp = float(segmenter.facts["mpp"])
    pixels = read_tiff(image)
    labels = segmenter.segment(pixels, normalize=False)
    write_image(labels_output, labels, mpp)
    write_geojson(geojson_output, labels, mpp)
    _write_picture(
        picture_output, overlay(pixels, None if truth is None else read_tiff(truth), labels)
    )
    print(f"{int(labels.max(initial=0))} nuclei", flush=True)


def _write_picture(path: str | Path, picture: np.ndarray) -> None:
    drawn = Image.fromarray(picture)
    drawn.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    with atomic(path) as temporary:
        drawn.save(temporary)
