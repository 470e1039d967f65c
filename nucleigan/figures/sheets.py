"""Contact sheets: many small pictures in one, to see at a glance whether a stage did its work."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nucleigan.artifacts import atomic
from nucleigan.figures.overlay import contours

GAP = 4
# Of a picture among others, in widths of one in the middle.
WIDEST = 1.5
WHITE = 255
# Larger sheets are shrunk to this many pixels, and those above the second number keep 256 colours:
# tissue hardly compresses, and a report with all sheets must stay easy to send.
MOST_PIXELS = 1_500_000
MOST_TRUE_COLOUR = 400_000


def contact_sheet(
    images: Sequence[np.ndarray], output: str | Path, columns: int = 8, scale: float = 1.0
) -> None:
    """Write pictures row by row into one PNG.

    Parameters
    ----------
    images
        Each (H, W, 3) uint8; cells have the size of the largest.
    output
        PNG.
    columns
        Pictures a row.
    scale
        Size of the sheet against that of the pictures; less for very large sheets.
    """
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    canvas = np.full(shape, WHITE, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        y, x = row * (height + GAP), column * (width + GAP)
        canvas[y : y + image.shape[0], x : x + image.shape[1]] = image
    sheet = Image.fromarray(canvas)
    scale = min(scale, (MOST_PIXELS / (sheet.width * sheet.height)) ** 0.5)
    if scale != 1.0:
        size = (max(1, round(sheet.width * scale)), max(1, round(sheet.height * scale)))
        sheet = sheet.resize(size, Image.Resampling.LANCZOS)
    if sheet.width * sheet.height > MOST_TRUE_COLOUR:
        sheet = sheet.quantize(256)
    with atomic(output) as temporary:
        sheet.save(temporary)


def outline(image: np.ndarray, labels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A copy of an image with the inner contours of its nuclei, one pixel wide.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    labels
        (H, W) integers.
    colour
        Red, green, blue.
    """
    drawn = image.copy()
    drawn[contours(labels)] = colour
    return drawn


def sheet_of_files(
    paths: Sequence[str | Path],
    output: str | Path,
    columns: int = 8,
    most: int = 64,
    side: int = 256,
) -> None:
    """Write a contact sheet of picture files.

    Parameters
    ----------
    paths
        PNG files; of more than ``most``, an even choice is shown.
    output
        PNG.
    columns
        Pictures a row.
    most
        Pictures on the sheet.
    side
        Height of a picture, pixels; less of those much wider than the others.
    """
    chosen = [paths[n] for n in np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int)]
    widths = []
    for path in chosen:
        with Image.open(path) as picture:
            widths.append(picture.width * side / picture.height)
    # A single long one would make all cells so wide.
    widest = WIDEST * float(np.median(widths))
    pictures = []
    for path, width in zip(chosen, widths, strict=True):
        scale = min(1.0, widest / width)
        size = (max(1, round(width * scale)), max(1, round(side * scale)))
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        pictures.append(np.asarray(small))
    contact_sheet(pictures, output, columns)


def mask_picture(mask: np.ndarray) -> np.ndarray:
    """(C, H, W) in [-1, 1] as a grey (H, W, 3) uint8 picture: the mean of its channels."""
    grey = np.clip((mask.mean(axis=0) + 1) * 127.5, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
