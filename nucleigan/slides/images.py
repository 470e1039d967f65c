"""Read slide images of many formats as RGB, through the libraries made for them.

TIFF of any compression, SVS and pyramids are read by tifffile with imagecodecs, PNG and JPEG by
Pillow. A pyramid is read at its full resolution. Alpha is composed over white; 16-bit images are
scaled to 8 bit; greyscale and CMYK are refused, since their colours are not those of the slide.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nucleigan.errors import NucleiganError

TIFF_ENDINGS = {".tif", ".tiff", ".svs", ".ndpi", ".btf"}
PILLOW_ENDINGS = {".png", ".jpg", ".jpeg"}
MAX_PIXELS = 4_000_000_000
# Resolutions outside of this range are a printer's, not a scanner's, µm per pixel.
SCANNED_MPP = (0.05, 4.0)


@dataclass(frozen=True)
class Header:
    """What a file says about itself before its pixels are read.

    Attributes
    ----------
    shape
        As stored, for example (H, W, 3).
    mpp
        µm per pixel, None where the file does not say or says the implausible.
    """

    shape: tuple[int, ...]
    mpp: float | None


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image.

    Parameters
    ----------
    path
        TIFF, SVS, PNG or JPEG.
    max_pixels
        Larger images are refused before they are decoded.

    Returns
    -------
    (H, W, 3) uint8.

    Raises
    ------
    NucleiganError
        Missing, damaged, too large, or without colour.
    """
    path = _existing(path)
    header = read_header(path)
    pixels = int(np.prod(header.shape[:2], dtype=np.int64))
    if pixels > max_pixels:
        raise NucleiganError(
            f"{path}: has {pixels} pixels, more than the {max_pixels} of ingestion.max_pixels; raise "
            "the limit or cut the image."
        )
    try:
        pixels_ = _read_tiff(path) if path.suffix.lower() in TIFF_ENDINGS else _read_pillow(path)
    except NucleiganError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error
    return _to_rgb(pixels_, path)


def read_mpp(path: str | Path) -> float | None:
    """µm per pixel as the file states it, or None."""
    return read_header(path).mpp


def read_header(path: str | Path) -> Header:
    """Size and magnification without reading the pixels."""
    path = _existing(path)
    suffix = path.suffix.lower()
    try:
        if suffix in TIFF_ENDINGS:
            return _tiff_header(path)
        if suffix in PILLOW_ENDINGS:
            from PIL import Image

            Image.MAX_IMAGE_PIXELS = None
            with Image.open(path) as image:
                return Header((image.height, image.width, len(image.getbands())), None)
    except Exception as error:
        raise _damaged(path, error) from error
    raise NucleiganError(
        f"{path}: the ending {suffix!r} is not known; use "
        f"{', '.join(sorted(TIFF_ENDINGS | PILLOW_ENDINGS))}."
    )


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise NucleiganError(f"{path}: there is no such image; check the sample sheet.")
    if path.stat().st_size == 0:
        raise NucleiganError(f"{path}: the file is empty; fetch it again.")
    return path


def _damaged(path: Path, error: Exception) -> NucleiganError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return NucleiganError(f"{path}: cannot be read as an image ({reason}); fetch it again.")


def _tiff_header(path: Path) -> Header:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.series[0].levels[0].keyframe
        return Header(file.series[0].levels[0].shape, _tiff_mpp(page))


def _tiff_mpp(page) -> float | None:  # type: ignore[no-untyped-def]
    """Aperio's description first, then the resolution tags."""
    stated = re.search(r"MPP\s*=\s*([0-9.]+)", page.description or "")
    if stated:
        return _plausible(float(stated.group(1)))
    unit = page.tags.get("ResolutionUnit")
    resolution = page.tags.get("XResolution")
    if unit is None or resolution is None or not all(resolution.value):
        return None
    micrometres = {2: 25_400.0, 3: 10_000.0}.get(int(unit.value))
    if micrometres is None:
        return None
    return _plausible(micrometres * resolution.value[1] / resolution.value[0])


def _plausible(mpp: float) -> float | None:
    low, high = SCANNED_MPP
    return mpp if low <= mpp <= high else None


def _read_tiff(path: Path) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        level = file.series[0].levels[0]
        if int(level.keyframe.photometric) == 5:
            raise NucleiganError(f"{path}: is CMYK, made for print; export the slide as RGB.")
        pixels = level.asarray()
        if level.axes.startswith("S"):
            pixels = np.moveaxis(pixels, 0, -1)
        return np.squeeze(pixels)


def _read_pillow(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        if image.mode == "CMYK":
            raise NucleiganError(f"{path}: is CMYK, made for print; export the slide as RGB.")
        if image.mode == "P":
            return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
        return np.asarray(image)


def _to_rgb(pixels: np.ndarray, path: Path) -> np.ndarray:
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise NucleiganError(
            f"{path}: has the shape {pixels.shape}, not that of a colour image; stains cannot be "
            "separated without colour, give an RGB image."
        )
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise NucleiganError(f"{path}: holds {pixels.dtype} numbers; expected 8 or 16 bit integers.")
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        colour = pixels[..., :3] * alpha + 255 * (255 - alpha)
        pixels = ((colour.astype(np.uint32) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)
