"""The slides stage: from files of a sheet to artifacts at the working magnification."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from nucleigan.artifacts import file_digest, read_json
from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.slides import Slide, ingest, read_image, read_mpp

SETTINGS = IngestionSettings(mpp=0.25)
TISSUE, NUCLEUS = (220, 150, 200), (90, 60, 140)


@pytest.fixture
def slide(tmp_path) -> Slide:
    """Two nuclei on 60×80 pixels of 0.25 µm, the right half glass."""
    image = np.full((60, 80, 3), 245, np.uint8)
    image[:, :40] = TISSUE
    labels = np.zeros((60, 80), np.uint16)
    labels[10:20, 8:24] = 5
    labels[30:50, 12:28] = 9
    image[labels > 0] = NUCLEUS
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
    Image.fromarray(labels).save(tmp_path / "a.png")
    digest = hashlib.sha256((tmp_path / "a.tif").read_bytes()).hexdigest()
    return Slide("a", "liver", "train", tmp_path / "a.tif", tmp_path / "a.png", 0.25, digest)


def ingested(slide, folder, settings=SETTINGS):
    """Facts, image, label map or None, picture."""
    out = folder / "out"
    ingest(
        slide,
        image_output=out / "image.tif",
        labels_output=out / "labels.tif" if slide.annotation else None,
        facts_output=out / "slide.json",
        picture_output=out / "overview.png",
        settings=settings,
    )
    labels = tifffile.imread(out / "labels.tif") if slide.annotation else None
    picture = np.asarray(Image.open(out / "overview.png"))
    return read_json(out / "slide.json"), read_image(out / "image.tif"), labels, picture


def complaint(slide, folder) -> str:
    with pytest.raises(NucleiganError) as caught:
        ingested(slide, folder)
    assert not any((folder / "out").glob("*"))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_at_its_own_magnification(slide, tmp_path, capsys):
    facts, image, labels, picture = ingested(slide, tmp_path)
    np.testing.assert_array_equal(image, read_image(slide.image))
    assert labels.dtype == np.int32
    assert (labels == 1).sum() == 160
    assert (labels == 2).sum() == 320
    assert read_mpp(tmp_path / "out" / "image.tif") == pytest.approx(0.25)
    assert facts == {
        "slide": "a",
        "source": "a.tif",
        "annotation": slide.annotation.name,
        "sha256": slide.sha256,
        "annotation_sha256": file_digest(slide.annotation),
        "height": 60,
        "width": 80,
        "mpp": 0.25,
        "source_height": 60,
        "source_width": 80,
        "source_mpp": 0.25,
        "nuclei": 2,
        "tissue_fraction": 0.5,
        "warnings": [],
    }
    # The picture is the slide with contours inside its nuclei.
    contours = (picture == (0, 255, 0)).all(axis=-1)
    assert contours[10, 8]
    assert not contours[labels == 0].any()
    assert capsys.readouterr().out == ""


def test_shrunk_to_the_working_magnification(slide, tmp_path):
    facts, image, labels, _ = ingested(slide, tmp_path, IngestionSettings(mpp=0.5))
    assert image.shape == (30, 40, 3)
    assert (image[7, 8] == NUCLEUS).all()
    assert (labels == 1).sum() == 40
    assert (labels == 2).sum() == 80
    assert (facts["mpp"], facts["source_mpp"], facts["height"]) == (0.5, 0.25, 30)
    assert (facts["source_height"], facts["source_width"]) == (60, 80)


def test_enlarging_is_warned_of(slide, tmp_path, capsys):
    facts, image, labels, _ = ingested(replace(slide, mpp=0.5), tmp_path)
    assert image.shape == (120, 160, 3)
    assert (labels == 1).sum() == 640
    (warning,) = facts["warnings"]
    assert "enlarged" in warning
    assert capsys.readouterr().out == f"warning: slide a: {warning}\n"


def test_slides_without_annotation(slide, tmp_path):
    facts, _, labels, picture = ingested(replace(slide, annotation=None), tmp_path)
    assert labels is None
    assert facts["nuclei"] is None
    assert picture.shape == (60, 80, 3)
    assert not (tmp_path / "out" / "labels.tif").exists()


def test_of_a_pyramid_only_the_level_that_is_needed(slide, tmp_path):
    full = read_image(slide.image)
    # The second level has a colour of its own, so that the result tells which one was read.
    marked = np.full((30, 40, 3), (1, 2, 3), np.uint8)
    with tifffile.TiffWriter(slide.image) as file:
        file.write(full, photometric="rgb", tile=(16, 16), subifds=1)
        file.write(marked, photometric="rgb", tile=(16, 16), subfiletype=1)
    slide = replace(slide, sha256=None)
    assert (ingested(slide, tmp_path, IngestionSettings(mpp=0.5))[1] == marked).all()
    assert ingested(slide, tmp_path, IngestionSettings(mpp=1.0))[1].shape == (15, 20, 3)
    assert (ingested(slide, tmp_path)[1] == full).all()


def test_large_slides_have_small_pictures(slide, tmp_path):
    image = np.full((900, 1700, 3), TISSUE, np.uint8)
    tifffile.imwrite(slide.image, image, photometric="rgb")
    labels = np.zeros((900, 1700), np.uint16)
    labels[200:400, 300:900] = 1
    Image.fromarray(labels).save(slide.annotation)
    picture = ingested(replace(slide, sha256=None), tmp_path)[3]
    assert picture.shape == (424, 800, 3)
    assert (picture == (0, 255, 0)).all(axis=-1).sum() > 500


def test_another_file_than_the_sheet_expects(slide, tmp_path):
    message = complaint(replace(slide, sha256="0" * 64), tmp_path)
    for word in ("slide a", "a.tif", slide.sha256, "0" * 64):
        assert word in message


def test_another_annotation_than_the_sheet_expects(slide, tmp_path):
    right = hashlib.sha256(slide.annotation.read_bytes()).hexdigest()
    message = complaint(replace(slide, annotation_sha256="0" * 64), tmp_path)
    for word in ("slide a", "a.png", right, "0" * 64):
        assert word in message
    assert ingested(replace(slide, annotation_sha256=right), tmp_path)[0]["nuclei"] > 0


def test_files_that_are_missing(slide, tmp_path):
    slide.annotation.unlink()
    assert "a.png" in complaint(slide, tmp_path)
    slide.image.unlink()
    message = complaint(slide, tmp_path)
    assert "slide a" in message
    assert "a.tif" in message


def test_magnification_comes_from_the_sheet_then_the_file(slide, tmp_path):
    slide = replace(slide, mpp=None)
    message = complaint(slide, tmp_path)
    assert "slide a" in message
    assert "`mpp`" in message
    tifffile.imwrite(
        slide.image, read_image(slide.image), photometric="rgb", description="Aperio|MPP = 0.2600"
    )
    slide = replace(slide, sha256=None)
    facts = ingested(slide, tmp_path)[0]
    assert facts["source_mpp"] == 0.26
    # Within five per cent the sheet is followed silently, beyond it with a warning.
    assert ingested(replace(slide, mpp=0.25), tmp_path)[0]["warnings"] == []
    facts = ingested(replace(slide, mpp=0.24), tmp_path)[0]
    assert facts["source_mpp"] == 0.24
    assert "states 0.26" in facts["warnings"][0]


def test_crumbs_are_measured_at_the_working_magnification(slide, tmp_path):
    labels = np.array(Image.open(slide.annotation))
    # A second piece of 8 pixels, which are 2 at half the magnification.
    labels[55:57, 70:74] = 5
    Image.fromarray(labels).save(slide.annotation)
    assert (ingested(slide, tmp_path)[2] == 1).sum() == 168
    assert (ingested(slide, tmp_path, IngestionSettings(mpp=0.5))[2] == 1).sum() == 40


def test_empty_annotations_and_glass_are_warned_of(slide, tmp_path):
    Image.fromarray(np.zeros((60, 80), np.uint16)).save(slide.annotation)
    tifffile.imwrite(slide.image, np.full((60, 80, 3), 250, np.uint8), photometric="rgb")
    facts = ingested(replace(slide, sha256=None), tmp_path)[0]
    assert facts["nuclei"] == 0
    assert facts["tissue_fraction"] == 0
    empty, glass = facts["warnings"]
    assert "a.png annotates no nucleus" in empty
    assert "no tissue" in glass


def test_outlines_of_regions_are_warned_of(slide, tmp_path):
    image, labels = np.full((250, 250, 3), TISSUE, np.uint8), np.zeros((250, 250), np.uint16)
    labels[20:220, 30:230] = 1
    labels[230:240, 10:20] = 2
    Image.fromarray(image).save(tmp_path / "b.png")
    np.save(tmp_path / "b.npy", labels)
    large = replace(slide, image=tmp_path / "b.png", annotation=tmp_path / "b.npy", sha256=None)
    (warning,) = ingested(large, tmp_path)[0]["warnings"]
    assert "1 of 2 nuclei are larger than 2,000 µm²" in warning
    assert "2,500 µm², lies around x = 130, y = 120 at 0.25 µm per pixel" in warning


def test_too_many_pixels(slide, tmp_path):
    with pytest.raises(NucleiganError, match=r"ingestion\.max_pixels"):
        ingested(slide, tmp_path, IngestionSettings(max_pixels=100))


def test_too_many_pixels_once_enlarged(slide, tmp_path):
    # 60×80 pixels of 2.5 µm are 600×800 of 0.25 µm.
    settings = IngestionSettings(max_pixels=600 * 800 - 1)
    with pytest.raises(NucleiganError, match=r"slide a: .*600×800 .*ingestion\.max_pixels"):
        ingested(replace(slide, mpp=2.5), tmp_path, settings)
    assert not (tmp_path / "out").exists()


def test_a_scanned_slide_with_its_regions(real_data, tmp_path):
    folder = real_data / "slides"
    slide = Slide("s", "kidney", "train", folder / "A9K0_1.svs", folder / "A9K0_1.xml")
    facts, image, labels, _ = ingested(slide, tmp_path)
    # 1153×1307 pixels of 0.19448 µm.
    assert image.shape == (897, 1017, 3)
    assert labels.shape == (897, 1017)
    assert facts["nuclei"] == 321
    # Nuclei are darker than what surrounds them.
    assert image[labels > 0].mean() < image[labels == 0].mean() - 10
