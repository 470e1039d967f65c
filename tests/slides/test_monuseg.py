"""Sheets from the folders in which the MoNuSeg tiles are published."""

import hashlib

import pytest

from nucleigan.errors import NucleiganError
from nucleigan.slides import monuseg_sheet, read_sheet, write_sheet
from nucleigan.slides.monuseg import ANNOTATIONS, CHALLENGE, IMAGES, KUMAR


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
    assert breast.patient == "TCGA-A7-A13E"
    assert (colon.organ, colon.split) == ("colon", "test")
    assert breast.sha256 == hashlib.sha256(names[0].encode()).hexdigest()
    assert breast.annotation == tmp_path / ANNOTATIONS / f"{names[0]}.xml"
    write_sheet(tmp_path / "slides.csv", [breast, colon])
    assert read_sheet(tmp_path / "slides.csv") == [breast, colon]


def test_the_tiles_of_the_challenge_lie_side_by_side_with_their_annotations(tmp_path):
    for name in ("TCGA-44-2665-01B-06-BS6", "TCGA-HT-8564-01Z-00-DX1"):
        (tmp_path / f"{name}.tif").write_text(name)
        (tmp_path / f"{name}.xml").touch()
    (lung, brain), warnings = monuseg_sheet(tmp_path)
    assert not warnings
    assert (lung.organ, lung.split, brain.organ, brain.split) == ("lung", "test", "brain", "test")
    assert brain.annotation == tmp_path / "TCGA-HT-8564-01Z-00-DX1.xml"


def test_no_tile_has_two_organs():
    tiles = [tile for splits in KUMAR.values() for tiles in splits for tile in tiles]
    tiles += [tile for organ in CHALLENGE.values() for tile in organ]
    assert len(set(tiles)) == len(tiles) == 30 + 14


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
