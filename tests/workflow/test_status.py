"""How far real runs are: a finished one, one with a killed job, and one that is watched."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from jobs_of_runs import PATIENCE, wait_for

from nucleigan.plan import read_plan
from nucleigan.status import as_text, read_stages, read_status


def names_of_logs(workflow):
    logs = workflow.results / "logs"
    return {str(path.relative_to(logs).with_suffix("")) for path in logs.rglob("*.log")}


def states(workflow):
    return {job.name: job.state for job in read_status(workflow.results)}


def test_a_finished_run_is_done_and_was_planned(finished):
    assert set(states(finished).values()) == {"done"}
    plan = read_plan(finished.results)
    assert plan is not None
    assert plan.names == names_of_logs(finished) == set(states(finished))
    assert not plan.finished
    assert plan.at_work is False
    stages = read_stages(finished.results, read_status(finished.results))
    assert [stage.name for stage in stages] == [
        "slides",
        "stain",
        "patches",
        "polygons",
        "cyclegan",
        "synthesis",
        "segmentation",
        "predictions",
        "evaluation",
        "report",
    ]
    assert all(stage.fraction == 1 and stage.jobs_a_minute > 0 for stage in stages)
    assert all(stage.seconds_left is None for stage in stages)
    # Six slides and their contact sheet.
    assert re.search(r"^slides +\[#+\] +7/7 ", as_text("", read_status(finished.results)), re.M)
    assert not list(finished.results.rglob("*.running"))


def killed_prediction(workflow):
    """Make predictions anew and kill the first of them; the job's name and process."""
    shutil.rmtree(workflow.results / "predictions")
    with workflow.start("predictions", "evaluation", options=["--cores", "1"]) as process:

        def begun():
            assert process.poll() is None
            with contextlib.suppress(FileNotFoundError):  # a job may end between the two looks
                folder = workflow.results / "logs/predictions"
                return [path for path in folder.rglob("*.running") if path.stat().st_size]

        marks = wait_for(begun)
        pid = json.loads(marks[0].read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and "SIGKILL" in output
    return str(marks[0].relative_to(workflow.results / "logs").with_suffix("")), pid


def test_a_killed_job_has_failed_and_the_others_wait(copied):
    before = (copied.results / "logs/plan.json").read_bytes()
    copied.planned("all", changes={"prediction": {"tile": 32}})
    assert (copied.results / "logs/plan.json").read_bytes() == before, "a dry run plans nothing"

    name, pid = killed_prediction(copied)
    (failed,) = [job for job in read_status(copied.results) if job.state == "failed"]
    assert failed.name == name
    assert failed.why is not None and f"its process {pid} on " in failed.why
    assert "killed" in failed.why
    found = states(copied)
    assert found["evaluation/comparison"] == found["evaluation/cgan/both/0"] == "waiting"
    assert found["segmentation/cgan/both/0"] == found["report/start"] == "done"
    text = as_text(copied.results, read_status(copied.results))
    assert f"failed: {name}," in text
    assert re.search(r"waiting: \d+, but Snakemake has ended; the same command", text)

    # Watched through a pipe, the same command ends in what the status then says.
    command = [sys.executable, "-m", "nucleigan", "status", "--watch", copied.results]
    with copied.start("all", options=["--cores", "1"]) as process:

        def planned():
            assert process.poll() is None
            plan = read_plan(copied.results)
            return plan and plan.at_work

        wait_for(planned)
        watched = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    last = read_plan(copied.results)
    assert last.names.isdisjoint(last.finished)
    assert last.names | last.finished == names_of_logs(copied)
    assert watched.returncode == 0, watched.stderr
    assert "\r" not in watched.stdout and "\x1b" not in watched.stdout
    assert re.search(r"^predictions: 4 of 4 done \(100 %\)", watched.stdout, re.MULTILINE)
    assert set(states(copied).values()) == {"done"}
    assert not list(copied.results.rglob("*.running"))
