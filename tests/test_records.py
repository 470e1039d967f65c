"""What Snakemake remembers of files, found where Snakemake itself puts it."""

import shutil

import pytest
from snakemake.persistence.file import FilePersistence

from nucleigan.records import BEGUN, RECORDS, spelled, unrecorded


def test_paths_have_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for written in ("a/b", "./a/b", "a/../a/b", tmp_path / "a/b", f"{tmp_path}/a//b/"):
        assert str(spelled(written)) == "a/b"
    assert spelled(tmp_path.parent / "b") == tmp_path.parent / "b"
    # Of a project that moves together with its data, nothing changes.
    assert str(spelled("../b")) == "../b"


def test_a_path_through_a_symbolic_link_stays_the_same_file(tmp_path, monkeypatch):
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    for folder in (elsewhere / "sheets", elsewhere / "raw", here / "raw"):
        folder.mkdir(parents=True)
    (elsewhere / "raw/a.tif").write_text("the one that is meant")
    (here / "raw/a.tif").write_text("another")
    (here / "data").symlink_to(elsewhere / "sheets")
    monkeypatch.chdir(here)
    assert spelled("data/../raw/a.tif").read_text() == "the one that is meant"


@pytest.mark.parametrize("name", ["short", "long" * 60])
def test_records_are_where_snakemake_keeps_them(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = f"results/{name}/image.tif"
    (tmp_path / "results" / name).mkdir(parents=True)
    assert unrecorded([path]) == []
    (tmp_path / path).touch()
    assert [str(found) for found in unrecorded([path])] == [path]
    keeper = FilePersistence(path=tmp_path / ".snakemake")
    for records, kept in ((keeper._metadata_path, RECORDS), (keeper._incomplete_path, BEGUN)):
        keeper._io_write(records, {}, path)
        assert unrecorded([path]) == []
        shutil.rmtree(kept)
        assert unrecorded([path]) != []
