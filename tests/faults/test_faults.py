"""What a run survives: after each fault the same command ends in the same artifacts.

Trainings are in test_trainings.py, a lack of memory is in test_memory.py, jobs of a cluster are in
tests/cluster/.
"""

import os
import random
import re
import shutil
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest
from jobs_of_runs import PATIENCE, PAUSE, scripts, wait_for
from tiny_workflow import ROOT, assert_same_results

RUN = "cgan/both/0"
DAY = 86_400


def kill_each_script_once(folder, stop, chance, killed):
    """End one job of every script at a random moment, by turns with both signals."""
    due = {}
    while not stop.is_set():
        for process, name in scripts(folder).items():
            if name in killed:
                continue
            if process not in due:
                # All but trainings take little more than a second, and some run once.
                pause = chance.uniform(0, 3 if name.startswith("train_") else 0.5)
                due[process] = time.monotonic() + pause
            if time.monotonic() < due[process]:
                continue
            kind = (signal.SIGKILL, signal.SIGTERM)[len(killed) % 2]
            try:
                process.send_signal(kind)
            except psutil.NoSuchProcess:
                # It was faster; the next one of its kind, if there is any.
                continue
            killed[name] = kind.name
        time.sleep(PAUSE)


def no_remains(workflow):
    return not list(workflow.results.rglob("*.partial*"))


def test_a_job_of_every_stage_is_killed_at_a_random_moment(finished, fresh):
    """First the same command is given again, then the run itself tries again what was killed."""
    every = {path.stem for path in (ROOT / "workflow_scripts").glob("*.py")} - OTHERS.keys()
    # The sheet of the finished run, so that nothing but the faults differs.
    shutil.copytree(finished.sheet.parent, fresh.sheet.parent, dirs_exist_ok=True)
    stop, killed = threading.Event(), {}
    arguments = (fresh.folder, stop, random.Random(1), killed)
    killer = threading.Thread(target=kill_each_script_once, args=arguments)
    killer.start()
    try:
        done = fresh.run("all", options=["--keep-going"])
        assert done.returncode != 0
        assert "died with <Signals.SIG" in done.stdout or "status 143" in done.stdout
        said = fresh.make("all", options=["--retries", "1"])
    finally:
        stop.set()
        killer.join()
    assert "Trying to restart job" in said
    # One that ends between two looks escapes.
    assert len(every - killed.keys()) <= 3, killed
    assert {"train_cyclegan", "train_segmenter"} <= killed.keys()
    assert_same_results(fresh, finished)
    assert no_remains(fresh)


# Scripts that this run has no job of: where they come in.
OTHERS = {
    "draw_phantom": (
        "results/phantoms/images/phantom-breast-01.tif",
        {"slides": "phantoms", "phantoms": {"size": 128}},
    ),
    "plot_training_sets": (
        "results/ablation/training_sets.png",
        {"ablation": {"data": ["both"], "seeds": [0]}},
    ),
    "take_reference": (
        "started/stain/reference.json",
        {
            "results": "started",
            "segmentation": {"start_from": f"results/segmentation/{RUN}/model.safetensors"},
        },
    ),
    "take_model": (
        "applied/segmentation/cgan/both/0/model.safetensors",
        {
            "results": "applied",
            "segmentation": {"model": str(ROOT / "models/kumar-cpu.safetensors")},
        },
    ),
}


@pytest.mark.parametrize("script", OTHERS)
def test_a_job_of_other_runs_is_killed(copied, script):
    target, changes = OTHERS[script]
    made = copied.folder / target
    with copied.start(target, changes=changes, options=["--cores", "2"]) as process:
        jobs = wait_for(
            lambda: [job for job, name in scripts(copied.folder).items() if name == script]
        )
        time.sleep(random.Random(script).uniform(0, 0.5))
        jobs[0].kill()
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and "SIGKILL" in output
    assert not made.exists() and no_remains(copied)
    copied.make(target, changes=changes)
    first = made.read_bytes()
    made.unlink()
    copied.make(target, changes=changes)
    assert made.read_bytes() == first


# What the following tests take away and make again: few jobs follow from it.
TARGETS = ("predictions", "evaluation")


def running_predictions(workflow, slide="plain"):
    """Take a slide's prediction away and start the run that makes it again; it has begun to."""
    for path in workflow.results.glob(f"predictions/{RUN}/{slide}.*"):
        path.unlink()
    process = workflow.start(*TARGETS, options=["--cores", "2"])
    wait_for(lambda: "segment_slide" in scripts(workflow.folder).values())
    return process


def test_the_machine_goes_down(finished, copied):
    with running_predictions(copied, "*") as process:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    # Snakemake cannot know that the run which held the lock is no more.
    again = copied.run(*TARGETS)
    assert again.returncode != 0 and "--unlock" in again.stdout
    copied.make(*TARGETS, options=["--unlock"])
    copied.make(*TARGETS)
    assert_same_results(copied, finished)
    assert no_remains(copied)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_snakemake_is_asked_to_stop(finished, copied, kind):
    with running_predictions(copied) as process:
        process.send_signal(kind)
        process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    copied.make(*TARGETS)
    assert_same_results(copied, finished)


def test_two_runs_of_one_folder(finished, copied):
    with running_predictions(copied) as first:
        second = copied.run(*TARGETS)
        assert second.returncode != 0
        assert "cannot be locked" in second.stdout and "--unlock" in second.stdout
        output, _ = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, output
    assert_same_results(copied, finished)


def test_two_runs_of_one_results_folder_from_two_places(finished, copied, tmp_path):
    """Snakemake's own lock is in the folder where it runs."""
    elsewhere = replace(copied, folder=tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    absolute = {"results": str(copied.results)}
    with running_predictions(copied) as first:
        held = [job for job, name in scripts(copied.folder).items() if name == "segment_slide"]
        held[0].suspend()
        second = elsewhere.run(*TARGETS, changes=absolute)
        looked = elsewhere.run(*TARGETS, changes=absolute, options=["--dry-run"])
        held[0].resume()
        output, _ = first.communicate(timeout=PATIENCE)
    assert second.returncode != 0 and "Traceback" not in second.stdout
    said = f"error: {copied.results}: another run works there (process {first.pid} on "
    assert second.stdout.count(said) == 1
    assert looked.returncode == 0, looked.stdout
    assert first.returncode == 0, output
    assert not (copied.results / "lock").exists()
    assert_same_results(copied, finished)


def test_a_full_disk(finished, copied, disk):
    shutil.rmtree(copied.results / "synthesis")
    used = sum(path.stat().st_blocks * 512 for path in copied.results.rglob("*"))
    # Enough for the segmenter that judges the pairs, not for the pairs.
    disk(f"size={(used + 250_000) >> 10}k")
    full = copied.run("synthesis")
    assert full.returncode != 0
    assert "no space is left on its device; free some" in full.stdout
    assert len(list(copied.results.glob("synthesis/*.images.tif"))) < 2 and no_remains(copied)
    disk("size=200m")
    copied.make("synthesis")
    assert_same_results(copied, finished)


def test_a_disk_that_takes_no_writing(finished, copied, disk):
    (copied.results / "synthesis/quality.csv").unlink()
    disk("ro")
    refused = copied.run("synthesis")
    assert refused.returncode != 0
    assert re.search(r"(?i)write-protected|read-only file system", refused.stdout)
    assert "results/synthesis" in refused.stdout
    assert "Nothing to be done" in copied.make("slides", "stain")
    disk("rw")
    copied.make("synthesis")
    assert_same_results(copied, finished)


def truncate(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


def flip(path):
    """One bit of what the file holds, not of its header."""
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("artifact", "damage", "target"),
    [
        ("stain/test1/image.tif", truncate, "predictions"),
        ("synthesis/0.images.tif", flip, "synthesis"),
        (f"segmentation/{RUN}/weights.safetensors", flip, "segmentation"),
        (f"evaluation/{RUN}/slides.csv", flip, "evaluation"),
    ],
)
def test_a_damaged_artifact(finished, copied, artifact, damage, target):
    path = copied.results / artifact
    damage(path)
    said = copied.run(target, options=["--keep-going"])
    assert said.returncode != 0
    assert re.search(rf"error: results/{re.escape(artifact)}: cannot be .* again", said.stdout)
    path.unlink()
    copied.make(target)
    assert_same_results(copied, finished)


def test_the_clock_jumps(finished, copied):
    """Outputs from tomorrow, inputs from yesterday, and the other way round."""
    files = [path for path in sorted(copied.results.rglob("*.*")) if path.is_file()]
    chance = random.Random(2)
    for path in files:
        moment = time.time() + chance.choice((-DAY, 0, DAY))
        os.utime(path, (moment, moment))
    assert {path.suffix for path in files} >= {".tif", ".csv", ".safetensors"}
    assert copied.planned("all") == set()
    # A run in between, with the clock as it is now.
    shutil.rmtree(copied.results / "predictions")
    copied.make(*TARGETS)
    assert copied.planned(*TARGETS) == set()
    assert_same_results(copied, finished)
