"""The whole workflow on small slides: what it leaves, and that how it ran does not matter."""

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from jobs_of_runs import looks_and_ends
from safetensors.numpy import load_file
from tiny_workflow import draw_slide, facts_of

from nucleigan.artifacts import read_json, stored_digest
from nucleigan.config import PhantomSettings
from nucleigan.models.weights import read_weights, write_weights
from nucleigan.phantoms.sheet import phantom_slides
from nucleigan.slides.sheet import read_sheet, write_sheet

RUN = "cgan/both/0"


def stack(workflow, pattern):
    """All shards of a kind, one behind the other."""
    paths = sorted(workflow.results.glob(pattern), key=lambda path: int(path.name.split(".")[0]))
    assert paths
    return np.concatenate([tifffile.imread(path) for path in paths])


def test_every_stage_leaves_its_artifacts(finished):
    expected = [
        "slides/train1/image.tif",
        "slides/train1/labels.tif",
        "slides/contact_sheet.png",
        "stain/reference.json",
        "stain/test1/stain.json",
        "patches/train/patches.csv",
        "polygons/sampler.json",
        "polygons/0.labels.tif",
        "polygons/1.labels.tif",
        "cyclegan/generator.safetensors",
        "cyclegan/history.csv",
        "synthesis/1.images.tif",
        "synthesis/contact_sheet.png",
        f"segmentation/{RUN}/weights.safetensors",
        f"segmentation/{RUN}/thresholds.csv",
        f"segmentation/{RUN}/model.safetensors",
        f"predictions/{RUN}/test1.labels.tif",
        f"predictions/{RUN}/test1.geojson",
        f"predictions/{RUN}/test1.png",
        f"evaluation/{RUN}/nuclei.csv",
        "evaluation/slides.csv",
        "evaluation/table.md",
        "evaluation/aji.png",
    ]
    assert [path for path in expected if not (finished.results / path).is_file()] == []


def test_thresholds_are_those_that_the_validation_slide_likes_best(finished):
    table = pd.read_csv(finished.results / f"segmentation/{RUN}/thresholds.csv")
    facts = read_weights(finished.results / f"segmentation/{RUN}/model.safetensors")[1]
    assert facts["validation"]["slides"] == ["val1"]
    best = table.loc[table["aji"].idxmax()]
    decoding = facts["prediction"]["decoding"]
    for name in ("foreground", "marker", "summit"):
        assert decoding[name] == (None if pd.isna(best[name]) else best[name])
    assert facts["prediction"]["tile"] == 64


def test_trainings_look_at_the_validation_slide(finished):
    looks = pd.read_csv(finished.results / f"segmentation/{RUN}/history.csv")["validation_aji"]
    assert len(looks) == 2 and looks.between(0, 1).all()
    facts = read_weights(finished.results / f"segmentation/{RUN}/model.safetensors")[1]
    assert "chosen" not in facts["training"]
    assert not list((finished.results / f"segmentation/{RUN}/checkpoint").glob("*.safetensors"))


def test_a_training_starts_from_a_model_file_and_chooses_its_epoch(copied):
    model = copied.folder / "start.safetensors"
    path = copied.results / f"segmentation/{RUN}/model.safetensors"
    tensors, facts = read_weights(path)
    write_weights(model, tensors, facts | {"data_licence": "CC BY-NC-SA 4.0"})
    changes = {"segmentation": {"start_from": str(model), "choose_epoch": True}}
    target = f"results/segmentation/{RUN}/model.safetensors"
    planned = copied.planned(target, changes=changes)
    # Slides get the stains that the file has learned, here those that they had.
    assert {"take_reference", "normalize_slide", "train_segmenter", "choose_thresholds"} <= planned
    before = read_json(copied.results / "stain/reference.json")
    copied.make(target, changes=changes)
    assert read_json(copied.results / "stain/reference.json") == before
    facts = read_weights(path)[1]
    assert facts["started_from"]["steps"] == 4 and facts["training"]["steps"] == 4
    assert facts["data_licence"] == "CC BY-NC-SA 4.0"
    looks = pd.read_csv(path.with_name("history.csv"))["validation_aji"]
    assert facts["training"]["chosen"]["epoch"] == looks.argmax() + 1
    missing = copied.run(target, changes={"segmentation": {"start_from": "nowhere.safetensors"}})
    assert missing.returncode != 0
    assert "segmentation.start_from: there is no model file nowhere.safetensors" in missing.stdout


def test_nothing_is_left_half_written(finished):
    assert list(finished.results.rglob("*.partial*")) == []
    assert {path.name for path in finished.folder.iterdir()} == {
        ".snakemake",
        "overlay.yaml",
        "results",
    }


def test_every_rule_leaves_log_and_benchmark(finished):
    logs = {path.with_suffix("") for path in (finished.results / "logs").rglob("*.log")}
    benchmarks = (finished.results / "benchmarks").rglob("*.tsv")
    relative = {path.relative_to(finished.results / "logs") for path in logs}
    assert relative == {
        path.with_suffix("").relative_to(finished.results / "benchmarks") for path in benchmarks
    }
    assert "reference slide" in (finished.results / "logs/stain/reference.log").read_text()


def test_slide_without_annotation_only_gets_predictions(finished):
    assert not (finished.results / "slides/plain/labels.tif").exists()
    assert (finished.results / f"predictions/{RUN}/plain.labels.tif").is_file()
    with (finished.results / "evaluation/slides.csv").open() as stream:
        assert {row["slide"] for row in csv.DictReader(stream)} == {"test1", "test2"}


def test_training_slides_without_annotation_teach_the_cyclegan_alone(copied, tmp_path):
    bare = draw_slide(tmp_path, "bare", "kidney", "train", annotated=False)
    sheet = tmp_path / "with_bare.csv"
    write_sheet(sheet, [*read_sheet(copied.sheet), bare])
    more = replace(copied, sheet=sheet)
    before = facts_of(copied.results / "cyclegan/generator.safetensors")["training"]["data"]
    # As is one whose annotation is not used.
    some = {"annotated": ["train1"]}
    assert copied.planned("patches", changes=some) == {"cut_patches", "cut_unannotated"}
    assert "cut_unannotated" not in copied.planned(
        "patches", changes=some | {"segmentation": {"data": ["real"]}}
    )
    planned = more.planned("patches", "results/synthesis/quality.csv")
    assert {"cut_unannotated", "train_cyclegan", "judge_synthesis"} <= planned
    assert "fit_polygons" not in planned
    looks = {"lambda_nuclei": 0.5, "latent_channels": 3, "batch_size": 2}
    more.make("patches", "results/cyclegan/generator.safetensors", changes={"cyclegan": looks})
    bare_patches = pd.read_csv(more.results / "patches/unannotated/bare.csv")
    assert set(bare_patches["slide"]) == {"bare"}
    annotated = pd.read_csv(more.results / "patches/train/patches.csv")
    assert set(annotated["slide"]) == {"train1", "train2"}
    data = facts_of(more.results / "cyclegan/generator.safetensors")["training"]["data"]
    assert len(data) == len(before) + 2
    for path in ("patches/unannotated/bare.images.tif", "patches/train/labels.tif"):
        assert stored_digest(more.results / path) in data


def test_table_has_a_row_an_organ_and_the_overall_mean(finished):
    with (finished.results / "evaluation/organs.csv").open() as stream:
        rows = {row["organ"]: row for row in csv.DictReader(stream)}
    assert {"breast", "kidney", "overall"} <= set(rows)
    values = {organ: float(rows[organ]["aji"]) for organ in ("breast", "kidney", "overall")}
    assert values["overall"] == pytest.approx((values["breast"] + values["kidney"]) / 2)


def test_predictions_have_the_size_of_the_slides(finished):
    for name in ("test1", "plain"):
        image = tifffile.imread(finished.results / f"stain/{name}/image.tif")
        labels = tifffile.imread(finished.results / f"predictions/{RUN}/{name}.labels.tif")
        assert labels.shape == image.shape[:2]
        assert labels.dtype == np.int32


def test_synthetic_pairs_are_the_polygon_maps(finished):
    drawn = stack(finished, "polygons/*.labels.tif")
    kept = stack(finished, "synthesis/*.labels.tif")
    np.testing.assert_array_equal(kept, drawn[: len(kept)])


def test_slide_facts(finished):
    facts = json.loads((finished.results / "slides/train1/slide.json").read_text())
    assert facts["nuclei"] == 49
    assert (facts["height"], facts["width"], facts["mpp"]) == (144, 144, 0.25)


def test_neither_cores_nor_shards_change_any_result(finished, fresh):
    four = {"polygons": {"shards": 4}, "synthesis": {"shards": 4}}
    fresh.make("patches", "predictions", changes=four, cores=1)
    assert len(list(fresh.results.glob("synthesis/*.images.tif"))) == 4
    for pattern in ("polygons/*.labels.tif", "synthesis/*.images.tif", "synthesis/*.labels.tif"):
        np.testing.assert_array_equal(stack(fresh, pattern), stack(finished, pattern))
    for path in ("cyclegan/generator.safetensors", f"segmentation/{RUN}/model.safetensors"):
        one, other = load_file(fresh.results / path), load_file(finished.results / path)
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    for pattern in ("stain/*/image.tif", "patches/*/*.tif", "predictions/**/*.labels.tif"):
        for path in finished.results.glob(pattern):
            there = fresh.results / path.relative_to(finished.results)
            np.testing.assert_array_equal(tifffile.imread(there), tifffile.imread(path))


def test_phantoms_are_drawn_by_the_workflow_itself(fresh):
    # With the slash that a shell's completion leaves.
    changes = {"slides": "phantoms", "phantoms": {"size": 128, "train_per_organ": 1}}
    changes["results"] = "results/"
    assert {"draw_phantom", "ingest_slide", "train_segmenter"} <= fresh.planned(
        "all", changes=changes
    )
    first = phantom_slides(PhantomSettings(**changes["phantoms"]), fresh.folder)[0]
    fresh.make(f"results/slides/{first.slide}/slide.json", changes=changes)
    facts = json.loads((fresh.results / "slides" / first.slide / "slide.json").read_text())
    assert facts["slide"] == first.slide
    assert facts["nuclei"] > 0


def test_other_methods_and_training_sets_are_set_beside_the_main_run(copied):
    changes = {
        "baselines": {
            "methods": ["classical", "dist"],
            "generator": {"width": 4, "depth": 2},
        },
        "ablation": {"data": ["real-1", "both-1"], "seeds": [0, 1]},
        "report": {"comparisons": ["baselines", "ablation"]},
    }
    copied.make("baselines", "ablation", "report", changes=changes)
    baselines = pd.read_csv(copied.results / "baselines/slides.csv")
    assert set(baselines["method"]) == {"cgan", "classical", "dist"}
    assert set(baselines["slide"]) == {"test1", "test2"}
    ablation = pd.read_csv(copied.results / "ablation/organs.csv")
    assert set(ablation["data"]) == {"real-1", "both-1"}
    assert set(ablation["seeds"]) == {2}
    assert len(pd.read_csv(copied.results / "synthesis/agreement.csv")) == 16
    assert (copied.results / "ablation/training_sets.png").stat().st_size > 5000
    start = (copied.results / "report/start.html").read_text()
    assert "Baselines beside the main run" in start and "What the training set does" in start
    assert 'id="ablation-differences"' in start and "cgan, both-1" in start
    table = (copied.results / "ablation/table.md").read_text()
    assert "cgan, real-1" in table and "cgan, both-1" in table
    for seed in (0, 1):
        slides = [
            read_weights(copied.results / f"segmentation/cgan/{data}-1/{seed}/model.safetensors")[
                1
            ]["training"]["slides"]
            for data in ("real", "both")
        ]
        assert slides[0] == slides[1] and len(slides[0]) == 1


def test_ready_jobs_are_looked_at_when_one_has_ended(fresh):
    """And not every second once more for each that has ended, which many slides would pay for."""
    text = fresh.make("stain", options=["--verbose"], cores=1)
    looks, done = looks_and_ends(text)
    assert done >= 9
    assert looks <= done + 1
