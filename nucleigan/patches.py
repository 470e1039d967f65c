"""Patches for training: a grid over every slide, stacked so that training maps them into memory."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from nucleigan.artifacts import open_image, write_stack, write_table
from nucleigan.config import PatchSettings
from nucleigan.errors import NucleiganError
from nucleigan.figures.sheets import contact_sheet, outline
from nucleigan.progress import progress

SHOWN = 32
CONTOUR = (0, 255, 0)


def grid(length: int, size: int, stride: int) -> list[int]:
    """Starts of windows that cover a length, evenly spaced, at most ``stride`` apart.

    >>> grid(1000, 256, 248)
    [0, 248, 496, 744]
    """
    steps = -(-(length - size) // stride)
    return [round(step * (length - size) / steps) for step in range(steps + 1)] if steps else [0]


def cut_patches(
    slides: Sequence[Mapping[str, str]],
    images_output: str | Path,
    labels_output: str | Path,
    table_output: str | Path,
    picture_output: str | Path,
    settings: PatchSettings,
) -> None:
    """Cut slides into patches.

    Parameters
    ----------
    slides
        Each with ``slide``, ``organ``, and the paths ``image`` and ``labels``.
    images_output, labels_output
        Stacks (N, size, size, 3) uint8 and (N, size, size) int32.
    table_output
        CSV: patch, slide, organ, y and x of its corner (pixels), nuclei.
    picture_output
        PNG of some patches with the contours of their nuclei.
    settings
        Size and stride.

    Raises
    ------
    NucleiganError
        A slide is smaller than a patch, or image and label map differ in size.
    """
    places = [place for slide in slides for place in _places(slide, settings)]
    if not places:
        raise NucleiganError(
            "no slide with an annotation is there to cut patches from; add one to the sheet."
        )
    shape = (len(places), settings.size, settings.size)
    windows = progress(_windows(slides, "image", settings), len(places), "patches")
    write_stack(images_output, (*shape, 3), np.uint8, windows)
    counts: list[int] = []
    shown: list[np.ndarray] = []
    chosen = set(np.linspace(0, len(places) - 1, min(SHOWN, len(places))).astype(int))
    images = tifffile.memmap(images_output, mode="r").reshape(*shape, 3)

    def counted() -> Iterator[np.ndarray]:
        for number, labels in enumerate(_windows(slides, "labels", settings)):
            counts.append(len(np.unique(labels[labels > 0])))
            if number in chosen:
                shown.append(outline(np.array(images[number]), labels, CONTOUR))
            yield labels

    write_stack(labels_output, shape, np.int32, progress(counted(), len(places), "label maps"))
    contact_sheet(shown, picture_output)
    table = pd.DataFrame(places).assign(nuclei=counts)
    table.insert(0, "patch", range(len(table)))
    write_table(table_output, table)
    print(f"{len(places)} patches of {len(slides)} slides, {sum(counts)} nuclei", flush=True)


def _places(slide: Mapping[str, str], settings: PatchSettings) -> list[dict[str, object]]:
    image, labels = (_shape(slide[key]) for key in ("image", "labels"))
    if image[:2] != labels:
        raise NucleiganError(
            f"slide {slide['slide']}: the image is {image[0]}×{image[1]}, the label map "
            f"{labels[0]}×{labels[1]} pixels; make both again."
        )
    if min(labels) < settings.size:
        raise NucleiganError(
            f"slide {slide['slide']}: is {labels[0]}×{labels[1]} pixels at the working "
            f"magnification, smaller than patches.size = {settings.size}; lower it or leave the "
            "slide out."
        )
    return [
        {"slide": slide["slide"], "organ": slide["organ"], "y": y, "x": x}
        for y in grid(labels[0], settings.size, settings.stride)
        for x in grid(labels[1], settings.size, settings.stride)
    ]


def _shape(path: str) -> tuple[int, ...]:
    with tifffile.TiffFile(path) as file:
        return file.pages.first.shape


def _windows(
    slides: Sequence[Mapping[str, str]], key: str, settings: PatchSettings
) -> Iterator[np.ndarray]:
    size = settings.size
    for slide in slides:
        with open_image(slide[key]) as picture:
            for y in grid(picture.shape[0], size, settings.stride):
                for x in grid(picture.shape[1], size, settings.stride):
                    yield picture[y : y + size, x : x + size]
