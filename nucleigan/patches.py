"""Patches for training: a grid over every slide, stacked so that training maps them into memory."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tifffile

from nucleigan.artifacts import open_image, write_stack, write_table
from nucleigan.config import PatchSettings
from nucleigan.errors import NucleiganError
from nucleigan.figures.sheets import contact_sheet, outline
from nucleigan.progress import progress
from nucleigan.randomness import generator
from nucleigan.slides.tissue import tissue_mask

SHOWN = 32
CONTOUR = (0, 255, 0)


class Place(NamedTuple):
    """Where a patch lies: its upper left corner in a slide, pixels."""

    slide: str
    organ: str
    y: int
    x: int


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
    """Cut annotated slides into patches, all of them.

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
    windows = progress(_windows(slides, "image", places, settings), len(places), "patches")
    write_stack(images_output, (*shape, 3), np.uint8, windows)
    images = tifffile.memmap(images_output, mode="r").reshape(*shape, 3)
    counts: list[int] = []
    shown: list[np.ndarray] = []
    chosen = set(_shown(len(places)))

    def counted() -> Iterator[np.ndarray]:
        for number, labels in enumerate(_windows(slides, "labels", places, settings)):
            counts.append(len(np.unique(labels[labels > 0])))
            if number in chosen:
                shown.append(outline(np.array(images[number]), labels, CONTOUR))
            yield labels

    write_stack(labels_output, shape, np.int32, progress(counted(), len(places), "label maps"))
    contact_sheet(shown, picture_output)
    _write_table(table_output, places, nuclei=counts)
    print(f"{len(places)} patches of {len(slides)} slides, {sum(counts)} nuclei", flush=True)


def cut_unannotated(
    slide: Mapping[str, str],
    images_output: str | Path,
    table_output: str | Path,
    picture_output: str | Path,
    settings: PatchSettings,
    seed: int,
) -> None:
    """Cut patches of a slide's tissue, without nuclei.

    Parameters
    ----------
    slide
        ``slide``, ``organ``, and the path ``image``.
    images_output
        Stack (N, size, size, 3) uint8.
    table_output
        CSV: patch, slide, organ, y and x of its corner (pixels).
    picture_output
        PNG of some patches.
    settings
        Size and stride, and how many patches are taken of what.
    seed
        Of the choice.

    Raises
    ------
    NucleiganError
        The slide is smaller than a patch, or no patch shows enough tissue.
    """
    places = _places(slide, settings)
    # A whole slide has far more windows than are wanted: no more of them are read than that takes.
    tried = generator(seed, "unannotated", slide["slide"]).permutation(len(places))
    windows = _windows([slide], "image", [places[number] for number in tried], settings)
    found: dict[int, np.ndarray] = {}
    for number, window in zip(tried, windows, strict=True):
        if tissue_mask(window).mean() >= settings.least_tissue:
            found[int(number)] = np.array(window)
        if len(found) == settings.most_unannotated:
            break
    if not found:
        raise NucleiganError(
            f"slide {slide['slide']}: no patch is tissue in {settings.least_tissue:.0%} of its "
            "pixels; lower patches.least_tissue or leave the slide out of the sheet."
        )
    chosen = sorted(found)
    shape = (len(chosen), settings.size, settings.size, 3)
    write_stack(images_output, shape, np.uint8, (found[number] for number in chosen))
    contact_sheet([found[chosen[shown]] for shown in _shown(len(chosen))], picture_output)
    _write_table(table_output, [places[number] for number in chosen])
    print(f"{len(chosen)} patches of {len(places)} are taken", flush=True)


def _places(slide: Mapping[str, str], settings: PatchSettings) -> list[Place]:
    image = _shape(slide["image"])[:2]
    if "labels" in slide and (labels := _shape(slide["labels"])) != image:
        raise NucleiganError(
            f"slide {slide['slide']}: the image is {image[0]}×{image[1]}, the label map "
            f"{labels[0]}×{labels[1]} pixels; make both again."
        )
    if min(image) < settings.size:
        raise NucleiganError(
            f"slide {slide['slide']}: is {image[0]}×{image[1]} pixels at the working "
            f"magnification, smaller than patches.size = {settings.size}; lower it or leave the "
            "slide out."
        )
    return [
        Place(slide["slide"], slide["organ"], y, x)
        for y in grid(image[0], settings.size, settings.stride)
        for x in grid(image[1], settings.size, settings.stride)
    ]


def _shape(path: str) -> tuple[int, ...]:
    with tifffile.TiffFile(path) as file:
        return file.pages.first.shape


def _windows(
    slides: Sequence[Mapping[str, str]],
    key: str,
    places: Sequence[Place],
    settings: PatchSettings,
) -> Iterator[np.ndarray]:
    """The windows at places, which lie slide by slide."""
    paths = {slide["slide"]: slide[key] for slide in slides}
    size = settings.size
    for name, here in groupby(places, lambda place: place.slide):
        with open_image(paths[name]) as picture:
            for place in here:
                yield picture[place.y : place.y + size, place.x : place.x + size]


def _shown(count: int) -> np.ndarray:
    """The patches that the contact sheet shows, evenly chosen."""
    return np.linspace(0, count - 1, min(SHOWN, count)).astype(int)


def _write_table(output: str | Path, places: Sequence[Place], **columns: Sequence[int]) -> None:
    table = pd.DataFrame(places).assign(**columns)
    table.insert(0, "patch", range(len(table)))
    write_table(output, table)
