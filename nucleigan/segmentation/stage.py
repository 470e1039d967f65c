"""Slides to nuclei with a trained model: the stage of the workflow, and files outside of it."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nucleigan.artifacts import atomic, open_image, read_json, read_tiff, write_bands
from nucleigan.config import ComputeSettings, IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.figures.overlay import hits, overlay
from nucleigan.lock import NO_LOCKS
from nucleigan.progress import progress
from nucleigan.segmentation.export import Features, geojson
from nucleigan.segmentation.segmenter import Segmenter
from nucleigan.slides.images import DEFAULTS, check_pixels, opened_level, read_header
from nucleigan.slides.resample import (
    resample_labels,
    resampled,
    resampled_labels,
    scaled_shape,
    shrunk,
)
from nucleigan.slides.sheet import check_mpp, magnification_doubts
from nucleigan.windows import Picture, bands

# Pictures for people are at most this large, pixels.
PICTURE_SIDE = 1000


def segment_slide(
    model: str | Path,
    image: str | Path,
    facts: str | Path,
    truth: str | Path | None,
    labels_output: str | Path,
    geojson_output: str | Path,
    picture_output: str | Path,
    compute: ComputeSettings,
    limits: IngestionSettings = DEFAULTS,
) -> None:
    """Segment a normalised slide and write its label map, GeoJSON and overlay.

    Parameters
    ----------
    model
        A model file.
    image
        The normalised slide, TIFF; one that is larger than memory goes through it in bands.
    facts
        ``slide.json`` of its ingestion, for the size and magnification of its own file.
    truth
        Its true label map for the overlay; None where it is not annotated.
    labels_output, geojson_output, picture_output
        Label TIFF, polygons for QuPath in pixels of the slide's own file, and a PNG of outlines
        over the slide.
    compute
        Device, precision and threads.
    limits
        ``max_pixels_whole``, where the model needs the slide as a whole.
    """
    segmenter = Segmenter.load(model, compute)
    source = read_json(facts)
    with open_image(image) as picture:
        height, width = picture.shape[:2]
        _check_whole(segmenter, Path(image), (height, width), limits)
        scale = (source["source_height"] / height, source["source_width"] / width)
        with geojson(geojson_output, source["source_mpp"], scale) as features:
            rows = _label_rows(segmenter, picture, features)
            write_bands(labels_output, (height, width), np.int32, rows, segmenter.facts["mpp"])
        small = shrunk(picture, PICTURE_SIDE)
    found = _shrunk_labels(labels_output, small)
    known = None if truth is None else _shrunk_labels(truth, small)
    matched = None
    if truth is not None and small.shape[:2] != (height, width):
        matched = hits(read_tiff(truth), read_tiff(labels_output))
    with atomic(picture_output) as temporary:
        Image.fromarray(overlay(small, known, found, matched)).save(temporary)
    print(f"{features.count} nuclei", flush=True)


def segment_file(
    segmenter: Segmenter,
    image: str | Path,
    labels_output: str | Path,
    geojson_output: str | Path,
    mpp: float | None = None,
    limits: IngestionSettings = DEFAULTS,
    origin: dict[str, Any] | None = None,
) -> int:
    """Find the nuclei of an image file of any size.

    The file goes the way of a slide through the workflow: to the model's magnification, to the
    stains of its reference, through the network, all in bands of rows.

    Parameters
    ----------
    segmenter
        The model.
    image
        TIFF, SVS, PNG or JPEG.
    labels_output, geojson_output
        Label TIFF of the image's size, and polygons for QuPath.
    mpp
        µm per pixel; None takes what the file says.
    limits
        Of what is read.
    origin
        What the polygons' file says they were found by.

    Returns
    -------
    The number of nuclei. The label map lacks those that are smaller than a pixel of the image, with
    a warning; the polygons have all.

    Raises
    ------
    NucleiganError
        The image cannot be read, or says nothing of its magnification.
    """
    header = read_header(image, limits)
    mpp = header.mpp if mpp is None else mpp
    if mpp is None:
        raise NucleiganError(f"{image}: does not say how many µm a pixel has; give it with --mpp.")
    check_mpp(mpp, str(image))
    working = float(segmenter.facts["mpp"])
    factor = mpp / working
    shape = scaled_shape(header.shape, factor)
    if shape[0] * shape[1] > limits.max_pixels:
        raise NucleiganError(
            f"{image}: at the model's {working:g} µm per pixel it has {shape[0]}×{shape[1]} "
            f"pixels, more than {limits.max_pixels}; correct its --mpp, raise --max-pixels or cut "
            "the image."
        )
    _check_whole(segmenter, Path(image), shape, limits)
    for doubt in magnification_doubts(image, header.mpp, mpp, working, "--mpp"):
        _warn(doubt)
    with _working_in(workspace(Path(labels_output))) as folder, ExitStack() as files:
        scaled, normalized = folder / "image.tif", folder / "normalized.tif"
        level = files.enter_context(opened_level(image, 1 / factor, limits))
        for warning in level.warnings:
            _warn(warning)
        rows = resampled(level.picture, shape, level.extent)
        rows = progress(rows, shape[0], "rows read", len)
        write_bands(scaled, (*shape, 3), np.uint8, rows)
        picture = files.enter_context(open_image(scaled))
        normalize = segmenter.normalizer(picture, lambda doubt: _warn(f"{image}: {doubt}"))
        rows = progress(map(normalize, bands(picture)), shape[0], "rows normalised", len)
        write_bands(normalized, picture.shape, np.uint8, rows)
        picture = files.enter_context(open_image(normalized))
        scale = (header.shape[0] / shape[0], header.shape[1] / shape[1])
        written: set[int] = set()
        # The polygons first: where the label map is, both are.
        with geojson(geojson_output, mpp, scale, origin) as features:
            rows = _label_rows(segmenter, picture, features)
            labels = resampled_labels(rows, shape, header.shape)
            # A file of the model's pixels or finer ones keeps them all.
            labels = _noted(labels, written) if factor > 1 else labels
            write_bands(folder / "labels.tif", header.shape, np.int32, labels, mpp)
        (folder / "labels.tif").replace(labels_output)
    lost = features.count - len(written) if factor > 1 else 0
    if lost:
        _warn(
            f"{image}: {lost} of {features.count} nuclei are too small for its {mpp:g} µm per "
            f"pixel: {labels_output} lacks them, {geojson_output} has all."
        )
    return features.count


def _noted(rows: Iterable[np.ndarray], ids: set[int]) -> Iterator[np.ndarray]:
    """Rows of a label map, whose ids are added to a set."""
    for labels in rows:
        ids.update(np.unique(labels[labels > 0]).tolist())
        yield labels


def workspace(output: Path) -> Path:
    """The hidden folder beside a label map that is being made; a killed run leaves it there."""
    return output.with_name(f".{output.name}.partial")


@contextmanager
def _working_in(folder: Path) -> Iterator[Path]:
    """Such a folder, empty; removed in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    # The system's lock ends with the process, however that ends.
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NucleiganError(
                f"{folder}: another run works there; wait for its end, or choose another folder."
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        for left in folder.iterdir():
            left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _check_whole(
    segmenter: Segmenter, path: Path, shape: tuple[int, int], limits: IngestionSettings
) -> None:
    """Refuse, before it is looked at, what would not fit into memory in the end."""
    method, encoding = segmenter.facts["method"], segmenter.mask_settings.encoding
    if segmenter.needs_whole:
        what = f"{method} with masks.encoding {encoding} needs it at once, and it"
        check_pixels(path, shape, limits, whole=True, what=what)


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


def _label_rows(segmenter: Segmenter, picture: Picture, features: Features) -> Iterator[np.ndarray]:
    """Rows of the label map from top to bottom; their nuclei become features on the way."""
    for labels, nuclei in segmenter.segment_bands(picture):
        features.add(nuclei)
        yield labels


def _shrunk_labels(path: str | Path, picture: np.ndarray) -> np.ndarray:
    with open_image(path) as labels:
        return resample_labels(labels, (picture.shape[0], picture.shape[1]))
