"""Pictures that are read window by window, so that slides may be larger than memory.

A picture is an array, or anything else with its shape, its type and its windows
``picture[top:bottom, left:right]``. What takes a picture reads as much of it at a time as it needs;
an array is simply a picture that is in memory already.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

# Numbers of a band where nothing else decides: few megabytes, whatever the width of a slide.
BAND = 1 << 24
# TIFF's numbers for the kinds of JPEG whose tables stand apart from the pixels.
JPEGS = {6, 7, 34892, 33007}


class Picture(Protocol):
    """(H, W) or (H, W, C) numbers, of which windows can be read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, and channels if there are several."""

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""

    def __getitem__(self, window: Any, /) -> np.ndarray:
        """The pixels of two slices, rows and columns, each without a step."""


class Mapped:
    """A picture whose every pixel is a function of that pixel of another.

    Parameters
    ----------
    picture
        The other.
    change
        From a window (h, w, ...) of it to that of the result, (h, w, *channels).
    channels, dtype
        Of the result; () for one channel.
    """

    def __init__(
        self,
        picture: Picture,
        change: Callable[[np.ndarray], np.ndarray],
        channels: tuple[int, ...],
        dtype: Any,
    ) -> None:
        self.shape: tuple[int, ...] = (*picture.shape[:2], *channels)
        self.dtype = np.dtype(dtype)
        self._picture = picture
        self._change = change

    def __getitem__(self, window: Any, /) -> np.ndarray:
        return self._change(self._picture[window])


class Segments:
    """A page of a TIFF, whose tiles or strips are decoded when a window needs them.

    Parameters
    ----------
    page
        As tifffile gives it; its file has to stay open. Its channels lie beside each other.
    """

    def __init__(self, page: Any) -> None:
        self.dtype = np.dtype(page.dtype)
        channels = () if page.samplesperpixel == 1 else (page.samplesperpixel,)
        self.shape: tuple[int, ...] = (page.imagelength, page.imagewidth, *channels)
        if page.is_tiled:
            self._height, self._width = page.tilelength, page.tilewidth
        else:
            self._height, self._width = min(page.rowsperstrip, self.shape[0]), self.shape[1]
        self._across = -(-self.shape[1] // self._width)
        self._page = page
        # Neighbouring windows share segments: two rows of them are kept.
        self._segment = lru_cache(maxsize=2 * self._across + 1)(self._decoded)

    def __getitem__(self, window: Any, /) -> np.ndarray:
        (top, bottom), (left, right) = (
            part.indices(length)[:2] for part, length in zip(window, self.shape, strict=False)
        )
        found = np.empty((max(0, bottom - top), max(0, right - left), *self.shape[2:]), self.dtype)
        height, width = self._height, self._width
        for y in range(top // height, -(-bottom // height) if found.size else 0):
            for x in range(left // width, -(-right // width)):
                rows, there = _shared(y * height, height, top, bottom)
                columns, beside = _shared(x * width, width, left, right)
                found[rows, columns] = self._segment(y * self._across + x)[there, beside]
        return found

    def _decoded(self, number: int) -> np.ndarray:
        page = self._page
        stored = page.parent.filehandle.read_segments(
            [page.dataoffsets[number]], [page.databytecounts[number]], [number], flat=True
        )
        jpeg = (
            {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
            if int(page.compression) in JPEGS
            else {}
        )
        pixels, _, shape = page.decode(*next(iter(stored)), **jpeg)
        if pixels is None:
            pixels = np.full(shape, page.nodata, self.dtype)
        return pixels[0].reshape(*shape[1:3], *self.shape[2:])


def _shared(start: int, length: int, first: int, last: int) -> tuple[slice, slice]:
    """Where a segment's part lies in a window from ``first`` to ``last``, and in the segment."""
    low, high = max(start, first), min(start + length, last)
    return slice(low - first, high - first), slice(low - start, high - start)


def page_picture(page: Any) -> Picture:
    """A page of an open TIFF as a picture.

    Without compression the file is mapped; tiles and strips are decoded one by one, and so are the
    parts between the restart markers of the single JPEG of Hamamatsu's files. What is stored in
    another way, as separate channels, is decoded whole.
    """
    if page.is_memmappable:
        return _even(page.asarray(out="memmap"), page)
    if _is_apart(page):
        return _even(page.asarray(), page)
    return Segments(page)


def decoded_at_once(page: Any) -> tuple[int, int]:
    """Height and width of what has to be decoded of a page of a TIFF to read one pixel."""
    if page.is_memmappable:
        return 1, 1
    if _is_apart(page):
        return page.imagelength, page.imagewidth
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _is_apart(page: Any) -> bool:
    """Whether a pixel's channels are not stored beside each other."""
    return int(page.planarconfig) != 1 or page.imagedepth != 1


def _even(pixels: np.ndarray, page: Any) -> np.ndarray:
    """(H, W) or (H, W, C), wherever the channels stood."""
    if page.axes.startswith("S"):
        pixels = np.moveaxis(pixels, 0, -1)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def surrounded(
    place: tuple[slice, ...], shape: tuple[int, ...], margin: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """A window with a margin around it, as far as the picture goes, and where it lies in that.

    Parameters
    ----------
    place
        Rows and columns of the window, each without a step.
    shape
        Height and width of the picture.
    margin
        Pixels.
    """
    ends = [part.indices(length)[:2] for part, length in zip(place, shape, strict=True)]
    around = [
        (max(0, low - margin), min(high + margin, length))
        for (low, high), length in zip(ends, shape, strict=True)
    ]
    inner = [
        slice(low - first, high - first)
        for (low, high), (first, _) in zip(ends, around, strict=True)
    ]
    return tuple(slice(*part) for part in around), tuple(inner)


def bands(picture: Picture, rows: int | None = None) -> Iterator[np.ndarray]:
    """The rows of a picture from top to bottom, some at a time.

    Parameters
    ----------
    picture
        (H, W, ...).
    rows
        Height of a band, pixels; of the last one less. None: as many as are read with ease.
    """
    height, width = picture.shape[:2]
    if rows is None:
        rows = max(1, BAND // max(1, int(np.prod(picture.shape[1:]))))
    for top in range(0, height, rows):
        yield picture[top : min(top + rows, height), 0:width]
