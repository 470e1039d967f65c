"""Read slide images of many formats as RGB, through the libraries made for them.

TIFF of any compression, SVS and pyramids are read by tifffile with imagecodecs, PNG and JPEG by
Pillow. Of a pyramid the full resolution is read, or, for a coarser working magnification, the
smallest level that is still at least as fine. Alpha is composed over white; 16-bit images are
scaled to 8 bit, with a warning; palettes are resolved; greyscale and CMYK are refused, since their
colours are not those of the slide.
"""

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError, lacks_memory, let_through, reason
from nucleigan.slides.endings import IMAGES, TIFF, check_ending, ending
from nucleigan.slides.limits import bounded_memory
from nucleigan.windows import Mapped, Picture, decoded_at_once, page_picture

DEFAULTS = IngestionSettings()
# Bytes a pixel that a decoder may need by right: four channels of 16 bits, twice.
ROOM = 16
# Resolutions outside of this range are a printer's, not a scanner's, µm per pixel.
SCANNED_MPP = (0.05, 4.0)
NUMBER = r"\d*\.?\d+(?:[eE][+-]?\d+)?"
# µm of a unit of OME, with the micro sign or the Greek letter; without one OME means the same.
OME_UNITS = {"\u00b5m": 1.0, "\u03bcm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
# Of the resolution tags; the last two are no part of TIFF 6.0, but are written.
TIFF_UNITS = {2: 25_400.0, 3: 10_000.0, 4: 1_000.0, 5: 1.0}
# What ImageJ calls µm where the resolution tags have no unit.
IMAGEJ_UNIT = re.compile(r"^unit=(um|micron|\\u00B5m|\u00b5m|\u03bcm)\s*$", re.MULTILINE)
# A level this much too coarse is a rounded size, not another magnification.
LEVEL_TOLERANCE = 0.005
# TIFF's numbers for the colours of a page and for its compression (TIFF 6.0; 33003 is Aperio's
# JPEG 2000 of YCbCr).
PALETTE, CMYK, YCBCR = 3, 5, 6
CIELABS = {8, 9, 10}
JPEGS = {6, 7}
# How tifffile names the slide in files of scanners that it knows, whatever else they hold.
BASELINE = "Baseline"
# What its fourth number of a pixel may be: opacity by which the colours are multiplied already, or
# opacity; anything else is none.
PREMULTIPLIED, OPACITY = 1, 2
APERIO_YCBCR = 33003
# Where the codestream says how many pixels a number of the second component spans in x and in y
# (ISO 15444-1, marker SIZ).
SPANS = slice(46, 48)
# Number of the orientation in EXIF and TIFF, and its value where nothing is to be turned.
ORIENTATION, UPRIGHT = 274, 1


@dataclass(frozen=True)
class Header:
    """What a file says about itself before its pixels are read.

    Attributes
    ----------
    shape
        Height and width at full resolution, pixels.
    mpp
        µm per pixel at full resolution, None where the file does not say or says the implausible.
    levels
        Height and width of each level of a pyramid, full resolution first.
    """

    shape: tuple[int, int]
    mpp: float | None
    levels: tuple[tuple[int, int], ...]


def read_image(path: str | Path, limits: IngestionSettings = DEFAULTS) -> np.ndarray:
    """Read an image at full resolution.

    Parameters
    ----------
    path
        TIFF, SVS, PNG or JPEG.
    limits
        Of pixels, pages, and the memory of decoding; what exceeds them is refused.

    Returns
    -------
    (H, W, 3) uint8.

    Raises
    ------
    NucleiganError
        Missing, damaged, too large, or without colour.
    """
    return read_level(path, 1.0, limits)[0]


def read_level(
    path: str | Path, reduction: float, limits: IngestionSettings = DEFAULTS
) -> tuple[np.ndarray, list[str]]:
    """Read an image no larger than it is needed.

    Parameters
    ----------
    path
        TIFF, SVS, PNG or JPEG.
    reduction
        How many times smaller than at full resolution the picture may be; the smallest level of a
        pyramid that is not smaller still is read.
    limits
        As of :func:`read_image`.

    Returns
    -------
    (H, W, 3) uint8, and warnings in words.

    Raises
    ------
    NucleiganError
        As :func:`read_image`.
    """
    with opened_level(path, reduction, limits) as level:
        return np.ascontiguousarray(level.picture[:, :]), level.warnings


class Level(NamedTuple):
    """A level of a pyramid, or an image that has but one.

    Attributes
    ----------
    picture
        (H, W, 3) uint8.
    extent
        Height and width of the slide in pixels of this level. Its sides are whole numbers, as those
        of the slide divided by the level's reduction may not be.
    warnings
        In words.
    """

    picture: Picture
    extent: tuple[float, float]
    warnings: list[str]


@contextmanager
def opened_level(
    path: str | Path, reduction: float, limits: IngestionSettings = DEFAULTS
) -> Iterator[Level]:
    """Open an image to read windows of it; TIFF of any size, PNG and JPEG are decoded at once.

    Parameters
    ----------
    path, reduction, limits
        As of :func:`read_level`.

    Yields
    ------
    The level; windows of its picture raise as :func:`read_image` does where the file is damaged.

    Raises
    ------
    NucleiganError
        As :func:`read_image`.
    """
    path = _existing(path)
    header = read_header(path, limits)
    number = _level(header, reduction)
    shape = header.levels[number]
    tiff = ending(path) in TIFF
    check_pixels(path, shape, limits, whole=not tiff)
    with ExitStack() as files:
        source: Picture
        with _refusals(path, limits, shape[0] * shape[1]):
            if tiff:
                file = files.enter_context(opened_tiff(path, limits))
                source = _tiff_level(file, path, number, limits)
                tag = file.pages[0].aspage().tags.get(ORIENTATION)
                turned = tag is not None and tag.value != UPRIGHT
            else:
                source = _read_pillow(path)
                turned = _is_turned(path)
        guarded = _Guarded(source, path, limits)
        _check_colours(path, guarded.shape, guarded.dtype)
        picture = Mapped(guarded, _to_rgb, (3,), np.uint8)
        yield Level(picture, _extent(header.shape, shape), _warnings(guarded.dtype, path, turned))


class _Guarded:
    """A picture that reads within the limits of memory, and names its file where it is damaged."""

    def __init__(self, picture: Picture, path: Path, limits: IngestionSettings) -> None:
        self.shape = picture.shape
        # A mapped file has its own order of bytes.
        self.dtype = np.dtype(picture.dtype).newbyteorder("=")
        self._picture = picture
        self._path = path
        self._limits = limits

    def __getitem__(self, window: Any, /) -> np.ndarray:
        lengths = [
            len(range(*part.indices(length)))
            for part, length in zip(window, self.shape, strict=False)
        ]
        with _refusals(self._path, self._limits, lengths[0] * lengths[1]):
            return np.array(self._picture[window], self.dtype)


@contextmanager
def _refusals(path: Path, limits: IngestionSettings, pixels: int) -> Iterator[None]:
    """Decode that many pixels within the limit of memory; what fails is the file's fault."""
    try:
        with bounded_memory(limits.decoder_memory + ROOM * pixels):
            yield
    except NucleiganError:
        raise
    except Exception as error:
        raise _damaged(path, error, limits) from error


def read_mpp(path: str | Path) -> float | None:
    """µm per pixel as the file states it (Aperio's MPP, TIFF's resolution), or None."""
    return read_header(path).mpp


def read_header(path: str | Path, limits: IngestionSettings = DEFAULTS) -> Header:
    """Sizes and magnification without reading the pixels."""
    path = _existing(path)
    check_ending(path, IMAGES, str(path))
    try:
        with bounded_memory(limits.decoder_memory):
            if ending(path) in TIFF:
                return _tiff_header(path, limits)
            with opened(path) as image:
                shape = (image.height, image.width)
                return Header(shape, None, (shape,))
    except Exception as error:
        raise _damaged(path, error, limits) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A PNG or JPEG, as Pillow opens it, without Pillow's own limit of pixels: ours is checked."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def opened_tiff(path: Path, limits: IngestionSettings) -> Iterator[Any]:
    """A TIFF, as tifffile opens it, without the other files that its text may name as its parts.

    Raises
    ------
    ValueError
        Its pages go round in a circle, which would be followed without end.
    NucleiganError
        It has too many.
    """
    import tifffile

    with tifffile.TiffFile(path, _multifile=False, is_mmstack=False, is_ndtiff=False) as file:
        places = set()
        for number, page in enumerate(file.pages):
            if page.offset in places:
                raise ValueError("its pages follow each other in a circle")
            if number == limits.max_pages:
                raise NucleiganError(
                    f"{path}: has more pages than the {limits.max_pages} of ingestion.max_pages; "
                    "raise the limit, or export the slide alone."
                )
            places.add(page.offset)
        yield file


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise NucleiganError(f"{path}: there is no such image; check its path.")
    if path.stat().st_size == 0:
        raise NucleiganError(f"{path}: the file is empty; fetch it again.")
    return path


def check_pixels(
    path: Path, shape: tuple[int, int], limits: IngestionSettings, whole: bool, what: str = ""
) -> None:
    """Refuse what has too many pixels, by its header.

    Parameters
    ----------
    path
        For the message.
    shape
        Height and width, pixels.
    limits
        ``max_pixels`` and ``max_pixels_whole``.
    whole
        Whether all of it is held in memory at once.
    what
        What has them, if it is not the file itself.
    """
    limit, key = limits.max_pixels, "max_pixels"
    if whole and limits.max_pixels_whole < limit:
        limit, key = limits.max_pixels_whole, "max_pixels_whole"
    if shape[0] * shape[1] > limit:
        raise NucleiganError(
            f"{path}: {what}{' ' * bool(what)}has {shape[0]}×{shape[1]} pixels, more than the "
            f"{limit} of ingestion.{key}; raise the limit or cut the image."
        )


def _damaged(path: Path, error: Exception, limits: IngestionSettings) -> NucleiganError:
    if isinstance(error, NucleiganError):
        return error
    if lacks_memory(error):
        return too_much_memory(path, limits)
    let_through(error)
    return NucleiganError(f"{path}: cannot be read as an image ({reason(error)}); fetch it again.")


def too_much_memory(path: Path, limits: IngestionSettings) -> NucleiganError:
    """The refusal of a file that unpacks to more than it announces."""
    return NucleiganError(
        f"{path}: its content needs more memory than its pixels and the {limits.decoder_memory} "
        "bytes of ingestion.decoder_memory; fetch it again, or raise the limit if the file is "
        "trusted."
    )


def _level(header: Header, reduction: float) -> int:
    """The last level that is at least as fine as wanted; full resolution if none is."""
    fine = [
        number
        for number, level in enumerate(header.levels)
        if header.shape[0] / _extent(header.shape, level)[0] <= reduction * (1 + LEVEL_TOLERANCE)
    ]
    return max(fine, default=0)


def _extent(full: tuple[int, int], level: tuple[int, int]) -> tuple[float, float]:
    """A slide's height and width in pixels of one of its levels.

    Scanners reduce by whole numbers and leave out, or fill up, what is over at the right and at the
    bottom. A level that is not of this kind shows all of the slide.
    """
    factor = max(1, round(max(full) / max(level)))
    extent = (full[0] / factor, full[1] / factor)
    whole = all(abs(shown - found) < 1 for shown, found in zip(extent, level, strict=True))
    return extent if whole else level


def _tiff_header(path: Path, limits: IngestionSettings) -> Header:
    with opened_tiff(path, limits) as file:
        pages = [level.keyframe for level in file.series[0].levels]
        levels = tuple((page.imagelength, page.imagewidth) for page in pages)
        if min(map(min, levels)) < 1:
            raise ValueError("it announces a picture without pixels")
        others = [(one.keyframe.imagelength, one.keyframe.imagewidth) for one in file.series[1:]]
        largest = max(others, key=math.prod, default=levels[0])
        named = file.series[0].name == BASELINE
        if math.prod(largest) > math.prod(levels[0]) and not named:
            raise NucleiganError(
                f"{path}: its first picture is {levels[0][0]}×{levels[0][1]} pixels, another one "
                f"{largest[0]}×{largest[1]}, as where an overview comes before the slide; export "
                "the picture that is meant alone."
            )
        return Header(levels[0], _tiff_mpp(pages[0]), levels)


def _tiff_mpp(page: Any) -> float | None:
    """Aperio's description or that of an OME-TIFF first, then the resolution tags."""
    text = page.description or ""
    stated = re.search(r"MPP\s*=\s*(\d*\.?\d+)", text)
    if stated is None and (pixels := re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text)):
        unit = re.search(r'PhysicalSizeXUnit="([^"]*)"', pixels.group())
        micrometres = OME_UNITS.get(unescape(unit.group(1))) if unit else 1.0
        size = re.search(rf'PhysicalSizeX="({NUMBER})"', pixels.group())
        if size and micrometres:
            return _plausible(float(size.group(1)) * micrometres)
    if stated:
        return _plausible(float(stated.group(1)))
    unit = page.tags.get("ResolutionUnit")
    resolution = page.tags.get("XResolution")
    if unit is None or resolution is None or not all(resolution.value):
        return None
    micrometres = TIFF_UNITS.get(int(unit.value))
    if IMAGEJ_UNIT.search(text):
        micrometres = 1.0
    if micrometres is None:
        return None
    return _plausible(micrometres * resolution.value[1] / resolution.value[0])


def _plausible(mpp: float) -> float | None:
    low, high = SCANNED_MPP
    return mpp if low <= mpp <= high else None


def _tiff_level(file: Any, path: Path, number: int, limits: IngestionSettings) -> Picture:
    """A level of a pyramid in an open file, (H, W, C); palettes and YCbCr become RGB."""
    level = file.series[0].levels[number]
    page = level.keyframe
    _check_pages(path, level, file.filehandle.size)
    part = decoded_at_once(page)
    every = part == (page.imagelength, page.imagewidth)
    check_pixels(path, part, limits, True, "" if every else "a tile or strip of it")
    if int(page.photometric) == PALETTE:
        colours = np.asarray(page.colormap)
        return Mapped(
            page_picture(page),
            lambda indices: np.moveaxis(colours[:, indices], 0, -1),
            (len(colours),),
            colours.dtype,
        )
    samples = page.samplesperpixel * page.imagedepth
    _check_colours(path, (page.imagelength, page.imagewidth, samples), page.dtype)
    picture = page_picture(page)
    if int(page.compression) == APERIO_YCBCR and not _is_converted(file, page):
        return Mapped(picture, _from_ycbcr, (3,), np.uint8)
    kind = int(page.extrasamples[0]) if page.extrasamples else None
    if samples == 4 and kind != OPACITY:
        plain = _premultiplied if kind == PREMULTIPLIED else _colours
        return Mapped(picture, plain, (3,), page.dtype)
    return picture


def _premultiplied(pixels: np.ndarray) -> np.ndarray:
    """Over white, (h, w, 4) to (h, w, 3) of the same whole numbers."""
    white = np.iinfo(pixels.dtype).max
    shown = pixels[..., :3].astype(np.uint32) + (white - pixels[..., 3:])
    return np.minimum(shown, white).astype(pixels.dtype)


def _colours(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., :3]


def _is_converted(file: Any, page: Any) -> bool:
    """Whether the codec makes RGB of its own accord: it does where colours are subsampled."""
    stored = zip(page.dataoffsets, page.databytecounts, strict=True)
    # Parts that nobody scanned are not in the file.
    file.filehandle.seek(next((offset for offset, count in stored if count), 0))
    return any(span > 1 for span in file.filehandle.read(SPANS.stop)[SPANS])


def _from_ycbcr(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))


def _check_pages(path: Path, level: Any, size: int) -> None:
    """Refuse what would decode to wrong colours or, cut short, to grey without an error."""
    page = level.keyframe
    if len(level.pages) > 1:
        raise NucleiganError(
            f"{path}: holds {len(level.pages)} pictures of one size; expected one with its colours "
            "beside each other, export the plane that was annotated as RGB."
        )
    if int(page.photometric) in CIELABS:
        raise NucleiganError(f"{path}: holds CIELAB colours; export the slide as RGB.")
    if int(page.photometric) == CMYK:
        raise NucleiganError(f"{path}: is CMYK, made for print; export the slide as RGB.")
    if int(page.photometric) == YCBCR and int(page.compression) not in JPEGS | {APERIO_YCBCR}:
        raise NucleiganError(
            f"{path}: holds YCbCr colours with {page.compression.name} compression, which are not "
            "converted; export the slide as RGB."
        )
    check_length(path, page, size)


def check_length(path: Path, page: Any, size: int) -> None:
    """Refuse a TIFF that was cut short, which decodes to zeros without an error."""
    end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
    if end > size:
        raise NucleiganError(
            f"{path}: ends after {size} bytes where its header announces {end}; fetch it again."
        )


def _read_pillow(path: Path) -> np.ndarray:
    with opened(path) as image:
        if image.mode == "CMYK":
            raise NucleiganError(f"{path}: is CMYK, made for print; export the slide as RGB.")
        if image.mode == "P":
            return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
        if ";16" not in str(image.tile[0][3]):
            return np.asarray(image)
    # Pillow would cut 16 bits down to 8 without a word.
    from imagecodecs import png_decode

    return png_decode(path.read_bytes())


def _check_colours(path: Path, shape: tuple[int, ...], dtype: Any) -> None:
    if len(shape) == 2 or (len(shape) == 3 and shape[2] < 3):
        raise NucleiganError(
            f"{path}: is greyscale; stains cannot be separated without colour, give an RGB image."
        )
    if len(shape) != 3 or shape[2] > 4:
        raise NucleiganError(
            f"{path}: has the shape {'×'.join(map(str, shape))}; expected height × width "
            "× 3 colours, give an RGB image."
        )
    if dtype not in (np.uint8, np.uint16):
        raise NucleiganError(
            f"{path}: holds {dtype} numbers; expected 8 or 16 bit integers, export it again."
        )


def _warnings(dtype: Any, path: Path, turned: bool) -> list[str]:
    found = []
    if np.dtype(dtype).itemsize > 1:
        found.append(f"{path} has 16 bits a channel; 0 to 65535 are scaled to 0 to 255")
    if turned:
        found.append(
            f"{path} is to be turned by those who show it (Orientation); it is read as it is "
            "stored, and an annotation that was drawn over the turned image does not fit"
        )
    return found


def _is_turned(path: Path) -> bool:
    """Whether the EXIF of a PNG or JPEG names another orientation than that of the pixels."""
    # Nothing else is taken from it, and it may be anything.
    with suppress(Exception), opened(path) as image:
        # Where a PNG has none in front of its pixels, they would be decoded to look behind them.
        if "exif" in image.info:
            return image.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT
    return False


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3 or 4), 8 or 16 bits, to (h, w, 3) uint8."""
    if pixels.dtype.itemsize == 2:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint32)
        colour = pixels[..., :3] * alpha + 255 * (255 - alpha)
        pixels = ((colour + 127) // 255).astype(np.uint8)
    return pixels
