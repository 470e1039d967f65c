"""Images made to harm: sizes that no machine holds, and little files that unpack to much."""

import contextlib
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.slides.images import read_header, read_image

MEGABYTE = 1 << 20
# What decoding may take in these tests, and what the process may grow by while it refuses.
MEMORY, GROWTH = 200 * MEGABYTE, 400 * MEGABYTE
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)


def complaint(path, **keywords) -> str:
    with pytest.raises(NucleiganError) as caught:
        read_image(path, IngestionSettings(**keywords))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def patched(path, **values):
    """Overwrite values of a TIFF's first directory."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in values.items():
            file.pages[0].tags[name].overwrite(value)


@pytest.fixture
def tiff(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression="zlib", tile=(16, 16))
    return path


def test_a_picture_of_a_million_by_a_million_pixels(tiff, memory_growth):
    patched(tiff, ImageWidth=1_000_000, ImageLength=1_000_000)
    assert "1000000×1000000" in complaint(tiff)
    assert "ingestion.max_pixels" in complaint(tiff)
    assert memory_growth() < GROWTH


def test_tiles_larger_than_any_memory(tiff, memory_growth):
    patched(tiff, TileWidth=65_520, TileLength=65_520)
    complaint(tiff, decoder_memory=MEMORY)
    assert memory_growth() < GROWTH


def test_hundreds_of_channels_are_refused_before_they_are_decoded(tmp_path, memory_growth):
    path = tmp_path / "a.tif"
    # 600 MB in 600 kB.
    many = np.zeros((1000, 1000, 600), np.uint8)
    tifffile.imwrite(path, many, photometric="rgb", compression="zlib", extrasamples=[0] * 597)
    del many
    memory_growth()
    assert "1000×1000×600" in complaint(path, decoder_memory=MEMORY)
    assert memory_growth() < 100 * MEGABYTE


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_tiles_that_claim_to_be_larger_than_their_header_says(tmp_path, compression, memory_growth):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression=compression, tile=(16, 16))
    content = bytearray(path.read_bytes())
    if compression == "jpeg":
        (start,) = [content.find(mark) for mark in (b"\xff\xc0",)]
        place, layout = start + 5, ">HH"
    else:
        place, layout = content.find(b"\xff\x51") + 6, ">II"
    assert struct.unpack_from(layout, content, place) == (16, 16)
    for _ in range(6):
        struct.pack_into(layout, content, place, 65_500, 65_500)
        following = content.find(content[place - 6 : place], place)
        if following < 0:
            break
        place = following + 6
    path.write_bytes(content)
    complaint(path, decoder_memory=MEMORY)
    assert memory_growth() < GROWTH


def test_strips_that_unpack_to_a_gigabyte(tmp_path, memory_growth):
    path = tmp_path / "a.tif"
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(1024)) + packer.flush()
    tifffile.imwrite(path, PIXELS, photometric="rgb", compression="zlib", rowsperstrip=32)
    with tifffile.TiffFile(path) as file:
        (offset,), (length,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    content = path.read_bytes()
    path.write_bytes(content[:offset] + content[offset + length :] + bomb)
    patched(path, StripOffsets=len(content) - length, StripByteCounts=len(bomb))
    read_or_refused(path)
    assert memory_growth() < GROWTH


def test_text_that_unpacks_to_much(tmp_path, memory_growth):
    content = bytearray(b"\x89PNG\r\n\x1a\n")
    text = b"note\0\0" + zlib.compress(bytes(300 * MEGABYTE), 9)
    for kind, data in [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        (b"zTXt", text),
        (b"IDAT", zlib.compress(bytes(4))),
        (b"IEND", b""),
    ]:
        checksum = zlib.crc32(kind + data)
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    memory_growth()
    complaint(path, decoder_memory=MEMORY)
    assert memory_growth() < 100 * MEGABYTE


def test_a_jpeg_that_claims_the_largest_size(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).save(path)
    content = bytearray(path.read_bytes())
    struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, 65_500, 65_500)
    path.write_bytes(content)
    assert "65500×65500" in complaint(path)


OME = """<?xml version="1.0"?>{doctype}
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}"><Image>
<Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="48" SizeY="32" SizeC="3" SizeZ="{planes}"
SizeT="1"><Channel SamplesPerPixel="3">{text}</Channel>
<TiffData IFD="0" FirstZ="0"><UUID FileName="a.ome.tif">urn:uuid:{own}</UUID></TiffData>
{other}</Pixels></Image></OME>"""
OWN, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def ome(folder, text="", doctype="", other="", planes=1):
    path = folder / "a.ome.tif"
    description = OME.format(
        own=OWN, text=text, doctype=doctype, other=other, planes=planes
    ).encode()
    tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=None, description=description)
    return path


def test_other_files_named_in_a_tiff_are_not_opened(tmp_path):
    (tmp_path / "image").mkdir()
    tifffile.imwrite(tmp_path / "secret.tif", PIXELS[::-1], photometric="rgb", metadata=None)
    other = (
        f'<TiffData IFD="0" FirstZ="1"><UUID FileName="../secret.tif">urn:uuid:{OTHER}</UUID>'
        "</TiffData>"
    )
    path = ome(tmp_path / "image", other=other, planes=2)
    with tifffile.TiffFile(path) as file:
        # It would be, if tifffile were let.
        assert len(file.series[0].pages) == 2
    np.testing.assert_array_equal(read_image(path), PIXELS)


def test_entities_in_the_text_of_a_tiff(tmp_path, memory_growth):
    entities = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha" * 50}">' for n in range(10)
    )
    path = ome(tmp_path, text="&e9;", doctype=f"<!DOCTYPE OME [{entities}]>")
    np.testing.assert_array_equal(read_image(path), PIXELS)
    assert memory_growth() < GROWTH


def test_a_directory_that_follows_itself(tiff):
    content = bytearray(tiff.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * count, start)
    tiff.write_bytes(content)
    read_or_refused(tiff)


@pytest.mark.parametrize("name", ["BitsPerSample", "TileOffsets", "TileByteCounts"])
def test_tags_with_more_values_than_the_file_has_bytes(tiff, name, memory_growth):
    content = bytearray(tiff.read_bytes())
    with tifffile.TiffFile(tiff) as file:
        place = file.pages[0].tags[name].offset + 4
    struct.pack_into("<I", content, place, 2**32 - 1)
    tiff.write_bytes(content)
    read_or_refused(tiff)
    assert memory_growth() < GROWTH


def read_or_refused(path):
    with contextlib.suppress(NucleiganError):
        read_image(path, IngestionSettings(decoder_memory=MEMORY))


def test_the_memory_limit_is_lifted_again(tiff, tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    read_image(tiff)
    patched(tiff, TileWidth=65_520, TileLength=65_520)
    complaint(tiff, decoder_memory=MEMORY)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert read_header(tiff).shape == (32, 48)


def test_enough_memory_is_allowed_for_what_is_announced(tmp_path):
    """The least allowance suffices for sound files whose pixels are many times that."""
    path = tmp_path / "a.png"
    Image.new("RGBA", (6000, 5000), (200, 100, 150, 255)).save(path, compress_level=1)
    assert read_image(path, IngestionSettings(decoder_memory=50_000_000)).shape == (5000, 6000, 3)
    path = tmp_path / "a.tif"
    picture = np.full((5000, 6000, 3), 7, np.uint8)
    for options in ({"compression": "zlib", "tile": (256, 256)}, {}):
        tifffile.imwrite(path, picture, photometric="rgb", **options)
        assert (read_image(path, IngestionSettings(decoder_memory=200_000_000)) == picture).all()


def test_what_is_decoded_as_a_whole_has_a_limit_of_its_own(tmp_path):
    pixels = np.full((64, 96, 3), 200, np.uint8)
    parts = {"photometric": "rgb", "compression": "zlib"}
    tifffile.imwrite(tmp_path / "tiles.tif", pixels, **parts, tile=(16, 16))
    planes = np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / "planes.tif", planes, **parts, planarconfig="separate")
    tifffile.imwrite(tmp_path / "strip.tif", pixels, **parts, rowsperstrip=64)
    for name in ("a.png", "a.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
    within = IngestionSettings(max_pixels_whole=64 * 96)
    for name in ("a.png", "a.jpg", "planes.tif", "strip.tif"):
        assert read_image(tmp_path / name, within).shape == (64, 96, 3)
        message = complaint(tmp_path / name, max_pixels_whole=64 * 96 - 1)
        assert "64×96 pixels, more than the 6143 of ingestion.max_pixels_whole" in message
    # In tiles it is not held as a whole.
    small = IngestionSettings(max_pixels_whole=16 * 16)
    np.testing.assert_array_equal(read_image(tmp_path / "tiles.tif", small), pixels)
    message = complaint(tmp_path / "tiles.tif", max_pixels_whole=16 * 16 - 1)
    assert "a tile or strip of it has 16×16 pixels" in message


def test_too_many_pages(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for _ in range(4):
            file.write(np.zeros((16, 16, 3), np.uint8), photometric="rgb")
    assert "more pages than the 3 of ingestion.max_pages" in complaint(path, max_pages=3)
    assert read_image(path, IngestionSettings(max_pages=4)).shape == (16, 16, 3)
