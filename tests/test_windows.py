"""Pictures read by windows and written by bands: the same pixels, and never more than needed."""

from itertools import pairwise

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleigan.artifacts import write_bands, write_image
from nucleigan.windows import Mapped, Segments, bands, page_picture

HEIGHT, WIDTH = 90, 70
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
STORED = {
    "tiles": {"tile": (16, 32), "compression": "zlib", "predictor": True},
    "strips": {"rowsperstrip": 7, "compression": "lzw"},
    "one strip": {"rowsperstrip": HEIGHT, "compression": "zlib"},
    "jpeg": {"tile": (32, 32), "compression": "jpeg"},
    "mapped": {},
    "16 bits, big-endian": {"byteorder": ">"},
    "channels apart": {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
}


@pytest.fixture(scope="module", params=STORED)
def stored(request, tmp_path_factory):
    """A TIFF, and its pixels as tifffile reads them at once."""
    path = tmp_path_factory.mktemp("stored") / "a.tif"
    pixels, options = PIXELS, STORED[request.param]
    if "16 bits" in request.param:
        pixels = pixels.astype(np.uint16) * 200
    if "planarconfig" in options:
        pixels = np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)
    whole = tifffile.imread(path)
    return path, np.moveaxis(whole, 0, -1) if "planarconfig" in options else whole


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_window_is_that_part_of_the_whole(stored, data):
    path, whole = stored
    top, bottom = sorted(data.draw(st.tuples(*[st.integers(0, HEIGHT)] * 2)))
    left, right = sorted(data.draw(st.tuples(*[st.integers(0, WIDTH)] * 2)))
    with tifffile.TiffFile(path) as file:
        picture = page_picture(file.pages.first)
        assert picture.shape == whole.shape
        window = picture[top:bottom, left:right]
        np.testing.assert_array_equal(window, whole[top:bottom, left:right])
        np.testing.assert_array_equal(picture[:, :], whole)


def test_a_window_decodes_the_tiles_that_it_touches_and_no_other(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS, photometric="rgb", tile=(16, 16), compression="zlib"
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages.first
        picture = page_picture(page)
        assert isinstance(picture, Segments)
        picture[20:40, 10:20]
        # Rows 1 and 2, columns 0 and 1 of the tiles; asked for again, nothing is decoded again.
        assert picture._segment.cache_info().misses == 4
        picture[16:48, 0:32]
        assert picture._segment.cache_info().misses == 4
        picture[:, :]
        across = -(-WIDTH // 16)
        assert picture._segment.cache_info().currsize == 2 * across + 1


def test_tiles_that_were_never_written_are_empty(tmp_path):
    """TIFF's sparse tiles, of which nothing is stored."""
    tiles = (PIXELS[:16, :16] if number == 0 else None for number in range(6 * 5))
    tifffile.imwrite(
        tmp_path / "a.tif",
        tiles,
        shape=PIXELS.shape,
        dtype=np.uint8,
        photometric="rgb",
        tile=(16, 16),
        compression="zlib",
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        picture = page_picture(file.pages.first)
        expected = np.zeros_like(PIXELS)
        expected[:16, :16] = PIXELS[:16, :16]
        np.testing.assert_array_equal(picture[:, :], expected)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.sampled_from([(600, 300, 3), (513, 40), (256, 256, 3), (1, 700, 3)]),
    heights=st.lists(st.integers(0, 400), max_size=6),
)
def test_bands_of_any_height_make_the_same_file(tmp_path_factory, shape, heights):
    folder = tmp_path_factory.mktemp("bands")
    dtype = np.uint8 if len(shape) == 3 else np.int32
    picture = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    cuts = [min(int(cut), shape[0]) for cut in np.cumsum([0, *heights])] + [shape[0]]
    rows = (picture[top:bottom] for top, bottom in pairwise(cuts))
    write_bands(folder / "a.tif", shape, dtype, rows, 0.25)
    write_image(folder / "b.tif", picture, 0.25)
    assert (folder / "a.tif").read_bytes() == (folder / "b.tif").read_bytes()
    np.testing.assert_array_equal(tifffile.imread(folder / "a.tif"), picture)


def test_missing_rows_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="600 rows announced, 500 given"):
        write_bands(tmp_path / "a.tif", (600, 10), np.int32, [np.zeros((500, 10), np.int32)])
    assert not list(tmp_path.iterdir())


def test_mapped_pictures_change_their_windows():
    halved = Mapped(PIXELS, lambda window: window[..., 0] // 2, (), np.uint8)
    assert halved.shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(halved[3:9, 5:7], PIXELS[3:9, 5:7, 0] // 2)


def test_bands_cover_the_picture():
    np.testing.assert_array_equal(np.concatenate(list(bands(PIXELS, 32))), PIXELS)
    np.testing.assert_array_equal(np.concatenate(list(bands(PIXELS))), PIXELS)
