"""Sheets made to harm: names that lead elsewhere, signs of shells, reports and spreadsheets."""

import numpy as np
import pytest
import tifffile

from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.slides import Slide, ingest, read_image, read_sheet, write_sheet

HEADER = "slide,organ,split,image,annotation,mpp,sha256\n"


def complaint(folder, text, **keywords) -> str:
    path = folder / "slides.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(NucleiganError) as caught:
        read_sheet(path, **keywords)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < 600
    return message


def row(slide="a", organ="liver", image="a.tif", annotation="a.xml") -> str:
    values = (slide, organ, "train", image, annotation, "", "")
    return ",".join('"' + value.replace('"', '""') + '"' for value in values) + "\n"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            ".",
            "../a",
            "a/b",
            "/etc/a",
            "a\\b",
            "a\x00b",
            "a\nb",
            "a\rb",
            "a\tb",
            "~a",
            "-rf",
        ),
        *("$(touch x)", "`id`", "a;id", "a&b", "a|b", "a>b", "a*", "a?", "{slide}", "a'b", 'a"b'),
        *("ä", "a\u202eb", "a\u200bb", "ａ", "x" * 129, "a b"),
    ],
)
def test_slide_names_that_lead_elsewhere(tmp_path, name):
    complaint(tmp_path, HEADER + row(slide=name))


@pytest.mark.parametrize(
    "organ", ["<script>", "a|b", "$\\frac", "=cmd()", "+1", "-1", "@a", "a\nb", "x" * 65, "`a`"]
)
def test_organs_with_signs_of_reports_and_spreadsheets(tmp_path, organ):
    assert "`organ`" in complaint(tmp_path, HEADER + row(organ=organ))


def test_organs_in_other_words(tmp_path):
    names = ["skin, left", "Ösophagus", "肝臓", "lung (2nd)", "head & neck", "n.a."]
    text = "".join(row(slide=f"s{n}", organ=name) for n, name in enumerate(names))
    (tmp_path / "slides.csv").write_text(HEADER + text, encoding="utf-8")
    assert [slide.organ for slide in read_sheet(tmp_path / "slides.csv")] == names


@pytest.mark.parametrize("column", ["image", "annotation"])
@pytest.mark.parametrize(
    "path", ["a\nb.tif", "a\x1b[2J.tif", "x" * 256, "x/" * 1001 + "a", "a\x7f", "{slide}.tif"]
)
def test_paths_that_no_system_takes(tmp_path, column, path):
    assert f"`{column}`" in complaint(tmp_path, HEADER + row(**{column: path}))


@pytest.mark.parametrize("path", ["$(touch x).tif", "a;b.tif", "my slide.tif", "a*b.tif", "-a.tif"])
def test_other_signs_in_paths_are_only_signs(tmp_path, path):
    (tmp_path / "slides.csv").write_text(HEADER + row(image=path))
    (slide,) = read_sheet(tmp_path / "slides.csv")
    assert slide.image == tmp_path / path
    pixels = np.full((20, 30, 3), (200, 120, 180), np.uint8)
    tifffile.imwrite(slide.image, pixels, photometric="rgb")
    np.testing.assert_array_equal(read_image(slide.image), pixels)
    assert not (tmp_path / "x").exists()


def test_large_sheets_and_fields(tmp_path):
    message = complaint(tmp_path, HEADER + row() * 10, max_bytes=100)
    assert "ingestion.max_text_bytes" in message
    complaint(tmp_path, HEADER + row(organ="x" * 200_000))
    complaint(tmp_path, HEADER + "x" * 100_000 + "\n")
    complaint(tmp_path, HEADER + "a,liver," + "," * 100_000 + "\n")
    complaint(tmp_path, ",".join(f"c{n}" for n in range(10_000)) + "\n")
    complaint(tmp_path, HEADER.encode() + b"a\x00,liver,train,a.tif,a.xml,,\n")


def test_hundred_thousand_rows_take_seconds(tmp_path):
    text = "".join(row(slide=f"s{n}") for n in range(100_000))
    (tmp_path / "slides.csv").write_text(HEADER + text)
    assert len(read_sheet(tmp_path / "slides.csv")) == 100_000


# Links: read wherever they lead, never written through.


@pytest.fixture
def linked(tmp_path):
    """A slide whose image is a link to a file outside of the sheet's folder."""
    (tmp_path / "store").mkdir()
    (tmp_path / "lab").mkdir()
    pixels = np.full((20, 30, 3), (200, 120, 180), np.uint8)
    tifffile.imwrite(tmp_path / "store" / "0001", pixels, photometric="rgb")
    (tmp_path / "lab" / "a.tif").symlink_to(tmp_path / "store" / "0001")
    (tmp_path / "lab" / "slides.csv").write_text(
        "slide,organ,split,image,mpp\na,liver,test,a.tif,0.25\n"
    )
    return tmp_path


def test_links_are_read(linked):
    (slide,) = read_sheet(linked / "lab" / "slides.csv")
    assert read_image(slide.image).shape == (20, 30, 3)


def test_links_to_nothing_and_to_themselves_are_missing_files(tmp_path):
    (tmp_path / "a.tif").symlink_to("nowhere.tif")
    (tmp_path / "b.tif").symlink_to("b.tif")
    for name in ("a.tif", "b.tif"):
        with pytest.raises(NucleiganError, match="no such image"):
            read_image(tmp_path / name)


def test_nothing_is_written_through_a_link(linked):
    victim = linked / "store" / "victim"
    victim.write_text("untouched")
    out = linked / "out"
    out.mkdir()
    for name in ("image.tif", "slide.json", "overview.png", "slides.csv"):
        (out / name).symlink_to(victim)
    (slide,) = read_sheet(linked / "lab" / "slides.csv")
    outputs = {
        "image_output": out / "image.tif",
        "facts_output": out / "slide.json",
        "picture_output": out / "overview.png",
    }
    ingest(slide, settings=IngestionSettings(), **outputs)
    write_sheet(out / "slides.csv", [Slide("a", "liver", "test", slide.image)])
    assert victim.read_text() == "untouched"
    assert not any(path.is_symlink() for path in out.iterdir())
    assert (linked / "lab" / "a.tif").is_symlink()
