"""Sample sheets: what is read, and what each fault is called."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nucleigan.artifacts import file_digest
from nucleigan.errors import NucleiganError
from nucleigan.slides import annotations
from nucleigan.slides.sheet import (
    COLUMNS,
    Slide,
    absent,
    check_kept,
    check_slides,
    check_twins,
    hold_out,
    read_sheet,
    slide_from_row,
    teachers,
    write_sheet,
)

HEADER = "slide,organ,split,image,annotation,mpp,sha256\n"
TRAIN = "a,liver,train,a.tif,a.xml,0.25,\n"
TEST = "b,liver,test,b.tif,b.xml,,\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "slides.csv"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(NucleiganError) as caught:
        read_sheet(written(folder, text))
    message = str(caught.value)
    assert "slides.csv" in message
    assert "\n" not in message
    return message


def test_paths_are_relative_to_the_sheet(tmp_path):
    digest = "0F" * 32
    first, second = read_sheet(
        written(tmp_path, HEADER + f"a,liver,train,x/a.tif,/y/a.xml,0.5,{digest}\n" + TEST)
    )
    assert first == Slide(
        "a", "liver", "train", tmp_path / "x/a.tif", Path("/y/a.xml"), 0.5, digest.lower()
    )
    assert second.mpp is None
    assert second.sha256 is None


def test_a_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    (slide,) = read_sheet(written(tmp_path, HEADER + "a,liver,test,~/a.tif,x/~/a.xml,,\n"))
    assert slide.image == Path("/home/me/a.tif")
    assert slide.annotation == tmp_path / "x/~/a.xml"


def test_files_of_splits_that_nobody_reads_may_be_anything(tmp_path):
    path = written(tmp_path, HEADER + "a,liver,train,a.mrxs,a.qpdata,,\n" + TEST)
    assert [slide.slide for slide in read_sheet(path, used=["test"])] == ["a", "b"]
    with pytest.raises(NucleiganError, match=r"line 2: `image` is 'a\.mrxs'"):
        read_sheet(path, used=["train"])


def test_nobody_knows_where_home_is(tmp_path, monkeypatch):
    def unknown(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert "begins with ~" in complaint(tmp_path, HEADER + "a,liver,test,~/a.tif,,,\n")


def test_a_reader_that_was_added_is_known(tmp_path, monkeypatch):
    row = HEADER + "a,liver,train,a.tif,a.txt,,\n"
    assert "'.txt'" in complaint(tmp_path, row)
    monkeypatch.setitem(annotations.OUTLINES, ".txt", lambda path, remarks, settings: [])
    assert read_sheet(written(tmp_path, row))[0].annotation == tmp_path / "a.txt"


def test_rows_that_a_spreadsheet_cleared_are_none(tmp_path):
    blank = ",,,,,,\n"
    (slide,) = read_sheet(written(tmp_path, HEADER + blank + " ,,,,,,\n" + TEST + blank))
    assert slide.split == "test"
    assert "no slides" in complaint(tmp_path, HEADER + blank)
    assert "line 3" in complaint(tmp_path, HEADER + blank + "b,,,,,,\n")


def test_annotation_may_be_missing_unless_thresholds_are_chosen_by_it(tmp_path):
    for split in ("train", "test"):
        text = f"slide,organ,split,image\nb,liver,{split},b.tif\n"
        (slide,) = read_sheet(written(tmp_path, text))
        assert slide.annotation is None
    message = complaint(tmp_path, HEADER + "b,liver,val,b.tif,,,\n")
    assert "line 2" in message
    assert "`annotation`" in message


def test_spaces_byte_order_mark_quotes_and_blank_lines_are_no_faults(tmp_path):
    path = tmp_path / "slides.csv"
    text = ' slide ,organ,split,image,annotation\r\n\r\na , "skin, left" ,train, a.tif,a.xml\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(' "', '"').replace('" ', '"').encode())
    (slide,) = read_sheet(path)
    assert (slide.slide, slide.organ, slide.image.name) == ("a", "skin, left", "a.tif")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["`slide`", "missing", "none"]),
        ("slide,organ,image\n", ["`split`", "missing", "slide, organ, image"]),
        ("slide,slide,organ,split,image\n", ["`slide`", "2 times"]),
        (HEADER, ["no slides"]),
        (
            HEADER + TRAIN + "b,liver,tset,b.tif,,,\n",
            ["line 3", "`split`", "tset", "train, val, test"],
        ),
        (HEADER + TRAIN + TEST + TRAIN, ["line 4", "`slide`", "'a'", "line 2"]),
        (HEADER + "vectors,liver,train,a.tif,a.xml,,\n", ["`slide`", "files of its own"]),
        (HEADER + "reference.json,liver,train,a.tif,a.xml,,\n", ["`slide`", "files of its own"]),
        (HEADER + "a.profile,liver,train,a.tif,a.xml,,\n", ["`slide`", "files of its own"]),
        (HEADER + "a,liver,train,a.mrxs,a.xml,,\n", ["line 2", "`image`", "'.mrxs'", ".svs"]),
        (HEADER + "a,liver,train,a.tif,a.qpdata,,\n", ["`annotation`", "'.qpdata'", ".geojson"]),
        (HEADER + "a,liver,train,a.PNG,a.xml,,\n", ["`mpp` is empty", "a.PNG", "fill it in"]),
        (HEADER + "a,Overall,train,a.tif,a.xml,,\n", ["`organ`", "the mean of all"]),
        (HEADER + ",liver,train,a.tif,a.xml,,\n", ["line 2", "`slide`", "empty"]),
        (HEADER + "a,,train,a.tif,a.xml,,\n", ["line 2", "`organ`", "empty"]),
        (HEADER + "a,liver,train,,a.xml,,\n", ["line 2", "`image`", "empty"]),
        (HEADER + "a,liver,train,a.tif,a.xml,wide,\n", ["line 2", "`mpp`", "wide"]),
        (HEADER + "a,liver,train,a.tif,a.xml,nan,\n", ["line 2", "`mpp`", "nan"]),
        (HEADER + "a,liver,train,a.tif,a.xml,40,\n", ["line 2", "`mpp`", "'40'", "10"]),
        (HEADER + "a,liver,train,a.tif,a.xml,-1,\n", ["line 2", "`mpp`", "'-1'"]),
        (HEADER + "a,liver,train,a.tif,a.xml,,abc\n", ["line 2", "`sha256`", "abc", "64"]),
        (
            HEADER.replace("sha256", "annotation_sha256") + "a,liver,train,a.tif,a.xml,,abc\n",
            ["line 2", "`annotation_sha256`", "abc", "64"],
        ),
        (HEADER + "a,skin, left,train,a.tif,a.xml,,\n", ["line 2", "more values", "quotes"]),
        (HEADER + 'a,"skin,train,a.tif,a.xml,,\n', ["after line 1", "quotes"]),
        (HEADER + "../a,liver,train,a.tif,a.xml,,\n", ["line 2", "`slide`", "../a"]),
        (HEADER + ".a,liver,train,a.tif,a.xml,,\n", ["line 2", "`slide`", "'.a'"]),
        (HEADER + "a b,liver,train,a.tif,a.xml,,\n", ["line 2", "`slide`", "'a b'"]),
    ],
)
def test_each_fault_is_named_with_line_and_column(tmp_path, text, words):
    message = complaint(tmp_path, text)
    for word in words:
        assert word in message


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(NucleiganError, match="no such sample sheet"):
        read_sheet(tmp_path / "slides.csv")
    (tmp_path / "slides.csv").write_bytes(b"\xff\xfe\x00s")
    with pytest.raises(NucleiganError, match="UTF-8"):
        read_sheet(tmp_path / "slides.csv")


def slide(name: str, split: str, organ: str = "liver", annotated: bool = True) -> Slide:
    return Slide(name, organ, split, Path(f"{name}.tif"), Path("a.xml") if annotated else None)


def test_a_run_needs_training_and_test_slides():
    assert check_slides([slide("a", "train"), slide("b", "test")]) == []
    with pytest.raises(NucleiganError, match="'train'"):
        check_slides([slide("b", "test")])
    with pytest.raises(NucleiganError, match="'test'"):
        check_slides([slide("a", "train")])


def test_organs_that_nothing_judges_are_warned_of():
    slides = [
        slide("a", "train"),
        slide("b", "train", "skin"),
        slide("c", "test"),
        slide("d", "test", "skin", annotated=False),
    ]
    (warning,) = check_slides(slides)
    assert "'skin'" in warning and "split test" in warning
    # Where those that taught are judged, too, none is missing.
    assert check_slides(slides, judging=("train", "test")) == []


def test_the_stain_reference_is_a_slide():
    slides = [slide("a", "train"), slide("b", "test")]
    assert check_slides(slides, "a") == []
    with pytest.raises(NucleiganError, match=r"stain\.reference is 'c'"):
        check_slides(slides, "c")


def test_written_sheets_read_the_same(tmp_path):
    slides = [
        Slide(
            "a", 'skin, "left"', "train", tmp_path / "i/a.tif", tmp_path / "a.xml", 0.25, "ab" * 32
        ),
        Slide("b", "liver", "test", Path("/elsewhere/b.svs"), patient="no. 7, left"),
    ]
    path = tmp_path / "slides.csv"
    write_sheet(path, slides)
    assert read_sheet(path) == slides
    rows = list(csv.reader(path.open(encoding="utf-8")))
    assert rows[0] == list(COLUMNS)
    assert rows[1][3] == "i/a.tif"


def test_links_keep_their_names(tmp_path):
    (tmp_path / "content").write_bytes(b"")
    (tmp_path / "a.tif").symlink_to("content")
    write_sheet(tmp_path / "slides.csv", [Slide("a", "liver", "test", tmp_path / "a.tif")])
    assert "a.tif" in (tmp_path / "slides.csv").read_text()


def test_rows_survive_another_process():
    original = slide("a", "train")
    row = {key: None if value is None else str(value) for key, value in vars(original).items()}
    assert slide_from_row(row) == original


def test_kumar_sheet(real_data):
    slides = read_sheet(real_data / "kumar" / "slides.csv")
    assert len(slides) == 30
    assert sum(slide.split == "train" for slide in slides) == 16
    for slide in slides:
        assert slide.image.is_file()
        assert slide.annotation is not None
        assert slide.annotation.suffix == ".png"
        assert slide.sha256 == file_digest(slide.image)
        assert slide.annotation_sha256 == file_digest(slide.annotation)
    assert check_slides(slides) == []


def test_training_slides_can_be_held_out(tmp_path):
    text = HEADER + TRAIN + TRAIN.replace("a,", "c,", 1) + TEST
    slides = read_sheet(written(tmp_path, text))
    assert [slide.split for slide in hold_out(slides, ["c"])] == ["train", "val", "test"]
    assert hold_out(slides, []) == slides
    with pytest.raises(NucleiganError, match="names 'b', which is no training slide"):
        hold_out(slides, ["a", "b"])
    with pytest.raises(NucleiganError, match="every annotated training slide"):
        hold_out(slides, ["a", "c"])


def test_a_run_uses_the_annotations_that_it_names(tmp_path):
    text = HEADER + TRAIN + TRAIN.replace("a,", "c,", 1) + "d,liver,train,d.tif,,,\n" + TEST
    slides = read_sheet(written(tmp_path, text))
    assert teachers(slides, []) == ["a", "c"]
    assert teachers(slides, ["c"]) == ["c"]
    for wrong in ("b", "d", "e"):
        with pytest.raises(NucleiganError, match=f"names '{wrong}', which is no .* of a, c"):
            teachers(slides, ["c", wrong])
    with pytest.raises(NucleiganError, match="held out by validation"):
        teachers(hold_out(slides, ["a"]), ["a", "c"])
    with pytest.raises(NucleiganError, match="split 'train' has an `annotation`"):
        teachers(slides[2:], ["a"])


def test_slides_without_annotation_neither_teach_the_segmenter_nor_choose(tmp_path):
    bare = "c,liver,train,c.tif,,,\n"
    slides = read_sheet(written(tmp_path, HEADER + TRAIN + bare + TEST))
    assert check_slides(slides) == []
    with pytest.raises(NucleiganError, match="names 'c', which has no annotation"):
        hold_out(slides, ["c"])
    with pytest.raises(NucleiganError, match="every annotated training slide"):
        hold_out(slides, ["a"])


def test_no_image_is_learned_from_and_judged(tmp_path):
    (tmp_path / "a.tif").touch()
    (tmp_path / "link.tif").symlink_to("a.tif")
    twin, hashes = "c,liver,test,{},,,{}\n", ["0" * 64, "1" * 64]
    for image, known in (("a.tif", ""), ("link.tif", ""), ("c.tif", hashes[0])):
        first = f"a,liver,train,a.tif,a.png,,{hashes[0]}\n"
        slides = read_sheet(written(tmp_path, HEADER + first + twin.format(image, known) + TEST))
        with pytest.raises(NucleiganError, match=r"'a' \(train\) and 'c' \(test\) have the same"):
            check_twins(slides)
    slides = read_sheet(written(tmp_path, HEADER + first + twin.format("c.tif", hashes[1]) + TEST))
    check_twins(slides)
    assert check_slides(slides) == []


def test_no_copy_of_an_image_is_learned_from_and_judged(tmp_path):
    content = np.random.default_rng(0).bytes(300_000)
    (tmp_path / "a.tif").write_bytes(content)
    slides = read_sheet(written(tmp_path, HEADER + TRAIN + "c,liver,test,copy.tif,,,\n"))
    # Not there, of another size, or of one size and different in the middle alone.
    check_twins(slides)
    for other in (content[:-1], content[:150_000] + b"\0" + content[150_001:]):
        (tmp_path / "copy.tif").write_bytes(other)
        check_twins(slides)
    (tmp_path / "copy.tif").write_bytes(content)
    with pytest.raises(NucleiganError, match=r"'a' \(train\) and 'c' \(test\) have the same"):
        check_twins(slides)
    check_twins(replace(slide, split="test") for slide in slides)
    # Downloads that have been cut off fail alone.
    for name in ("a.tif", "copy.tif"):
        (tmp_path / name).write_bytes(b"")
    check_twins(slides)


def test_many_files_that_differ_in_the_middle_are_read_once_each(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        "nucleigan.artifacts.file_digest", lambda path: read.append(path) or path.read_bytes()
    )
    rows = ""
    for number in range(40):
        split = "train" if number % 2 else "test"
        rows += f"s{number},liver,{split},{number}.tif,{number}.xml,0.25,\n"
        content = bytes(70_000) + number.to_bytes(1, "big") + bytes(70_000)
        (tmp_path / f"{number}.tif").write_bytes(content)
    check_twins(read_sheet(written(tmp_path, HEADER + rows)))
    assert len(read) == 40


def test_a_folder_that_may_not_be_looked_into_is_no_traceback(tmp_path, monkeypatch):
    """Path.exists would raise."""
    (tmp_path / "results/a").mkdir(parents=True)
    for name in ("slide.json", "labels.tif"):
        (tmp_path / "results/a" / name).touch()
    slides = read_sheet(written(tmp_path, HEADER + TRAIN))
    stat = os.stat

    def refused(path, *rest, **more):
        if str(path).endswith("a.tif"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *rest, **more)

    monkeypatch.setattr(os, "stat", refused)
    assert "a.tif" in absent(slides)[0]
    check_twins(slides)
    with pytest.raises(NucleiganError, match=r"a\.tif is not there"):
        check_kept(slides, tmp_path / "results")


def test_slides_that_were_read_are_not_forgotten_while_their_files_are_away(tmp_path):
    text = HEADER + "a,liver,train,a.tif,a.png,,\n"
    slides, read = read_sheet(written(tmp_path, text)), tmp_path / "results"
    # Never read: it fails alone.
    check_kept(slides, read)
    (read / "a").mkdir(parents=True)
    for made, file in (("slide.json", "a.tif"), ("labels.tif", "a.png")):
        (read / "a" / made).touch()
        with pytest.raises(NucleiganError, match=rf"slide a: .*{file} is not there, though it was"):
            check_kept(slides, read)
        (tmp_path / file).touch()
        check_kept(slides, read)


def test_no_patient_is_learned_from_and_judged(tmp_path):
    header = "slide,organ,split,image,annotation,patient\n"
    rows = "a,liver,train,a.tif,a.png,P 1\nb,liver,train,b.tif,b.png,P 1\nc,liver,test,c.tif,,{}\n"
    for patient in ("", "P 2"):
        check_twins(read_sheet(written(tmp_path, header + rows.format(patient))))
    slides = read_sheet(written(tmp_path, header + rows.format("P 1")))
    with pytest.raises(NucleiganError, match=r"'a' \(train\) and 'c' \(test\) are of .* 'P 1'"):
        check_twins(slides)
    # Held out for the thresholds, it would choose them by what the network has seen.
    slides = hold_out(slides[:2], ["b"])
    with pytest.raises(NucleiganError, match=r"'a' \(train\) and 'b' \(val\) are of"):
        check_twins(slides)
    with pytest.raises(NucleiganError, match=r"`patient` is .*; use at most 64 characters"):
        read_sheet(written(tmp_path, header + rows.format("P" * 65)))


@pytest.mark.parametrize(
    ("column", "meant"), [("sha265", "sha256"), ("mp", "mpp"), ("Annotaton", "annotation")]
)
def test_a_misspelt_column_is_no_other_one(tmp_path, column, meant):
    header = f"slide,organ,split,image,{column}\n"
    with pytest.raises(NucleiganError, match=f"`{column}` is unknown; did you mean `{meant}`"):
        read_sheet(written(tmp_path, header + "a,liver,test,a.tif,\n"))
    # Not where ours is there as well, nor where none is meant.
    header = f"slide,organ,split,image,{meant},{column},xml,nuclei,patient\n"
    assert read_sheet(written(tmp_path, header + "a,liver,test,a.tif,,,,,\n"))


def test_files_that_do_not_exist_are_counted(tmp_path):
    slides = read_sheet(written(tmp_path, HEADER + TRAIN + TEST))
    for slide_ in slides:
        for path in (slide_.image, slide_.annotation):
            if path is not None:
                path.touch()
    assert absent(slides) == []
    slides[0].image.unlink()
    (warning,) = absent(slides)
    assert "files that the sample sheet names do not exist, the first of slide a" in warning
