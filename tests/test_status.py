"""How far a run is, read from made-up folders of results."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nucleigan.cli import main
from nucleigan.config import TrainingSettings
from nucleigan.errors import NucleiganError
from nucleigan.jobs import job
from nucleigan.plan import write_plan
from nucleigan.progress import Progress
from nucleigan.running import this_process
from nucleigan.status import LISTED, SILENCE, as_text, read_stages, read_status
from nucleigan.training import loop

NOW = 1_000_000.0


def write(path: Path, text: str, ago: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    age(path, ago)


def age(path: Path, ago: float) -> None:
    os.utime(path, (NOW - ago, NOW - ago))


def log(folder: Path, name: str, text: str = "", ago: float = 60) -> None:
    write(folder / f"logs/{name}.log", text, ago)


def benchmark(folder: Path, name: str, ago: float = 59) -> None:
    write(folder / f"benchmarks/{name}.tsv", "s\n1\n", ago)


def only(folder: Path):
    (found,) = read_status(folder, NOW)
    return found


def report(step: int, steps: int, rate: float, left: float) -> str:
    return f"{step} of {steps} steps (1 %), {rate:.2f} s each, {left:.1f} min left  dice 0.300\n"


def fail(path: Path, error: Exception) -> None:
    """Let a job end in an error."""
    with pytest.raises(SystemExit), job(path):
        raise error
    age(path, 1)


def test_a_benchmark_after_the_log_is_a_success(tmp_path):
    log(tmp_path, "slides/a", ago=60)
    benchmark(tmp_path, "slides/a", ago=60)
    found = only(tmp_path)
    assert (found.name, found.stage, found.state) == ("slides/a", "slides", "done")
    assert found.seconds_ago == 60


def test_an_error_before_the_benchmark_was_mended(tmp_path):
    log(tmp_path, "slides/a", "error: a.tif: is cut off; copy it again.\n", ago=60)
    benchmark(tmp_path, "slides/a", ago=30)
    assert only(tmp_path).state == "done"
    assert only(tmp_path).why is None


def test_an_error_after_the_benchmark_is_of_a_later_run(tmp_path):
    benchmark(tmp_path, "slides/a", ago=60)
    log(tmp_path, "slides/a", "error: a.tif: is cut off; copy it again.\n", ago=30)
    assert only(tmp_path).state == "failed"


def test_a_finished_job_that_began_again_runs(tmp_path):
    benchmark(tmp_path, "slides/a", ago=60)
    log(tmp_path, "slides/a", ago=30)
    assert only(tmp_path).state == "running"


def test_a_benchmark_whose_log_was_deleted_is_a_success(tmp_path):
    (tmp_path / "logs").mkdir()
    benchmark(tmp_path, "slides/a")
    assert only(tmp_path).state == "done"


@pytest.mark.parametrize(("ago", "state"), [(SILENCE, "running"), (SILENCE + 1, "silent")])
def test_a_log_without_an_end_runs_until_it_is_old(ago, state, tmp_path):
    log(tmp_path, "stain/a", "warning: few nuclei\n", ago)
    assert only(tmp_path).state == state


def test_a_log_of_a_clock_that_is_ahead_is_of_now(tmp_path):
    log(tmp_path, "stain/a", ago=-500)
    assert only(tmp_path).state == "running"
    assert only(tmp_path).seconds_ago == 0


def test_why_is_the_one_sentence_of_the_log(tmp_path, capsys):
    fail(tmp_path / "logs/slides/a.log", NucleiganError("a.tif: is cut off; copy it again."))
    assert only(tmp_path).why == "a.tif: is cut off; copy it again."


def test_why_is_the_last_error_of_a_chain(tmp_path, capsys):
    error = ValueError("second\n  in two lines")
    error.__cause__ = KeyError("first")
    fail(tmp_path / "logs/slides/a.log", error)
    found = only(tmp_path)
    assert found.state == "failed"
    assert found.why is not None and found.why.startswith("ValueError: second")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8"), max_size=300), st.booleans())
def test_any_error_is_found_and_safe_to_print(tmp_path, message, ours):
    error = NucleiganError(message) if ours else ValueError(message)
    fail(tmp_path / "logs/slides/a.log", error)
    found = only(tmp_path)
    assert found.state == "failed"
    assert found.why is not None and found.why.isprintable()
    text = as_text(tmp_path, [found])
    assert all(line.isprintable() and len(line) <= 80 for line in text.split("\n"))


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    text = "".join(report(n, 9000, 0.5, 1) for n in range(1, 9001)) + "error: disk full; free it.\n"
    log(tmp_path, "cyclegan/training", text)
    found = only(tmp_path)
    assert found.why == "disk full; free it."
    assert found.progress == Progress(9000, 9000, "steps", 0.5)


def test_the_last_line_of_a_training_tells_its_place(tmp_path):
    text = "resumed after step 100 of 600\n" + report(120, 600, 2.5, 20) + report(126, 600, 2.4, 19)
    log(tmp_path, "segmentation/cgan/both/0", text)
    assert only(tmp_path).progress == Progress(126, 600, "steps", 2.4)


def test_a_resumed_training_has_a_place_before_it_has_a_rate(tmp_path):
    log(tmp_path, "cyclegan/training", "resumed after step 100 of 600\n")
    assert only(tmp_path).progress == Progress(100, 600, "steps")


class Still:
    """Learns nothing, and asks for its end in one step."""

    def step(self, batch, rng):
        if batch == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"total": torch.zeros(())}

    def set_rate(self, factor):
        pass

    def state(self):
        return {"weight": torch.ones(2)}

    def load(self, state):
        pass


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cyclegan/training", "cyclegan"),
        ("segmentation/cgan/both/0", "segmentation/cgan/both/0"),
        ("synthesis/judge", "synthesis/judge"),
    ],
)
def test_what_the_loop_leaves_is_understood(name, folder, tmp_path, capsys):
    path = tmp_path / f"logs/{name}.log"

    def train() -> None:
        plan = TrainingSettings(epochs=2, decay_from=1, checkpoint_seconds=1e6)
        checkpoints = tmp_path / folder / "checkpoint"
        with job(path):
            loop.run(Still(), lambda n: (n, str(n)), 4, plan, 0, checkpoints, {"of": "test"})
        age(path, 1)

    with pytest.raises(SystemExit):
        train()
    age(path, 1)
    stopped = only(tmp_path)
    assert (stopped.state, stopped.saved_step) == ("stopped", 3)
    assert stopped.progress == Progress(3, 8, "steps")

    train()
    benchmark(tmp_path, name, ago=0)
    finished = only(tmp_path)
    assert finished.state == "done" and finished.progress is not None
    assert (finished.progress.done, finished.progress.total) == (8, 8)
    assert finished.progress.seconds_left == 0


def test_a_damaged_checkpoint_is_no_step(tmp_path):
    log(tmp_path, "cyclegan/training", report(5, 600, 1, 10))
    write(tmp_path / "cyclegan/checkpoint/checkpoint.safetensors", "damaged", 1)
    assert only(tmp_path).saved_step is None


def test_the_text(tmp_path):
    for slide in "abc":
        log(tmp_path, f"slides/{slide}")
        benchmark(tmp_path, f"slides/{slide}")
    log(tmp_path, "slides/d", "error: d.tif: is cut off; copy it again.\n", ago=300)
    log(tmp_path, "cyclegan/training", report(120, 600, 2.5, 20))
    log(tmp_path, "segmentation/cgan/real/0", report(9, 30, 0.5, 0.2), ago=7200)
    log(tmp_path, "segmentation/cgan/real/1", "SIGTERM: stopped after step 7 of 30, saved\n")
    assert as_text(tmp_path, read_status(tmp_path, NOW)) == (
        "stage                   done  a minute    left  running  silent  stopped  failed\n"
        "slides        [####..]   3/4         -       -        -       -        -       1\n"
        "cyclegan      [#.....]   0/1         -  20 min        1       -        -       -\n"
        "segmentation  [......]   0/2         -       -        -       1        1       -\n"
        "all           [##....]   3/7         -       -        1       1        1       1\n"
        "\n"
        "training                     step  s a step    left  saved at    state\n"
        "cyclegan/training         120/600      2.50  20 min         -  running\n"
        "segmentation/cgan/real/0     9/30      0.50       -         -   silent\n"
        "segmentation/cgan/real/1     7/30         -       -         -  stopped\n"
        "\n"
        "failed: slides/d, 5 min ago: d.tif: is cut off; copy it again.\n"
        "\n"
        "stopped: segmentation/cgan/real/1, by SIGTERM 60 s ago, saved; the same command\n"
        "  goes on from there.\n"
        "\n"
        "silent: segmentation/cgan/real/0, running or interrupted, last line 2 h ago.\n"
        "\n"
        "running: cyclegan/training, last line 60 s ago."
    )


def plan(folder: Path, names: list[str], ago: float, at_work: bool | None = None) -> None:
    """What Snakemake leaves; ``at_work`` None is of another machine."""
    process = this_process() | ({"place": "elsewhere"} if at_work is None else {})
    process |= {"began": 1} if at_work is False else {}
    facts = {"process": process, "jobs": names}
    write(folder / "logs/plan.json", json.dumps(facts), ago)


def test_planned_jobs_wait_until_they_begin(tmp_path):
    log(tmp_path, "stain/a", ago=30)
    plan(tmp_path, ["stain/a", "stain/b"], 100)
    found = read_status(tmp_path, NOW)
    assert [(job.name, job.state, job.planned) for job in found] == [
        ("stain/a", "running", True),
        ("stain/b", "waiting", True),
    ]
    assert found[1].seconds_ago == 100


def test_a_job_that_was_done_before_the_plan_waits_to_be_done_again(tmp_path):
    for name, ago in (("stain/before", 200), ("stain/since", 50), ("stain/unplanned", 200)):
        log(tmp_path, name, ago=ago + 1)
        benchmark(tmp_path, name, ago=ago)
    plan(tmp_path, ["stain/before", "stain/since"], 100)
    states = {job.name: job.state for job in read_status(tmp_path, NOW)}
    assert states == {"stain/before": "waiting", "stain/since": "done", "stain/unplanned": "done"}


def test_what_failed_before_the_plan_waits_to_be_tried_again(tmp_path):
    log(tmp_path, "slides/a", "error: a.tif: is cut off; copy it again.\n", ago=200)
    log(tmp_path, "slides/b", "error: b.tif: is cut off; copy it again.\n", ago=50)
    log(tmp_path, "cyclegan/training", "SIGTERM: stopped after step 7 of 30, saved\n", ago=200)
    log(tmp_path, "slides/old", "error: old.tif: is cut off; copy it again.\n", ago=200)
    plan(tmp_path, ["slides/a", "slides/b", "cyclegan/training"], 100)
    assert {job.name: job.state for job in read_status(tmp_path, NOW)} == {
        "slides/a": "waiting",
        "slides/b": "failed",
        "slides/old": "failed",
        "cyclegan/training": "waiting",
    }


def test_what_the_last_run_leaves_out_does_not_count(tmp_path):
    """As of a slide that was taken out of the sheet for being damaged."""
    log(tmp_path, "slides/old", "error: old.tif: is cut off; copy it again.\n", ago=7200)
    log(tmp_path, "slides/a", ago=61)
    benchmark(tmp_path, "slides/a", ago=60)
    plan(tmp_path, ["slides/a"], 100)
    (stage,) = read_stages(tmp_path, read_status(tmp_path, NOW))
    assert (stage.fraction, stage.counts["done"], stage.counts["failed"]) == (1, 1, 0)
    text = as_text(tmp_path, read_status(tmp_path, NOW))
    assert re.search(r"^slides +\[#+\] +1/1 ", text, re.MULTILINE)
    assert "failed: slides/old, 2 h ago, before the last run: old.tif: is cut off" in text


def test_nothing_but_what_an_earlier_run_left(tmp_path):
    log(tmp_path, "slides/old", "error: old.tif: is cut off; copy it again.\n", ago=7200)
    log(tmp_path, "cyclegan/training", "SIGTERM: stopped after step 7 of 30, saved\n", ago=7200)
    plan(tmp_path, [], 100)
    text = as_text(tmp_path, read_status(tmp_path, NOW))
    assert "failed: slides/old, 2 h ago, before the last run" in text
    assert "stopped: cyclegan/training, by SIGTERM 2 h ago, before the last run, saved." in text
    assert "goes on" not in text and "done" not in text


def test_a_job_that_ctrl_c_ended_has_failed(tmp_path):
    with pytest.raises(KeyboardInterrupt), job(tmp_path / "logs/slides/a.log"):
        raise KeyboardInterrupt
    age(tmp_path / "logs/slides/a.log", 5)
    found = only(tmp_path)
    assert found.state == "failed"
    assert found.why == "interrupted by Ctrl-C; run the same command again to go on."


def test_rate_and_time_left_of_a_stage(tmp_path):
    # The first of a second ended 121 s ago, so that three jobs took two minutes and two seconds.
    for name, ago in (("a", 121), ("b", 61), ("c", 1)):
        log(tmp_path, f"stain/{name}", ago=ago + 1)
        benchmark(tmp_path, f"stain/{name}", ago=ago)
    log(tmp_path, "stain/d", ago=0)
    plan(tmp_path, [f"stain/{name}" for name in "abcdefg"], 200)
    (stage,) = read_stages(tmp_path, read_status(tmp_path, NOW))
    assert stage.counts["waiting"] == 3
    assert stage.jobs_a_minute == pytest.approx(60 * 3 / 122, abs=1e-3)
    assert stage.seconds_left == pytest.approx(4 * 122 / 3, abs=0.1)
    assert stage.fraction == 3 / 7


def test_nobody_knows_the_time_left_of_a_stage_at_rest(tmp_path):
    for name, ago in (("a", 121), ("b", 61)):
        log(tmp_path, f"stain/{name}", ago=ago + 1)
        benchmark(tmp_path, f"stain/{name}", ago=ago)
    plan(tmp_path, ["stain/a", "stain/b", "stain/c"], 200)
    (stage,) = read_stages(tmp_path, read_status(tmp_path, NOW))
    assert stage.seconds_left is None
    assert stage.jobs_a_minute == pytest.approx(60 * 2 / 61, abs=1e-3)


def test_a_running_training_tells_the_time_left_and_the_part_that_is_done(tmp_path):
    log(tmp_path, "cyclegan/training", report(150, 600, 2.0, 15))
    plan(tmp_path, ["cyclegan/training", "cyclegan/history"], 200)
    (stage,) = read_stages(tmp_path, read_status(tmp_path, NOW))
    assert (stage.seconds_left, stage.fraction, stage.jobs_a_minute) == (900, 0.125, None)


def test_trainings_that_wait_take_their_time_as_well(tmp_path):
    names = [f"segmentation/cgan/real-4/{seed}" for seed in range(5)]
    log(tmp_path, names[0], report(150, 600, 2.0, 15))
    plan(tmp_path, [*names, *(f"{name}.history" for name in names)], 200)
    (stage,) = read_stages(tmp_path, read_status(tmp_path, NOW))
    assert stage.seconds_left == 900 + 4 * 1200
    # Two at a time, beside what is no training.
    log(tmp_path, names[1], report(150, 600, 2.0, 15))
    log(tmp_path, f"{names[0]}.history", "")
    (stage,) = read_stages(tmp_path, read_status(tmp_path, NOW))
    assert stage.seconds_left == 900 + 3 * 1200 / 2


def test_a_running_job_says_how_far_it_is(tmp_path):
    log(tmp_path, "slides/a", "100 of 400 rows read (25 %), 20.0 a second, 0.2 min left\n")
    text = as_text(tmp_path, read_status(tmp_path, NOW))
    assert "running: slides/a, 100 of 400 rows read (25 %), 20.0 a second, 0.2 min left" in text
    assert "training" not in text


def mark(folder: Path, name: str, **changes) -> None:
    write(folder / f"logs/{name}.running", json.dumps(this_process() | changes), 1)


def test_a_job_whose_process_is_no_more_has_failed(tmp_path):
    log(tmp_path, "slides/a", "warning: few nuclei\n", ago=20)
    mark(tmp_path, "slides/a", began=1, host="node7")
    found = only(tmp_path)
    assert found.state == "failed"
    assert found.why is not None and f"process {os.getpid()} on node7 ended" in found.why


def test_what_a_job_said_of_its_end_goes_before_its_process(tmp_path):
    log(tmp_path, "slides/a", "error: a.tif: is cut off; copy it again.\n")
    log(tmp_path, "cyclegan/training", "SIGTERM: stopped after step 7 of 30, saved\n")
    for name in ("slides/a", "cyclegan/training"):
        mark(tmp_path, name, began=1)
    first, second = read_status(tmp_path, NOW)
    assert (first.state, first.why) == ("failed", "a.tif: is cut off; copy it again.")
    assert second.state == "stopped"


@pytest.mark.parametrize(("changes", "state"), [({}, "running"), ({"place": "else"}, "silent")])
def test_a_quiet_job_runs_where_its_process_is_seen(changes, state, tmp_path):
    log(tmp_path, "slides/a", ago=2 * SILENCE)
    mark(tmp_path, "slides/a", **changes)
    assert only(tmp_path).state == state


@pytest.mark.parametrize("at_work", [True, False, None])
def test_jobs_that_nobody_will_do_are_told_of(at_work, tmp_path):
    plan(tmp_path, ["stain/a"], 100, at_work)
    text = as_text(tmp_path, read_status(tmp_path, NOW))
    assert ("waiting: 1, but Snakemake has ended" in text) == (at_work is False)


@pytest.mark.parametrize("text", ["", "[]", '{"jobs": 3}', '{"process": 1, "jobs": null}'])
def test_a_damaged_plan_plans_nothing(text, tmp_path):
    log(tmp_path, "slides/a")
    write(tmp_path / "logs/plan.json", text, 1)
    assert [job.state for job in read_status(tmp_path, NOW)] == ["running"]


def test_a_plan_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    (tmp_path / "logs").write_text("in the way of a folder")
    write_plan(tmp_path, [tmp_path / "logs/slides/a.log"])
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {tmp_path / 'logs/plan.json'}: cannot be written")
    assert said.count("\n") == 1


def test_many_failures_are_counted_and_long_names_cut(tmp_path):
    for number in range(LISTED + 5):
        log(tmp_path, f"slides/{number:03d}", "error: " + "x" * 500)
    name = "segmentation/" + "m" * 90 + "/both/0"
    log(tmp_path, name, report(1, 30, 1, 1))
    text = as_text(tmp_path, read_status(tmp_path, NOW))
    assert "failed: 5 more; --json lists them." in text
    assert "mm/both/0  1/30" in text
    assert max(map(len, text.split("\n"))) <= 80


def test_the_command(tmp_path, capsys):
    log(tmp_path, "slides/a", "error: a.tif: is cut off; copy it again.\n")
    assert main(["status", str(tmp_path)]) == 0
    assert "failed: slides/a" in capsys.readouterr().out
    assert main(["status", "--json", str(tmp_path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    counts = dict.fromkeys(("done", "waiting", "running", "silent", "stopped"), 0) | {"failed": 1}
    assert facts["stages"] == {"slides": counts | {"jobs_a_minute": None, "seconds_left": None}}
    (found,) = facts["jobs"]
    assert found["why"] == "a.tif: is cut off; copy it again."
    assert (found["name"], found["state"], found["progress"]) == ("slides/a", "failed", None)


def test_a_run_whose_jobs_have_not_begun(tmp_path):
    (tmp_path / "logs").mkdir()
    assert as_text("mine", read_status(tmp_path)) == "mine: no job has begun."


@pytest.mark.parametrize("made", [True, False])
def test_any_other_folder_is_one_sentence(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if made:
        (tmp_path / "results").mkdir()
    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: results: is no folder of results")
    assert said.count("\n") == 1
