"""Whatever a disk or a download does to a file: an image, or one sentence."""

import logging

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.slides.images import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
KINDS = {
    "plain.tif": {},
    "strips.tif": {"rowsperstrip": 5},
    "big.tif": {"bigtiff": True, "compression": "zlib"},
    "lzw.tif": {"compression": "lzw", "rowsperstrip": 8},
    "zlib.tif": {"compression": "zlib", "tile": (16, 16)},
    "packbits.tif": {"compression": "packbits"},
    "jpeg.tif": {"compression": "jpeg"},
    "a.png": None,
    "a.jpg": None,
}
kinds = st.sampled_from(sorted(KINDS))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Of each kind a path to damage, and what the sound file holds: bytes and pixels."""
    # tifffile logs what it meets in damaged files.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for name, options in KINDS.items():
        path = folder / name
        if options is None:
            Image.fromarray(PIXELS).save(path)
        else:
            tifffile.imwrite(path, PIXELS, photometric="rgb", **options)
        found[name] = (folder / f"damaged {name}", path.read_bytes(), read_image(path))
    return found


def read_or_refused(path, content):
    """The image, or None where it is refused in one sentence; any other exception fails."""
    path.write_bytes(content)
    try:
        return read_image(path, IngestionSettings(max_pixels=1_000_000))
    except NucleiganError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}: ")
    return None


@given(kinds, st.floats(0, 1, exclude_max=True))
def test_truncated_files(files, name, part):
    """Never half a picture."""
    path, content, pixels = files[name]
    image = read_or_refused(path, content[: int(part * len(content))])
    if image is not None:
        np.testing.assert_array_equal(image, pixels)


@given(
    kinds, st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4)
)
def test_flipped_bits(files, name, flips):
    path, content, _ = files[name]
    damaged = bytearray(content)
    for part, bits in flips:
        damaged[int(part * len(content))] ^= bits
    image = read_or_refused(path, damaged)
    if image is not None:
        assert image.dtype == np.uint8
        assert image.shape == (*image.shape[:2], 3)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_bit_of_the_first_bytes(files, name):
    path, content, _ = files[name]
    for bit in range(8 * 16):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        read_or_refused(path, damaged)


@settings(max_examples=300)
@given(kinds, st.integers(0, 300), st.integers(0, 255))
def test_other_bytes_in_headers(files, name, place, value):
    path, content, _ = files[name]
    damaged = bytearray(content)
    damaged[min(place, len(content) - 1)] = value
    read_or_refused(path, damaged)
