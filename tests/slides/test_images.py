"""Images of every format, and what is wrong with those that are refused."""

import io
from base64 import b64decode

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from scipy import ndimage

from nucleigan.artifacts import write_image
from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.slides.images import opened_level, read_header, read_image, read_level, read_mpp
from nucleigan.slides.resample import resample_image, resampled, scaled_shape

APERIO = "Aperio Image Library v12\n40x32|AppMag = 20|MPP = 0.4990|Left = 25.6"


RESTARTS = {bytes([0xFF, 0xD0 + number]) for number in range(8)}


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth colours, so that lossy compression stays close."""
    y, x = np.mgrid[:96, :160]
    return np.stack([x, 2 * y, 255 - x], axis=-1).astype(np.uint8)


def complaint(path, **keywords) -> str:
    with pytest.raises(NucleiganError) as caught:
        read_image(path, IngestionSettings(**keywords))
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd"])
@pytest.mark.parametrize("layout", [{}, {"tile": (32, 32)}, {"rowsperstrip": 7}])
def test_lossless_tiff_is_exact(tmp_path, picture, compression, layout):
    tifffile.imwrite(
        tmp_path / "a.tif", picture, photometric="rgb", compression=compression, **layout
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), picture)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_lossy_tiff_is_close(tmp_path, picture, compression):
    tifffile.imwrite(
        tmp_path / "a.svs", picture, photometric="rgb", compression=compression, tile=(32, 32)
    )
    difference = read_image(tmp_path / "a.svs").astype(int) - picture
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_single_jpeg_of_hamamatsu_is_read_between_its_restart_markers(tmp_path, subsampling):
    """Its parts are 64×16 pixels or less, so that no large slide has to be decoded whole."""
    y, x = np.mgrid[:96, :256]
    pixels = np.stack([x, 2 * y, 255 - x], axis=-1).astype(np.uint8)
    stream, blocks = io.BytesIO(), 64 // (16 if subsampling else 8)
    Image.fromarray(pixels).save(
        stream, "JPEG", quality=95, subsampling=subsampling, restart_marker_blocks=blocks
    )
    content = stream.getvalue()
    scan = content.index(b"\xff\xda")
    first = scan + 2 + int.from_bytes(content[scan + 2 : scan + 4])
    marks = [n + 2 for n in range(first, len(content)) if content[n : n + 2] in RESTARTS]
    starts = [first, *marks]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(
            iter([content]),
            shape=pixels.shape,
            dtype=np.uint8,
            photometric="ycbcr",
            compression="jpeg",
            rowsperstrip=96,
            metadata=None,
            resolution=(44_000, 44_000),
            resolutionunit="CENTIMETER",
            extratags=[
                (65_420, 4, 1, 1, True),
                (271, 2, 0, "Hamamatsu", True),
                (65_426, 4, len(starts), starts, True),
            ],
        )
    assert read_mpp(tmp_path / "a.tif") == pytest.approx(10_000 / 44_000)
    limits = IngestionSettings(max_pixels_whole=64 * 16)
    found = read_image(tmp_path / "a.tif", limits).astype(int)
    # Colours of half the resolution are smoothed within a part alone.
    difference = np.abs(found - np.asarray(Image.open(io.BytesIO(content))))
    assert difference.max() <= (12 if subsampling else 0)
    assert difference.mean() < 1
    assert "of ingestion.max_pixels_whole" in complaint(tmp_path / "a.tif", max_pixels_whole=500)


def test_planes_one_after_another(tmp_path, picture):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(picture, -1, 0),
        photometric="rgb",
        planarconfig="separate",
    )
    assert read_header(tmp_path / "a.tif").shape == (96, 160)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), picture)


def test_png_is_exact_and_jpeg_close(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture).save(tmp_path / "a.JPG", quality=95)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)
    assert np.abs(read_image(tmp_path / "a.JPG").astype(int) - picture).mean() < 2


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_alpha_is_composed_over_white(tmp_path, ending):
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    path = tmp_path / f"a{ending}"
    if ending == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    # One fifth of the colour, four fifths of white.
    expected = [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]]
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("extra", "shown"), [("assocalpha", (127, 147, 167)), ("unspecified", (10, 30, 50))]
)
def test_a_fourth_number_is_opacity_where_the_file_says_so(tmp_path, kind, extra, shown):
    """Opacity that was multiplied into the colours, half of white; and something else."""
    whole = np.iinfo(kind).max // 255
    pixels = (np.array([[[10, 30, 50, 138], [10, 30, 50, 138]]]) * whole).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[extra])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), [[shown, shown]])


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [(0.25, None, 0.25), (0.25, "µm", 0.25), (0.25, "mm", None), (2.5e-4, "mm", 0.25)]
    + [(250, "nm", 0.25), (2.5e-7, "m", 0.25), (0.25, "reference frame", None)],
)
def test_an_ome_tiff_says_how_large_its_pixels_are(tmp_path, picture, size, unit, mpp):
    facts = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    facts = {name: fact for name, fact in facts.items() if fact is not None}
    tifffile.imwrite(tmp_path / "a.ome.tif", picture, photometric="rgb", metadata=facts)
    found = read_mpp(tmp_path / "a.ome.tif")
    assert found == (None if mpp is None else pytest.approx(mpp))


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bits_are_scaled_and_said(tmp_path, picture, ending):
    path = tmp_path / f"a{ending}"
    wide = picture.astype(np.uint16) * 257
    if ending == ".png":
        from imagecodecs import png_encode

        path.write_bytes(png_encode(wide))
    else:
        tifffile.imwrite(path, wide, photometric="rgb")
    image, warnings = read_level(path, 1.0)
    np.testing.assert_array_equal(image, picture)
    assert len(warnings) == 1
    assert "16 bits" in warnings[0]


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_palettes_are_resolved(tmp_path, ending):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    colours = np.array([[255, 0, 128], [1, 2, 3], [90, 80, 70]], np.uint8)
    path = tmp_path / f"a{ending}"
    if ending == ".png":
        image = Image.fromarray(indices, "P")
        image.putpalette(colours.tobytes())
        image.save(path)
    else:
        table = np.zeros((3, 256), np.uint16)
        table[:, :3] = colours.T.astype(np.uint16) * 257
        tifffile.imwrite(path, indices, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_image(path), colours[indices])


def test_aperio_jpeg2000_of_ycbcr_becomes_rgb(tmp_path, picture):
    from imagecodecs import jpeg2k_encode

    stored = np.asarray(Image.fromarray(picture).convert("YCbCr"))
    tile = jpeg2k_encode(stored[:96, :96], level=0, codecformat="j2k", mct=False)
    tifffile.imwrite(
        tmp_path / "a.svs",
        iter([tile]),
        shape=(96, 96, 3),
        dtype=np.uint8,
        tile=(96, 96),
        photometric="rgb",
        compression=33003,
    )
    difference = read_image(tmp_path / "a.svs").astype(int) - picture[:, :96]
    assert np.abs(difference).max() <= 4


# 16 × 16 pixels of YCbCr in four squares, the colours of each two pixels beside each other one
# number: opj_compress -F 16,16,3,8,u@1x1:2x1:2x1 -mct 0 -n 1.
SQUARES = (200, 60, 120), (90, 40, 150), (240, 220, 235), (30, 140, 60)
SUBSAMPLED = (
    "/0//UQAvAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAADBwEBBwIBBwIB/1IADAAAAAEAAAQEAAH/"
    "XAAEQED/ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjD/kAAKAAAAAADLAAH/k8+1oIxwA7GQ"
    "gJfvCoXStM+jGMVDBcl9M1N6AAAABhGsJoAAGEhL7AEDCPaUQwkJfVW8BhIS8I3AAAwjnH+P0U4R9ymiPuU0SEvF"
    "Z8AAMJCXgC0AAGEc4/x+inCPuU0SEiWcAYR5inEfcpojx9RAJzUPDXpIVGDnSyWTtweTfAAAYCq12EfNcAAAAAMJ"
    "CX/PtLAUAEp2xfD+TjEpCG0lAa2ABhH54E/XCQlkBGAAAAAMea8+Nq1gAqAYFo+xH//Z"
)


def test_aperio_jpeg2000_with_fewer_colours_becomes_rgb_once(tmp_path):
    """The codec converts what is subsampled, as scanners write it, and nothing else."""
    tifffile.imwrite(
        tmp_path / "a.svs",
        iter([b64decode(SUBSAMPLED)]),
        shape=(16, 16, 3),
        dtype=np.uint8,
        tile=(16, 16),
        photometric="rgb",
        compression=33003,
    )
    squares = np.array(SQUARES).reshape(2, 2, 3).repeat(8, axis=0).repeat(8, axis=1)
    assert np.abs(read_image(tmp_path / "a.svs").astype(int) - squares).max() <= 3


def test_a_larger_picture_behind_the_first_is_told(tmp_path, picture):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for step in (2, 1):
            file.write(picture[::step, ::step], photometric="rgb")
    with pytest.raises(NucleiganError, match="first picture is 48×80 pixels, another one 96×160"):
        read_header(tmp_path / "a.ome.tif")


def test_cielab_is_refused(tmp_path, picture):
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="cielab")
    with pytest.raises(NucleiganError, match="holds CIELAB colours"):
        read_image(tmp_path / "a.tif")


def pyramid(path, picture, description=None) -> None:
    """Full resolution and halves of it as sub-images."""
    with tifffile.TiffWriter(path) as file:
        file.write(picture, photometric="rgb", tile=(32, 32), subifds=2, description=description)
        for step in (2, 4):
            file.write(picture[::step, ::step], photometric="rgb", tile=(32, 32), subfiletype=1)


def test_pyramids_are_read_no_finer_than_needed(tmp_path, picture):
    path = tmp_path / "a.tif"
    pyramid(path, picture)
    assert read_header(path).levels == ((96, 160), (48, 80), (24, 40))
    np.testing.assert_array_equal(read_image(path), picture)
    for reduction, step in [(0.5, 1), (1, 1), (1.9, 1), (2, 2), (3.9, 2), (4, 4), (100, 4)]:
        np.testing.assert_array_equal(
            read_level(path, reduction)[0], picture[::step, ::step], err_msg=str(reduction)
        )


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("factor", [1 / 4, 1 / 4.01, 1 / 4.7, 1 / 7])
def test_a_level_shows_nuclei_where_full_resolution_shows_them(tmp_path, filled, factor):
    """Also where a scanner left out, or filled up, what is over at the right and at the bottom."""
    shape = (403, 603)
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = [(380, 580), (380, 20), (20, 580), (200, 300)]
    blurs = [np.exp(-((y - row) ** 2 + (x - column) ** 2) / 100) for row, column in places]
    full = np.repeat(np.rint(255 * sum(blurs))[..., None], 3, axis=2).astype(np.uint8)
    blocks = np.pad(full, ((0, 1), (0, 1), (0, 0)), mode="edge")
    if not filled:
        blocks = full[:400, :600]
    coarse = blocks.reshape(len(blocks) // 4, 4, -1, 4, 3).mean(axis=(1, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(full, photometric="rgb", tile=(32, 32), subifds=1)
        file.write(coarse, photometric="rgb", tile=(32, 32), subfiletype=1)

    wanted = scaled_shape(shape, factor)
    with opened_level(tmp_path / "a.tif", 1 / factor) as level:
        assert level.picture.shape == coarse.shape
        found = np.concatenate(list(resampled(level.picture, wanted, level.extent)))
    expected = resample_image(full, wanted)
    for row, column in places:
        top, left = (int(place * factor) - 8 for place in (row, column))
        window = np.s_[max(0, top) : top + 16, max(0, left) : left + 16, 0]
        centres = [ndimage.center_of_mass(image[window]) for image in (found, expected)]
        assert centres[0] == pytest.approx(centres[1], abs=0.05)


def test_the_limit_holds_for_the_level_that_is_read(tmp_path, picture):
    path = tmp_path / "a.tif"
    pyramid(path, picture)
    assert read_level(path, 2, IngestionSettings(max_pixels=96 * 160 // 4))[0].shape == (48, 80, 3)
    assert "ingestion.max_pixels" in complaint(path, max_pixels=96 * 160 - 1)


def test_several_planes_are_refused(tmp_path, picture):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([picture] * 3), photometric="rgb")
    assert "3 pictures" in complaint(tmp_path / "a.tif")


def test_magnification(tmp_path, picture):
    def stored(**keywords):
        tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", **keywords)
        return read_mpp(tmp_path / "a.tif")

    assert stored(description=APERIO) == 0.499
    assert stored(description="MPP=.25|x") == 0.25
    assert stored(resolution=(40_000, 40_000), resolutionunit="CENTIMETER") == 0.25
    assert stored(resolution=(50_800, 50_800), resolutionunit="INCH") == 0.5
    assert stored(resolution=(4_000, 4_000), resolutionunit="MILLIMETER") == 0.25
    assert stored(resolution=(4, 4), resolutionunit="MICROMETER") == 0.25
    assert stored(resolution=(4, 4), description="ImageJ=1.54f\nunit=um\nloop=false") == 0.25
    assert stored(resolution=(4, 4), description="ImageJ=1.54f\nunit=\\u00B5m\n") == 0.25
    assert stored(resolution=(4, 4), description="ImageJ=1.54f\nunit=inch\n") is None
    # Made for print, and units that are none.
    assert stored(resolution=(300, 300), resolutionunit="INCH") is None
    assert stored(resolution=(40_000, 40_000), resolutionunit="NONE") is None
    assert stored() is None
    assert stored(description="MPP = 0.0") is None
    write_image(tmp_path / "b.tif", picture, 0.3)
    assert read_mpp(tmp_path / "b.tif") == pytest.approx(0.3, rel=1e-6)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert read_mpp(tmp_path / "a.png") is None


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_greyscale_is_refused_in_words(tmp_path, mode):
    picture = np.zeros((4, 5), np.uint16) if mode == "I;16" else np.zeros((4, 5), np.uint8)
    image = Image.fromarray(picture)
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / "a.png")
    assert "greyscale" in complaint(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", picture)
    assert "greyscale" in complaint(tmp_path / "a.tif")


def test_print_and_other_colours_are_refused_in_words(tmp_path, picture):
    inks = np.concatenate([picture, picture[..., :1]], axis=-1)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated")
    assert "CMYK" in complaint(tmp_path / "a.tif")
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg")
    assert "CMYK" in complaint(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "b.tif", picture, photometric="ycbcr", compression="lzw")
    assert "YCbCr" in complaint(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", picture.astype(np.float32), photometric="rgb")
    assert "float32" in complaint(tmp_path / "c.tif")
    tifffile.imwrite(
        tmp_path / "d.tif", np.zeros((8, 8, 5), np.uint8), photometric="rgb", planarconfig="contig"
    )
    assert "8×8×5" in complaint(tmp_path / "d.tif")


def test_missing_empty_unknown_and_mistaken_files(tmp_path, picture):
    with pytest.raises(NucleiganError, match="no such image"):
        read_image(tmp_path / "a.tif")
    (tmp_path / "a.tif").touch()
    assert "empty" in complaint(tmp_path / "a.tif")
    (tmp_path / "a.bmp").write_bytes(b"BM")
    assert "'.bmp'" in complaint(tmp_path / "a.bmp")
    (tmp_path / "b.tif").write_text("<html>not found</html>")
    assert "cannot be read" in complaint(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.png", picture, photometric="rgb")
    assert "cannot be read" in complaint(tmp_path / "c.png")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "jpeg", "png", "jpg"])
def test_truncated_files_never_pass(tmp_path, compression, part):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    path = tmp_path / f"a.{compression if compression in ('png', 'jpg') else 'tif'}"
    if path.suffix == ".tif":
        tifffile.imwrite(path, noise, photometric="rgb", compression=compression, metadata=None)
    else:
        Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    complaint(path)


def test_damaged_content_is_named(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", compression="zlib", metadata=None)
    content = bytearray(path.read_bytes())
    content[-200:-100] = bytes(100)
    path.write_bytes(content)
    assert "cannot be read" in complaint(path)


def test_huge_sizes_are_refused_from_the_header(tmp_path):
    # 10,000 × 10,000 pixels in a few kilobytes.
    Image.new("RGB", (10_000, 10_000)).save(tmp_path / "a.png", compress_level=9)
    assert "10000×10000" in complaint(tmp_path / "a.png", max_pixels=1_000_000)
    limit = Image.MAX_IMAGE_PIXELS
    assert read_header(tmp_path / "a.png").shape == (10_000, 10_000)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("name", "shape", "mpp"),
    [("CMU-1-Small-Region", (2967, 2220), 0.499), ("A9K0_1", (1153, 1307), 0.19448)],
)
def test_scanned_slides(real_data, name, shape, mpp):
    path = real_data / "slides" / f"{name}.svs"
    header = read_header(path)
    assert header.shape == shape
    assert header.mpp == mpp
    image = read_image(path)
    assert image.shape == (*shape, 3)
    # Haematoxylin and eosin absorb green most.
    red, green, blue = image.mean(axis=(0, 1))
    assert green < min(red, blue)


@pytest.mark.parametrize("orientation", [None, 1, 3, 6])
def test_a_tiff_that_is_to_be_turned_is_read_as_stored_with_a_warning(tmp_path, orientation):
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    tags = [] if orientation is None else [(274, 3, 1, orientation, True)]
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=tags)
    image, warnings = read_level(path, 1.0)
    np.testing.assert_array_equal(image, pixels)
    assert len(warnings) == (orientation in (3, 6)) and all("turned" in text for text in warnings)


@pytest.mark.parametrize("orientation", [None, 1, 6])
def test_a_photograph_that_is_to_be_turned_is_read_as_stored_with_a_warning(
    tmp_path, orientation, monkeypatch
):
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    decoded, load = [], PngImageFile.load
    monkeypatch.setattr(PngImageFile, "load", lambda self: decoded.append(self) or load(self))
    image, warnings = read_level(path, 1.0)
    assert len({id(one) for one in decoded}) == 1
    np.testing.assert_array_equal(image, pixels)
    assert len(warnings) == (orientation == 6) and all("turned" in text for text in warnings)
