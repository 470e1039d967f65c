"""The stage of the workflow that segments a slide with a trained model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from nucleigan.artifacts import atomic, open_image, write_bands
from nucleigan.config import ComputeSettings
from nucleigan.figures.overlay import overlay
from nucleigan.segmentation.export import geojson
from nucleigan.segmentation.segmenter import Segmenter
from nucleigan.slides.resample import resample_labels, shrunk

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
        The normalised slide, TIFF; one that is larger than memory goes through it in bands.
    truth
        Its true label map for the overlay; None where it is not annotated.
    labels_output, geojson_output, picture_output
        Label TIFF, polygons for QuPath, and a PNG of outlines over the slide.
    compute
        Device, precision and threads.
    """
    segmenter = Segmenter.load(model, compute)
    mpp = float(segmenter.facts["mpp"])
    count = 0
    with open_image(image) as picture, geojson(geojson_output, mpp) as add:

        def rows() -> Iterator[np.ndarray]:
            nonlocal count
            for labels, nuclei in segmenter.segment_bands(picture):
                add(nuclei)
                count += len(nuclei)
                yield labels

        write_bands(labels_output, picture.shape[:2], np.int32, rows(), mpp)
        small = shrunk(picture, PICTURE_SIDE)
    found = _shrunk_labels(labels_output, small)
    known = None if truth is None else _shrunk_labels(truth, small)
    with atomic(picture_output) as temporary:
        Image.fromarray(overlay(small, known, found)).save(temporary)
    print(f"{count} nuclei", flush=True)


def _shrunk_labels(path: str | Path, picture: np.ndarray) -> np.ndarray:
    with open_image(path) as labels:
        return resample_labels(labels, (picture.shape[0], picture.shape[1]))
