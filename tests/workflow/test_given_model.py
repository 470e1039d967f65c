"""A trained model, applied to a sheet as it is: nothing is trained, and its results are its own."""

import csv
import shutil

import pytest
from tiny_workflow import assert_same_file, only_error

from nucleigan.models.weights import read_weights

RUN = "cgan/both/0"
SLIDES = ("test1", "test2", "plain")


@pytest.fixture
def given(finished, fresh):
    """A sheet of unseen slides alone, and the model of a finished run beside it."""
    rows = list(csv.reader(fresh.sheet.read_text().splitlines()))
    split = rows[0].index("split")
    with fresh.sheet.open("w", newline="") as stream:
        csv.writer(stream).writerows(row for row in rows if row[split] in ("split", "test"))
    path = fresh.folder / "given.safetensors"
    shutil.copy(finished.results / f"segmentation/{RUN}/model.safetensors", path)
    return path


def changes(path, **others):
    return {"segmentation": {"model": str(path)}, **others}


def test_a_given_model_finds_what_it_found_in_the_run_that_trained_it(finished, fresh, given):
    # Neither magnification nor stains of this run's own configuration count.
    odd = {"ingestion": {"mpp": 0.5}, "stain": {"sparsity": 0.9, "reference": "auto"}}
    fresh.make("all", changes=changes(given, **odd))
    (run,) = [path.parent for path in fresh.results.glob("segmentation/*/*/*/model.safetensors")]
    assert run == fresh.results / f"segmentation/{RUN}"
    assert (run / "model.safetensors").read_bytes() == given.read_bytes()
    for name in SLIDES:
        for path in (
            f"slides/{name}/image.tif",
            f"stain/{name}/image.tif",
            f"predictions/{RUN}/{name}.labels.tif",
            f"predictions/{RUN}/{name}.geojson",
        ):
            assert_same_file(fresh.results / path, finished.results / path)
    for path in ("slides.csv", "organs.csv", "table.md", f"{RUN}/nuclei.csv"):
        assert_same_file(
            fresh.results / "evaluation" / path, finished.results / "evaluation" / path
        )
    assert {path.name for path in fresh.results.iterdir()} == {
        "benchmarks",
        "evaluation",
        "logs",
        "predictions",
        "report",
        "segmentation",
        "slides",
        "stain",
    }
    page = (fresh.results / "report/start.html").read_text()
    assert "model that was applied as it is" in page and "Training curves" not in page
    # What is configured for trainings had no part in it.
    assert "epochs" not in page
    assert fresh.planned("all", changes=changes(given, **odd)) == set()


def test_settings_of_trainings_do_not_count(finished, fresh, given):
    """Of the overlay that the model was trained with, the sheet may know nothing."""
    trained = {"segmentation": {"model": str(given), "start_from": "gone.safetensors"}}
    planned = fresh.planned("all", changes=trained | {"validation": ["train1"]})
    assert planned == fresh.planned("all", changes=changes(given))


def test_slides_that_are_held_out_may_be_judged(finished, fresh):
    model = finished.results / f"segmentation/{RUN}/model.safetensors"
    held_out = {"validation": ["train1"], "evaluation": {"splits": ["val"]}}
    text = fresh.make("predictions", changes=changes(model, **held_out), options=["--dry-run"])
    assert "train1" in text and "val1" in text and "train2" not in text and "test1" not in text


def test_slides_of_other_splits_are_not_read(finished, fresh):
    model = finished.results / f"segmentation/{RUN}/model.safetensors"
    assert fresh.planned("predictions", changes=changes(model)) == {
        "ingest_slide",
        "ingest_slide_without_annotation",
        "profile_stain",
        "take_model",
        "normalize_slide",
        "segment_slide",
        "show_predictions",
    }
    text = fresh.make("predictions", changes=changes(model), options=["--dry-run"])
    assert "test1" in text and "train1" not in text and "val1" not in text


def refused(workflow, path, **others):
    """The one sentence that a run says, of which nothing stays."""
    line = only_error(workflow.run("all", changes=changes(path, **others)))
    assert not list(workflow.results.rglob("*.safetensors"))
    return line


def test_files_that_are_no_segmenter(finished, fresh, given):
    assert "there is no such model file" in refused(fresh, "nowhere.safetensors")
    painter = finished.results / "cyclegan/generator.safetensors"
    assert "expected a segmenter" in refused(fresh, painter)
    content = bytearray(given.read_bytes())
    content[-3] ^= 1
    given.write_bytes(content)
    assert "its checksum does not fit its content" in refused(fresh, given)


def test_a_model_of_the_same_folder(fresh, given):
    path = fresh.folder / "here/segmentation/cgan/both/0/model.safetensors"
    path.parent.mkdir(parents=True)
    given.rename(path)
    assert "which this run writes to" in refused(fresh, path, results="here")
    assert read_weights(path)[1]["kind"] == "segmenter"
