"""What Snakemake remembers of files, found where Snakemake itself puts it."""

import pytest
from snakemake.persistence.file import FilePersistence

from nucleigan.records import RECORDS, spelled, unrecorded


def test_paths_have_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for written in ("a/b", "./a/b", "a/../a/b", tmp_path / "a/b", f"{tmp_path}/a//b/"):
        assert str(spelled(written)) == "a/b"
    assert spelled(tmp_path.parent / "b") == tmp_path.parent / "b"
    assert spelled("../b") == tmp_path.parent / "b"


@pytest.mark.parametrize("name", ["short", "long" * 60])
def test_records_are_where_snakemake_keeps_them(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = f"results/{name}/image.tif"
    (tmp_path / "results" / name).mkdir(parents=True)
    assert unrecorded([path]) == []
    (tmp_path / path).touch()
    assert [str(found) for found in unrecorded([path])] == [path]
    RECORDS.mkdir(parents=True)
    keeper = FilePersistence(path=tmp_path / ".snakemake")
    keeper._io_write(keeper._metadata_path, {}, path)
    assert unrecorded([path]) == []
