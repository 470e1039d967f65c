"""Sheets from the folders in which the MoNuSeg tiles are published."""

import hashlib

import pytest

from nucleigan.errors import NucleiganError
from nucleigan.slides import monuseg_sheet, read_sheet, write_sheet
from nucleigan.slides.monuseg import ANNOTATIONS, IMAGES


def download(folder, names, annotated=None) -> None:
    for part in (IMAGES, ANNOTATIONS):
        (folder / part).mkdir()
    for name in names:
        (folder / IMAGES / f"{name}.tif").write_text(name)
        if annotated is None or name in annotated:
            (folder / ANNOTATIONS / f"{name}.xml").touch()


def test_organ_split_and_hash_of_known_tiles(tmp_path):
    names = ["TCGA-A7-A13E-01Z-00-DX1", "TCGA-NH-A8F7-01A-01-TS1"]
    download(tmp_path, names)
    (breast, colon), warnings = monuseg_sheet(tmp_path)
    assert not warnings
    assert (breast.organ, breast.split, breast.mpp) == ("breast", "train", 0.25)
    assert (colon.organ, colon.split) == ("colon", "test")
    assert breast.sha256 == hashlib.sha256(names[0].encode()).hexdigest()
    assert breast.annotation == tmp_path / ANNOTATIONS / f"{names[0]}.xml"
    write_sheet(tmp_path / "slides.csv", [breast, colon])
    assert read_sheet(tmp_path / "slides.csv") == [breast, colon]


def test_unknown_tiles_are_test_slides_with_a_warning(tmp_path):
    download(tmp_path, ["TCGA-XX-0000-01Z-00-DX1"], annotated=[])
    (slide,), (warning,) = monuseg_sheet(tmp_path)
    assert (slide.organ, slide.split, slide.annotation) == ("unknown", "test", None)
    assert "TCGA-XX-0000" in warning


def test_training_tiles_need_their_annotation(tmp_path):
    download(tmp_path, ["TCGA-A7-A13E-01Z-00-DX1"], annotated=[])
    with pytest.raises(NucleiganError, match=r"TCGA-A7-A13E-01Z-00-DX1\.xml"):
        monuseg_sheet(tmp_path)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(NucleiganError, match="Tissue Images"):
        monuseg_sheet(tmp_path)


def test_the_published_split(real_data, tmp_path):
    published = read_sheet(real_data / "kumar" / "slides.csv")
    download(tmp_path, [slide.slide for slide in published])
    slides, warnings = monuseg_sheet(tmp_path)
    assert not warnings
    assert {slide.slide: (slide.organ, slide.split) for slide in slides} == {
        slide.slide: (slide.organ, slide.split) for slide in published
    }
