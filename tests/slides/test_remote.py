"""Addresses in sample sheets."""

from pathlib import Path

import pytest

from nucleigan.errors import NucleiganError
from nucleigan.slides import check_slides, read_sheet, remote, write_sheet

SHA = "ab" * 32
HEADER = "slide,organ,split,image,annotation,mpp,sha256\n"


def sheet(folder, image, annotation="a.xml", sha256=""):
    path = folder / "slides.csv"
    path.write_text(HEADER + f"one,liver,train,{image},{annotation},,{sha256}\n")
    return path


def test_an_address_gives_the_name_of_the_fetched_file(tmp_path):
    address = "https://example.org/a%20b/slide%201.svs?version=2"
    (slide,) = read_sheet(sheet(tmp_path, address, "http://example.org/x/one.geojson"))
    assert (slide.image, slide.image_address) == (Path("slide 1.svs"), address)
    assert slide.annotation == Path("one.geojson")
    assert slide.annotation_address == "http://example.org/x/one.geojson"
    write_sheet(tmp_path / "again.csv", [slide])
    assert read_sheet(tmp_path / "again.csv") == [slide]


def test_paths_stay_paths(tmp_path):
    (slide,) = read_sheet(sheet(tmp_path, "images/a.svs"))
    assert slide.image == tmp_path / "images/a.svs"
    assert slide.image_address is None and slide.annotation_address is None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://example.org/a.svs", "begins with http://, https://, s3://"),
        ("file:///etc/passwd", "begins with http://"),
        ("https://example.org", "names no file"),
        ("https:///a.svs", "names no file"),
        ("https://[::1/a.svs", "is no address"),
        ("http://example.org/../../../../results", "an empty part, `.` or `..`"),
        ("http://example.org/a/%2e%2e/%2E%2E/b.svs", "an empty part, `.` or `..`"),
        ("http://example.org/a/%252e%252e/b.svs", "an empty part, `.` or `..`"),
        ("http://example.org/a%2f..%2fb.svs", "an empty part, `.` or `..`"),
        ("http://example.org/a/..%5cb.svs", "an empty part, `.` or `..`"),
        ("http://example.org//a.svs", "an empty part, `.` or `..`"),
        ("http://example.org/a/", "an empty part, `.` or `..`"),
        ("http://../results/a.svs", "an empty part, `.` or `..`"),
        ("s3://../../results", "an empty part, `.` or `..`"),
        ("s3://bucket/../../a.svs", "an empty part, `.` or `..`"),
    ],
)
def test_what_cannot_be_fetched(tmp_path, address, words):
    with pytest.raises(NucleiganError, match=r"line 2: `image`") as caught:
        read_sheet(sheet(tmp_path, address))
    assert words in str(caught.value)


def test_a_password_is_refused_and_not_repeated(tmp_path):
    with pytest.raises(NucleiganError, match="give credentials to Snakemake") as caught:
        read_sheet(sheet(tmp_path, "https://" + "me:" + "geheim@example.org/a.svs"))
    assert "geheim" not in str(caught.value)


def test_a_missing_plugin_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(remote.PLUGINS, "s3", "snakemake_storage_plugin_of_nobody")
    with pytest.raises(NucleiganError, match="pip install snakemake-storage-plugin-of-nobody"):
        read_sheet(sheet(tmp_path, "s3://bucket/a.svs"))


def test_a_fetched_slide_without_hash_is_warned_of(tmp_path):
    def warnings(sha256):
        path = sheet(tmp_path, "https://example.org/a.svs", sha256=sha256)
        with path.open("a") as stream:
            stream.write("two,liver,test,b.tif,b.xml,,\n")
        return check_slides(read_sheet(path))

    assert warnings(SHA) == []
    assert warnings("") == [
        "slides are fetched without `sha256` or `annotation_sha256` (one); whatever their server "
        "sends is taken"
    ]


def test_addresses_that_would_be_fetched_to_one_place(tmp_path):
    for other in ("https://example.org/a.svs?id=2", "http://example.org/a.svs?id=1"):
        path = sheet(tmp_path, "https://example.org/a.svs?id=1")
        with path.open("a") as stream:
            stream.write(f"two,liver,train,{other},b.xml,,\n")
        with pytest.raises(NucleiganError, match="fetched to one place") as caught:
            read_sheet(path)
        assert other in str(caught.value)


def test_one_address_may_stand_twice(tmp_path):
    path = sheet(tmp_path, "https://example.org/a.svs")
    with path.open("a") as stream:
        stream.write("two,liver,train,https://example.org/a.svs,b.xml,,\n")
        stream.write("three,liver,train,https://example.org/b/a.svs,b.xml,,\n")
        stream.write("four,liver,train,s3://example.org/a.svs,b.xml,,\n")
    assert len(read_sheet(path)) == 4
