"""Files that are complete or absent: written under a temporary name, then renamed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from nucleigan.errors import NucleiganError, shown

# zlib is lossless and every TIFF reader has it.
COMPRESSION = "zlib"
TILE = 256
# Stands before the digest of the pixels, in the description of the first page.
DIGEST = "sha256="


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds.

    The temporary name keeps the file's ending, so that writers that look at it behave the same. It
    is the same every time: what a killed process left is overwritten, not added to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial(path)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def partial(path: str | Path) -> Path:
    """The name under which an artifact is written before it is complete."""
    path = Path(path)
    return path.with_name(f".{path.stem}.partial{path.suffix}")


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: str | Path, facts: Any) -> None:
    """Write facts as indented JSON; NaN and infinity become null."""
    with atomic(path) as temporary:
        text = json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON artifact."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NucleiganError(
            f"{path}: cannot be read as JSON ({error}); delete it and run the same command again."
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_image(path: str | Path, image: np.ndarray, mpp: float | None = None) -> None:
    """Write one image or label map as a tiled, losslessly compressed TIFF.

    The digest of its pixels stands in its description.

    Parameters
    ----------
    path
        Where to; the file appears when it is complete.
    image
        (H, W, 3) uint8, or (H, W) of any integer type.
    mpp
        µm per pixel, stored as the TIFF's resolution.
    """
    resolution = None if mpp is None else (1e4 / mpp, 1e4 / mpp)
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary,
            image,
            photometric="rgb" if image.ndim == 3 else "minisblack",
            tile=(TILE, TILE),
            compression=COMPRESSION,
            predictor=True,
            resolution=resolution,
            resolutionunit="CENTIMETER" if resolution else None,
            metadata=None,
            description=DIGEST + _pixel_digest(image),
        )


def read_tiff(path: str | Path) -> np.ndarray:
    """Read what :func:`write_image` wrote; one that is not there or damaged is an error."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            pixels = page.asarray()
            if page.description != DIGEST + _pixel_digest(pixels):
                raise ValueError("its pixels are not those that were written")
            return pixels
    # Whatever a damaged file makes the decoders raise.
    except Exception as error:
        reason = shown(" ".join(str(error).split()), 200) or type(error).__name__
        raise NucleiganError(
            f"{path}: cannot be read as a TIFF ({reason}); delete it and run the same command "
            "again."
        ) from error


def write_stack(path: str | Path, shape: tuple[int, ...], dtype: Any, items: Any) -> None:
    """Write a stack as one contiguous TIFF, item by item, without holding it in memory.

    The digest of its pixels stands in the description of the first page.

    Parameters
    ----------
    path
        Where to; the file appears when it is complete.
    shape
        (N, H, W) or (N, H, W, 3).
    dtype
        Of the stored numbers.
    items
        An iterable of exactly N arrays of shape ``shape[1:]``.
    """
    rgb = len(shape) == 4
    with atomic(path) as temporary:
        if shape[0] == 0:
            raise NucleiganError(
                f"{path}: there is nothing to write; the stack would hold 0 items."
            )
        stack = tifffile.memmap(
            temporary,
            shape=shape,
            dtype=dtype,
            photometric="rgb" if rgb else "minisblack",
            bigtiff=int(np.prod(shape)) * np.dtype(dtype).itemsize > 3 << 30,
            metadata=None,
            description=DIGEST + "0" * 64,
        )
        # A full disk is an error here, and would be the end of the process in a memory map.
        with temporary.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        places = np.asarray(stack).reshape(shape)
        count = 0
        for count, item in enumerate(items, 1):
            places[count - 1] = item
        if count != shape[0]:
            raise ValueError(f"{path}: {shape[0]} items announced, {count} given")
        stack.flush()
        with tifffile.TiffFile(temporary, mode="r+") as file:
            file.pages.first.tags["ImageDescription"].overwrite(DIGEST + _pixel_digest(places))


def _pixel_digest(pixels: np.ndarray) -> str:
    """SHA-256 of the pixels' shape, type and bytes."""
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype.str}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def open_stack(path: str | Path) -> np.ndarray:
    """Open a stack written by :func:`write_stack` as a read-only memory map, (N, H, W[, 3])."""
    try:
        with tifffile.TiffFile(path) as file:
            pages = len(file.pages)
            page = file.pages.first
            shape, dtype = page.shape, np.dtype(page.dtype)
            offset = page.dataoffsets[0]
            contiguous, described = page.is_contiguous, page.description
        if not contiguous:
            raise ValueError("not contiguous")
        stack = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(pages, *shape))
        if described != DIGEST + _pixel_digest(stack):
            raise ValueError("its pixels are not those that were written")
        return stack
    except Exception as error:
        raise NucleiganError(
            f"{path}: cannot be mapped as a stack of patches ({error}); delete it and run the "
            "same command again."
        ) from error
