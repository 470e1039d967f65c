"""Files that are complete or absent: written under a temporary name, then renamed."""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import tifffile

from nucleigan.errors import NucleiganError, let_through, reason
from nucleigan.windows import Picture, bands, page_picture

if TYPE_CHECKING:
    import pandas as pd

# zlib is lossless and every TIFF reader has it.
COMPRESSION = "zlib"
# So much of both ends tells most files apart, bytes.
ENDS = 1 << 16
# What its format can shrink to one byte, bytes.
MOST_SHRUNK = 1032
TILE = 256
# Stands before the digest of the pixels, in the description of the first page, and what stands
# there until they are known.
DIGEST = "sha256="
UNKNOWN = DIGEST + "0" * 64
# A tag of the first page of a stack, from the range that TIFF leaves to private use: the digests of
# its items, 32 bytes each, so that one item can be checked without reading all.
ITEMS_TAG = 65_001
DIGEST_BYTES = hashlib.sha256().digest_size
# Above this many bytes before compression a TIFF gets offsets of 64 bits.
CLASSIC_TIFF = 2**32 - 2**25
# Pictures of more bytes are read in windows.
IN_MEMORY = 1 << 26


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


def likeness(path: str | Path) -> str:
    """What files are told apart by without reading them whole: size, beginning and end.

    Files that are alike may still differ in between.
    """
    with Path(path).open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        ends = stream.read(ENDS)
        stream.seek(max(size - ENDS, 0))
        return hashlib.sha256(b"%d " % size + ends + stream.read(ENDS)).hexdigest()


def digest_file(path: str | Path) -> Path:
    """Where the SHA-256 of a CSV stands, which has no place for it: a hidden file beside it.

    ``sha256sum --check`` reads it, too.
    """
    path = Path(path)
    return path.with_name(f".{path.name}.sha256")


@contextmanager
def atomic_table(path: str | Path) -> Iterator[Path]:
    """As :func:`atomic`, for a CSV, which gets its :func:`digest_file`.

    At no moment has a table the digest of another; for one it has none.
    """
    with atomic(path) as temporary:
        yield temporary
        digest = file_digest(temporary)
        digest_file(path).unlink(missing_ok=True)
    with atomic(digest_file(path)) as temporary:
        temporary.write_text(f"{digest}  {Path(path).name}\n", encoding="utf-8")


def write_table(path: str | Path, table: "pd.DataFrame", digits: int | None = None) -> None:
    """Write a table as CSV, its real numbers with so many significant digits, or with all."""
    form = None if digits is None else f"%.{digits}g"
    with atomic_table(path) as temporary:
        table.to_csv(temporary, index=False, float_format=form)


def read_table(path: str | Path, **options: Any) -> "pd.DataFrame":
    """Read a table that a stage wrote.

    Parameters
    ----------
    path
        The CSV.
    options
        Of :func:`pandas.read_csv`.

    Raises
    ------
    NucleiganError
        It is not there, is not what was written, or is no table.
    """
    import pandas as pd

    with open_table(path) as stream:
        try:
            return pd.read_csv(stream, **options)
        except ValueError as error:
            raise _unreadable(path, "a table", error) from error


def open_table(path: str | Path) -> TextIO:
    """Open a CSV that a stage wrote, after a look at its digest.

    One without a digest file is taken as it is.

    Raises
    ------
    NucleiganError
        It is not there, or is not what was written.
    """
    digest = digest_file(path)
    try:
        if digest.exists() and digest.read_bytes().split()[:1] != [file_digest(path).encode()]:
            raise NucleiganError(
                f"{path}: cannot be trusted, since it is not what was written; delete it and run "
                f"the same command again, or delete {digest} to take it as it is."
            )
        # What is no UTF-8 cannot be one of ours.
        return Path(path).open(newline="", encoding="utf-8", errors="replace")
    except OSError as error:
        let_through(error)
        raise _unreadable(path, "a table", error) from error


def _unreadable(path: str | Path, what: str, error: Exception) -> NucleiganError:
    return NucleiganError(
        f"{path}: cannot be read as {what} ({reason(error)}); delete it and run the same command "
        "again."
    )


def check_opens(path: str | Path) -> None:
    """Raise what the system says of a file that cannot be opened.

    Safetensors says of all such files that they are not there.
    """
    with Path(path).open("rb"):
        pass


def write_json(path: str | Path, facts: dict[str, Any]) -> None:
    """Write facts as indented JSON with a ``digest`` of them; NaN and infinity become null."""
    plain = _plain(facts)
    plain["digest"] = _facts_digest(plain)
    with atomic(path) as temporary:
        text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read what :func:`write_json` wrote, without the digest; what is damaged is an error."""
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.pop("digest", None) != _facts_digest(facts):
            raise ValueError("its facts are not those that were written")
        return facts
    # The last is of brackets within brackets.
    except (OSError, ValueError, RecursionError) as error:
        let_through(error)
        raise _unreadable(path, "JSON", error) from error


def _facts_digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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


def write_image(path: str | Path, image: Picture, mpp: float | None = None) -> None:
    """Write one image or label map as a tiled, losslessly compressed TIFF.

    The digest of its pixels stands in its description.

    Parameters
    ----------
    path
        Where to; the file appears when it is complete.
    image
        (H, W, 3) uint8, or (H, W) of any integer type; read by the row of tiles.
    mpp
        µm per pixel, stored as the TIFF's resolution.
    """
    write_bands(path, image.shape, image.dtype, bands(image, TILE), mpp)


def write_bands(
    path: str | Path,
    shape: tuple[int, ...],
    dtype: Any,
    rows: Iterable[np.ndarray],
    mpp: float | None = None,
) -> None:
    """Write one image or label map as :func:`write_image` does, without holding it in memory.

    Parameters
    ----------
    path, mpp
        As of :func:`write_image`.
    shape, dtype
        Of the whole.
    rows
        Its rows from top to bottom in bands of any height, (h, *shape[1:]) each.
    """
    resolution = None if mpp is None else (1e4 / mpp, 1e4 / mpp)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    digest = _digest(tuple(shape), np.dtype(dtype))
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary,
            _tiles(rows, shape, digest),
            shape=shape,
            dtype=dtype,
            photometric="rgb" if len(shape) == 3 else "minisblack",
            tile=(TILE, TILE),
            compression=COMPRESSION,
            # Of a column of single pixels it would leave the first alone.
            predictor=shape[1] > 1,
            resolution=resolution,
            resolutionunit="CENTIMETER" if resolution else None,
            metadata=None,
            bigtiff=size > CLASSIC_TIFF,
            description=UNKNOWN,
        )
        with tifffile.TiffFile(temporary, mode="r+") as file:
            file.pages.first.tags["ImageDescription"].overwrite(DIGEST + digest.hexdigest())


def _tiles(rows: Iterable[np.ndarray], shape: tuple[int, ...], digest: Any) -> Iterator[np.ndarray]:
    """Cut bands of any height into tiles, in the order of a TIFF, and add them to the digest."""
    waiting: list[np.ndarray] = []
    height = written = 0
    for band in rows:
        digest.update(np.ascontiguousarray(band).data)
        waiting.append(band)
        height += len(band)
        last = written + height == shape[0]
        while height >= TILE or (last and height):
            joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            for left in range(0, shape[1], TILE):
                yield np.ascontiguousarray(joined[:TILE, left : left + TILE])
            waiting = [joined[TILE:]]
            written += min(TILE, height)
            height -= min(TILE, height)
    if written != shape[0]:
        raise ValueError(f"{shape[0]} rows announced, {written + height} given")


def read_tiff(path: str | Path) -> np.ndarray:
    """Read what :func:`write_image` wrote; one that is not there or damaged is an error."""
    with open_image(path, in_memory=math.inf) as picture:
        return np.asarray(picture)


@contextmanager
def open_image(path: str | Path, in_memory: float | None = None) -> Iterator[Picture]:
    """Open what :func:`write_image` wrote to read windows of it; a small one is read at once.

    Parameters
    ----------
    path
        The TIFF.
    in_memory
        A picture of at most so many bytes is an array; None is :data:`IN_MEMORY`.

    Raises
    ------
    NucleiganError
        It is not there, or its pixels are not those that were written.
    """
    most = IN_MEMORY if in_memory is None else in_memory
    with ExitStack() as files:
        try:
            page = files.enter_context(tifffile.TiffFile(path)).pages.first
            size, tile = (
                math.prod(shape) * np.dtype(page.dtype).itemsize
                for shape in (page.shape, page.chunks)
            )
            # A damaged header may announce more than there is memory.
            if max(size, tile) > MOST_SHRUNK * Path(path).stat().st_size:
                raise ValueError("it announces more pixels than it can hold")
            picture = page_picture(page)
            if size <= most:
                picture = page.asarray()
            if page.description != DIGEST + _pixel_digest(picture):
                raise ValueError("its pixels are not those that were written")
        # Whatever a damaged file makes the decoders raise.
        except Exception as error:
            let_through(error)
            raise _unreadable(path, "a TIFF", error) from error
        yield picture


def write_stack(path: str | Path, shape: tuple[int, ...], dtype: Any, items: Any) -> None:
    """Write a stack as one contiguous TIFF, item by item, without holding it in memory.

    The digests of its items stand in a private tag of the first page, and the digest of these, with
    shape and type, in the description.

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
        unknown = bytes(DIGEST_BYTES * shape[0])
        stack = tifffile.memmap(
            temporary,
            shape=shape,
            dtype=dtype,
            photometric="rgb" if rgb else "minisblack",
            bigtiff=int(np.prod(shape)) * np.dtype(dtype).itemsize > 3 << 30,
            metadata=None,
            description=UNKNOWN,
            extratags=[(ITEMS_TAG, 1, len(unknown), unknown, True)],
        )
        # A full disk is an error here, and would be the end of the process in a memory map.
        with temporary.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        places = np.asarray(stack).reshape(shape)
        digests: list[bytes] = []
        for count, item in enumerate(items):
            places[count] = item
            digests.append(_item_digest(places[count]))
        if len(digests) != shape[0]:
            raise ValueError(f"{path}: {shape[0]} items announced, {len(digests)} given")
        stack.flush()
        with tifffile.TiffFile(temporary, mode="r+") as file:
            tags = file.pages.first.tags
            tags[ITEMS_TAG].overwrite(b"".join(digests))
            tags["ImageDescription"].overwrite(
                DIGEST + _stack_digest(shape, np.dtype(dtype), b"".join(digests))
            )


def _digest(shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """The beginning of a SHA-256 of pixels: their shape and type; their bytes follow."""
    return hashlib.sha256(f"{shape} {dtype.str}".encode())


def _pixel_digest(pixels: Picture) -> str:
    """SHA-256 of the pixels' shape, type and bytes."""
    digest = _digest(pixels.shape, pixels.dtype)
    for band in bands(pixels):
        digest.update(np.ascontiguousarray(band).data)
    return digest.hexdigest()


def _item_digest(item: np.ndarray) -> bytes:
    """SHA-256 of an item's bytes."""
    return hashlib.sha256(np.ascontiguousarray(item).data).digest()


def _stack_digest(shape: tuple[int, ...], dtype: np.dtype, items: bytes) -> str:
    """SHA-256 of a stack's shape, type and the digests of its items."""
    digest = _digest(tuple(shape), dtype)
    digest.update(items)
    return digest.hexdigest()


class Stack:
    """A stack on disk; an item is checked against its digest when it is first read.

    What nobody reads is not checked, so that many large stacks are opened in no time.

    Parameters
    ----------
    path
        Of a file of :func:`write_stack`.
    pixels
        Its items as a read-only memory map, (N, H, W[, 3]).
    items
        Their digests, one behind the other.
    """

    def __init__(self, path: str | Path, pixels: np.ndarray, items: bytes) -> None:
        self.path = path
        self.pixels = pixels
        self.items = items
        self._checked = np.zeros(len(pixels), bool)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> np.ndarray:
        """An item, (H, W[, 3]); a damaged one is an error."""
        item = np.asarray(self.pixels[index])
        if not self._checked[index]:
            place = range(len(self))[index] * DIGEST_BYTES
            if _item_digest(item) != self.items[place : place + DIGEST_BYTES]:
                raise _unreadable_stack(
                    self.path, f"the pixels of item {index} are not those that were written"
                )
            self._checked[index] = True
        return item

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All items, checked."""
        return np.asarray(np.stack([self[index] for index in range(len(self))]), dtype)


def open_stack(path: str | Path) -> Stack:
    """Open a stack written by :func:`write_stack`.

    Raises
    ------
    NucleiganError
        It is not there, or its digest is not that of its shape and its items' digests.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            items = bytes(page.tags[ITEMS_TAG].value)
            # The pages are not counted: that takes a look at each.
            shape = (len(items) // DIGEST_BYTES, *page.shape)
            dtype = np.dtype(page.dtype)
            offset = page.dataoffsets[0]
            contiguous, described = page.is_contiguous, page.description
        if not contiguous or not shape[0]:
            raise ValueError("not contiguous, or empty")
        if described != DIGEST + _stack_digest(shape, dtype, items):
            raise ValueError("its digests are not those that were written")
        pixels = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
        return Stack(path, pixels, items)
    except Exception as error:
        let_through(error)
        raise _unreadable_stack(path, error) from error


def _unreadable_stack(path: str | Path, why: object) -> NucleiganError:
    return NucleiganError(
        f"{path}: cannot be mapped as a stack of patches ({why}); delete it and run the same "
        "command again."
    )


def stored_digest(path: str | Path) -> str:
    """The digest that an image or a stack of this module carries, without reading its pixels.

    Whoever reads the pixels checks them against it.

    Raises
    ------
    NucleiganError
        There is no such file, or it carries none.
    """
    try:
        with tifffile.TiffFile(path) as file:
            described = file.pages.first.description
        if not described.startswith(DIGEST):
            raise ValueError("it carries no digest")
    except Exception as error:
        let_through(error)
        raise _unreadable(path, "a TIFF", error) from error
    return described.removeprefix(DIGEST)
