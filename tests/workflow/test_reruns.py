"""What a change reruns, and what it leaves alone; dry runs on a finished run."""

import os
import shutil
import time
from dataclasses import replace

import pytest
from PIL import Image
from tiny_workflow import ROOT, only_error

from nucleigan.artifacts import file_digest

BEFORE_STAIN = {"ingest_slide", "show_slides", "fit_polygons", "draw_polygons", "show_polygons"}
STAIN = {"profile_stain", "choose_reference", "normalize_slide", "show_stain"}
TRAININGS = {"train_cyclegan", "train_judge", "train_segmenter"}
SYNTHESIS = {"synthesize_pairs", "show_synthesis", "judge_agreement", "judge_synthesis"}
JUDGEMENT = {"segment_slide", "evaluate_slide", "gather_slides", "compare_models"}
REPORT = {"calibrate", "draw_curves", "start_page"}


def test_second_run_has_nothing_to_do(finished):
    started = time.monotonic()
    assert "Nothing to be done" in finished.make("all")
    assert time.monotonic() - started < 60
    assert finished.planned("all") == set()


def test_touching_files_reruns_nothing(finished):
    # Whole seconds apart, as on file systems with coarse times.
    now = time.time() + 2
    kinds = [
        *sorted(finished.sheet.parent.iterdir()),
        *sorted(finished.results.glob("slides/*/image.tif")),
        *sorted(finished.results.glob("stain/*/*")),
        *sorted(finished.results.glob("cyclegan/*")),
        *sorted(finished.root.rglob("*.py")),
        *sorted(finished.root.rglob("*.smk")),
        finished.root / "config.yaml",
        finished.root / "envs/nucleigan.yaml",
    ]
    for number, path in enumerate(kinds):
        os.utime(path, (now + number / 100, now + number / 100))
    assert finished.planned("all") == set()


def test_editing_a_stain_function_reruns_stain_and_what_follows(finished, edited):
    change = (
        "source = StainProfile.from_dict(read_json(profile_json))\n",
        "source = StainProfile.from_dict(dict(read_json(profile_json)))\n",
    )
    with edited("nucleigan/stain/stage.py", *change):
        rules = finished.planned("all")
    assert rules.isdisjoint(BEFORE_STAIN)
    assert rules >= STAIN | {"cut_patches"} | TRAININGS | SYNTHESIS | JUDGEMENT


def test_editing_a_comment_or_docstring_reruns_nothing(finished, edited):
    with edited("nucleigan/stain/stage.py", "PANEL = 400\n", "PANEL = 400  # pixels\n"):
        assert finished.planned("all") == set()
    with edited(
        "nucleigan/stain/stage.py", '"""The stain stage of', '"""This is the stain stage of'
    ):
        assert finished.planned("all") == set()


def test_editing_a_script_reruns_its_rule(finished, edited):
    with edited("workflow_scripts/plot_history.py", "with job(", "print()\nwith job("):
        assert finished.planned("all") == {"plot_cyclegan", "plot_segmentation", "start_page"}


def test_editing_the_export_of_predictions_trains_nothing(finished, edited):
    with edited("nucleigan/segmentation/export.py", "import json\n", "import json\nimport math\n"):
        rules = finished.planned("all")
    assert rules.isdisjoint(TRAININGS)
    assert "segment_slide" in rules


@pytest.mark.parametrize("prediction", [{"views": 2}, {"decoding": {"min_area": 30}}])
def test_decoding_otherwise_trains_nothing(finished, prediction):
    rules = finished.planned("all", changes={"prediction": prediction})
    assert rules == JUDGEMENT | REPORT | {"choose_thresholds", "show_predictions"}


def test_cyclegan_epochs_leave_stain_alone(finished):
    rules = finished.planned("all", changes={"cyclegan": {"epochs": 3}})
    assert rules.isdisjoint(BEFORE_STAIN | STAIN | {"cut_patches"})
    assert rules >= (TRAININGS - {"train_judge"}) | SYNTHESIS | JUDGEMENT


@pytest.mark.parametrize("change", [{"minimum_agreement": 0.001}, {"synthetic_share": 0.2}])
def test_which_pairs_are_drawn_trains_again_what_learns_from_them(finished, change):
    rules = finished.planned("all", changes={"segmentation": change})
    assert "train_segmenter" in rules and rules.isdisjoint(SYNTHESIS | {"train_judge"})


def test_a_higher_limit_reads_no_slide_again(finished):
    changes = {"ingestion": {"max_pages": 20_000, "server_seconds": 90.0}}
    # Which tells the settings.
    assert finished.planned("all", changes=changes) == {"start_page"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"compute": {"device": "cpu"}}, set()),
        ({"phantoms": {"size": 600}}, set()),
        ({"ingestion": {"min_piece_area": 5.0}}, BEFORE_STAIN),
        ({"evaluation": {"splits": ["test", "val"]}}, JUDGEMENT),
        (
            {"results": "elsewhere"},
            BEFORE_STAIN | STAIN | TRAININGS | SYNTHESIS | JUDGEMENT | REPORT,
        ),
    ],
)
def test_a_setting_reruns_what_depends_on_it(finished, changes, expected):
    rules = finished.planned("all", changes=changes)
    assert rules >= expected
    assert rules == set() or expected


# Its page shows the configuration.
PAGE = {"start_page"}


def with_sheet(finished, before, after):
    """The same run with a sheet that is written otherwise."""
    text = finished.sheet.read_text()
    assert before in text
    changed = finished.sheet.with_name("changed.csv")
    changed.write_text(text.replace(before, after))
    return replace(finished, sheet=changed)


def test_a_changed_slide_reruns_its_own_slide_jobs(finished):
    changed = with_sheet(finished, "test2.npy,0.25", "test2.npy,0.26")
    assert changed.make("slides", options=["--dry-run"]).count("rule ingest_slide:") == 1


def test_another_organ_of_a_judged_slide_is_judged_anew_and_not_read(finished):
    changed = with_sheet(finished, "test2,kidney,test", "test2,liver,test")
    rules = changed.planned("all")
    assert "compare_models" in rules
    assert rules.isdisjoint(BEFORE_STAIN | STAIN | TRAININGS | SYNTHESIS | {"segment_slide"})


def test_another_patient_is_judged_anew_and_not_read(finished):
    text = finished.sheet.read_text().splitlines()
    changed = finished.sheet.with_name("patients.csv")
    # The last column of the header.
    rows = [line + name for line, name in zip(text, ["", *"abcdef"], strict=False)]
    changed.write_text("\n".join(rows) + "\n")
    rules = replace(finished, sheet=changed).planned("all")
    assert "compare_models" in rules
    assert rules.isdisjoint(BEFORE_STAIN | STAIN | TRAININGS | SYNTHESIS | {"segment_slide"})


def test_rows_in_another_order_rerun_nothing(finished):
    header, *rows = finished.sheet.read_text().splitlines()
    changed = finished.sheet.with_name("sorted.csv")
    changed.write_text("\n".join([header, *rows[::-1]]) + "\n")
    assert replace(finished, sheet=changed).planned("all") <= PAGE


def test_hashes_are_looked_at_and_read_nothing_again(finished):
    digest, labels = (
        file_digest(finished.sheet.parent / name) for name in ("train1.png", "train1.npy")
    )
    for before, after in ((digest, ""), (f"{digest},", f"{digest},{labels}")):
        assert with_sheet(finished, before, after).planned("all") <= PAGE
    for before, after in ((digest, "0" * 64), (f"{digest},", f"{digest},{'0' * 64}")):
        changed = with_sheet(finished, before, after)
        line = only_error(changed.run("all", options=["--dry-run"]))
        name = "train1.npy" if after.startswith(digest) else "train1.png"
        assert all(word in line for word in ("slide train1", name, "0" * 64, "slide.json")), line


def test_another_file_with_its_hash_is_read(finished, tmp_path):
    """Also where it is older than what was read: a download keeps the time of its server."""
    other = tmp_path / "other.png"
    image = Image.open(finished.sheet.parent / "test2.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    os.utime(other, (1e9, 1e9))
    text = finished.sheet.read_text()
    text = text.replace("test2.png", str(other))
    before = file_digest(finished.sheet.parent / "test2.png")
    changed = finished.sheet.with_name("changed.csv")
    changed.write_text(text.replace(before, file_digest(other)))
    rules = replace(finished, sheet=changed).planned("all")
    assert "ingest_slide" in rules and rules.isdisjoint(TRAININGS)


def test_a_given_model_does_not_replace_what_was_trained(finished):
    changes = {"segmentation": {"model": str(ROOT / "models/kumar-cpu.safetensors")}}
    line = only_error(finished.run("all", changes=changes, options=["--dry-run"]))
    assert "weights.safetensors" in line and "set `results` to another folder" in line


def test_another_spelling_of_the_same_reruns_nothing(finished):
    """An organ in capitals, the folder of results as a whole path."""
    changed = with_sheet(finished, ",kidney,", ",Kidney,")
    assert changed.planned("all", changes={"results": str(finished.results)}) <= PAGE


def test_judging_slides_that_had_a_part_in_it_is_said(finished):
    splits = {"evaluation": {"splits": ["train", "val", "test"]}}
    said = finished.make("slides", changes=splits, options=["--dry-run"])
    assert "warning: training slides are judged" in said
    assert "warning: slides of the split val are judged that thresholds or epochs" in said
    assert "are judged" not in finished.make("slides", options=["--dry-run"])


def test_a_higher_limit_reruns_nothing(finished):
    limits = {"max_pixels_whole": 300_000_000, "max_pages": 20_000, "decoder_memory": 900_000_000}
    assert finished.planned("all", changes={"ingestion": limits}) == PAGE


def test_results_whose_making_is_forgotten_are_said(finished, copied):
    """Snakemake's records lie in the working directory, by the names of the files."""
    look = {"options": ["--dry-run"]}
    warning = "warning: Snakemake has no records of what made 15 files in "
    assert warning not in finished.make("all", **look)
    shutil.copytree(copied.results, copied.folder / "moved")
    said = copied.make("all", changes={"results": "moved"}, **look)
    assert f"{warning}moved, such as moved/slides/" in said
    shutil.rmtree(copied.folder / ".snakemake")
    assert f"{warning}results, such as results/slides/" in copied.make("all", **look)


def test_a_training_does_not_start_from_what_it_overwrites(finished):
    model = finished.results / "segmentation/cgan/both/0/model.safetensors"
    line = only_error(finished.run("all", changes={"segmentation": {"start_from": str(model)}}))
    assert "segmentation.start_from" in line and "lies in results" in line
