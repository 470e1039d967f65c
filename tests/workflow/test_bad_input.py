"""What a person can mend is said in one sentence, before training starts, without a traceback."""

import hashlib
import re

import numpy as np
import pytest
from tiny_workflow import ROOT, errors, only_error

SHIPPED = ROOT / "models/kumar-cpu.safetensors"

CROSSING = """<Annotations><Annotation><Regions>
<Region Id="1"><Vertices><Vertex X="10" Y="10"/><Vertex X="40" Y="40"/><Vertex X="40" Y="10"/>
<Vertex X="10" Y="40"/></Vertices></Region></Regions></Annotation></Annotations>"""


def replaced(before, after):
    """A change of the sample sheet."""

    def change(text):
        assert before in text
        return text.replace(before, after)

    return change


def without_training_annotations(text):
    """The sample sheet, no training slide of which is annotated."""
    return re.sub(r"(train\d,\w+,train,[^,]+,)[^,]+", r"\1", text)


def judged_by_what_it_learned(text):
    """The sample sheet, the first test slide of which has the image of a training slide."""
    image = re.search(r"train1,\w+,train,([^,]+),", text)[1]
    return re.sub(r"(test1,\w+,test,)[^,]+", rf"\1{image}", text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced("organ,", ""), ["slides.csv", "`organ`", "missing"]),
        (replaced("train2,kidney,train", "train2,kidney,trian"), ["line 3", "'trian'", "train"]),
        (replaced("test2,", "test1,"), ["line 6", "'test1'", "line 5"]),
        (replaced(",train,", ",test,"), ["'train'", "at least one"]),
        (without_training_annotations, ["'train'", "`annotation`", "teach"]),
        (replaced("train1,", "train/1,"), ["line 2", "'train/1'"]),
        (replaced(",mpp", ",mp"), ["slides.csv", "`mp` is unknown", "`mpp`"]),
        (judged_by_what_it_learned, ["'train1' (train)", "'test1' (test)", "same image"]),
    ],
    ids=[
        "missing column",
        "unknown split",
        "duplicate slide",
        "no training slide",
        "none annotated",
        "odd name",
        "misspelt column",
        "an image in two splits",
    ],
)
def test_sheet(fresh, change, words):
    fresh.sheet.write_text(change(fresh.sheet.read_text()))
    line = only_error(fresh.run("all"))
    assert all(word in line for word in words), line
    assert not fresh.results.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cyclegan": {"epoch": 5}}, ["cyclegan.epoch", "did you mean", "epochs"]),
        ({"stain": {"sparsity": -0.1}}, ["stain.sparsity", "-0.1", "greater than or equal to 0"]),
        ({"slides": ""}, ["`slides` is empty", "--config slides="]),
        ({"slides": "nowhere.csv"}, ["nowhere.csv", "no such sample sheet"]),
        ({"cyclegan": {"crop": 512}}, ["cyclegan.crop (512)", "patches.size (64)"]),
        ({"stain": {"reference": "test9"}}, ["stain.reference", "'test9'"]),
        ({"annotated": ["test1"]}, ["annotated", "'test1'", "train1, train2"]),
        (
            {"segmentation": {"start_from": str(SHIPPED)}},
            ["segmentation.start_from", "kumar-cpu.safetensors", "generator", "another file"],
        ),
        ({"segmentation": {"data": ["both-9"]}}, ["segmentation.data", "both-9", "2 training"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else next(iter(value)),
)
def test_configuration(fresh, changes, words):
    line = only_error(fresh.run("all", changes=changes))
    assert all(word in line for word in words), line
    assert not fresh.results.exists()


def test_training_sets_that_only_a_comparison_needs(fresh):
    """Refused where it is asked for, before any job; nobody else is kept by it."""
    changes = {"ablation": {"data": ["real", "both-9"]}}
    line = only_error(fresh.run("ablation", changes=changes))
    assert all(word in line for word in ["ablation.data", "both-9", "2 training"]), line
    assert not list(fresh.results.rglob("*.tif"))
    assert "ingest_slide" in fresh.planned("all", changes=changes)


def test_painting_that_only_a_target_needs(fresh):
    """A run that learns from real pairs alone need not have what paints, unless it is asked to."""
    changes = {"segmentation": {"data": ["real"]}, "cyclegan": {"crop": 50}}
    line = only_error(fresh.run("cyclegan", changes=changes))
    assert "cyclegan.crop (50)" in line and "multiple of 4" in line, line
    assert "ingest_slide" in fresh.planned("all", changes=changes)
    text = fresh.sheet.read_text()
    fresh.sheet.write_text(re.sub(r",(test|val),", ",train,", text))
    changes = {"segmentation": {"data": ["real"]}, "evaluation": {"splits": ["train"]}}
    line = only_error(fresh.run("synthesis", changes=changes))
    assert "every slide" in line and "split 'train'" in line, line
    assert not list(fresh.results.rglob("*.tif"))


def test_organ_without_test_slide_warns(fresh):
    fresh.sheet.write_text(fresh.sheet.read_text().replace("test1,breast", "test1,liver"))
    text = fresh.make("all", options=["--dry-run"])
    (line,) = [line for line in text.splitlines() if line.startswith("warning:")]
    assert "'breast'" in line


def test_damaged_slides_fail_alone(fresh):
    folder = fresh.sheet.parent
    rows = {line.split(",")[0]: line for line in fresh.sheet.read_text().splitlines()}
    header, good = rows["slide"], rows["test1"]
    digest = hashlib.sha256((folder / "test1.png").read_bytes()).hexdigest()
    (folder / "cut.png").write_bytes((folder / "test1.png").read_bytes()[:2000])
    np.save(folder / "small.npy", np.ones((20, 30), np.int32))
    (folder / "cross.xml").write_text(CROSSING)
    damaged = [
        good.replace("test1,", "hash,", 1).replace(digest, "0" * 64),
        "missing,kidney,test,nowhere.png,,0.25,",
        "truncated,kidney,test,cut.png,,0.25,",
        "size,kidney,test,test1.png,small.npy,0.25,",
        "lost,kidney,test,test1.png,nowhere.npy,0.25,",
        "crossing,kidney,test,test1.png,cross.xml,0.25,",
    ]
    whole = [rows[name] for name in ("train1", "train2", "test1")]
    fresh.sheet.write_text("\n".join([header, *whole, *damaged]) + "\n")

    said = errors(fresh.run("all", options=["--keep-going"]))
    for words in (
        ("test1.png", "0000", digest[:8]),
        ("nowhere.png",),
        ("cut.png",),
        ("small.npy", "20", "30", "144"),
        ("nowhere.npy",),
    ):
        assert sum(all(word in line for word in words) for line in said) == 1, (words, said)
    assert len(said) == 5
    for name in ("train1", "train2", "test1", "crossing"):
        assert (fresh.results / "stain" / name / "image.tif").is_file()
    for name in ("hash", "missing", "truncated", "size", "lost"):
        assert list((fresh.results / "slides" / name).glob("*")) == []
    # The damaged slides hold back the table that would lack them, and nothing of the others.
    for name in ("test1", "crossing"):
        assert (fresh.results / f"predictions/cgan/both/0/{name}.labels.tif").is_file()
        assert (fresh.results / f"evaluation/cgan/both/0/slides/{name}.csv").is_file()
    assert not (fresh.results / "evaluation/table.md").exists()
    facts = (fresh.results / "slides/crossing/slide.json").read_text()
    assert "cross" in facts


@pytest.mark.parametrize("target", ["evaluation", "ablation"])
def test_a_table_without_an_annotated_slide(fresh, target):
    sheet = re.sub(r"(test\d,\w+,test,[^,]+,)[^,]+", r"\1", fresh.sheet.read_text())
    fresh.sheet.write_text(sheet)
    line = only_error(fresh.run(target, options=["--dry-run"]))
    assert "no slide of the split test has an `annotation`" in line


def test_splits_without_a_slide(fresh):
    lines = fresh.sheet.read_text().splitlines(keepends=True)
    fresh.sheet.write_text("".join(line for line in lines if not line.startswith("val1,")))
    line = only_error(fresh.run("all", changes={"evaluation": {"splits": ["val"]}}))
    assert "evaluation.splits" in line and "val" in line


def test_training_slides_alone(fresh):
    """What the synthetic images are measured against would be missing after the trainings."""
    fresh.sheet.write_text(re.sub(",(?:val|test),", ",train,", fresh.sheet.read_text()))
    changes = {"evaluation": {"splits": ["train"]}}
    line = only_error(fresh.run("all", changes=changes))
    assert "every slide" in line and "'train'" in line
    real = {"segmentation": {"data": ["real"]}}
    assert "train_segmenter" in fresh.planned("all", changes=changes | real)


def test_limits_of_what_is_read_reach_the_job(fresh):
    """As text, as braces behind --config leave them."""
    changes = {"ingestion": {"max_pixels": "20735"}}
    line = only_error(fresh.run("results/slides/test1/image.tif", changes=changes))
    assert "test1.png" in line and "ingestion.max_pixels" in line and "20735" in line


def test_patch_larger_than_the_slide(fresh):
    line = only_error(fresh.run("all", changes={"patches": {"size": 256}}))
    assert all(word in line for word in ("144×144", "patches.size = 256", "train1"))
    assert not (fresh.results / "cyclegan").exists() or not any(
        (fresh.results / "cyclegan").iterdir()
    )
