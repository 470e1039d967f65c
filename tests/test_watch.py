"""`nucleigan status --watch`: bars in a terminal, plain lines in a pipe, until the run ends."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from nucleigan import watch as module
from nucleigan.running import this_process

COMMAND = (sys.executable, "-m", "nucleigan", "status", "--watch")
COLUMNS = 80


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with a job that is done, one that runs and is in the middle, and one that waits."""
    logs = tmp_path / "logs/slides"
    logs.mkdir(parents=True)
    (tmp_path / "benchmarks/slides").mkdir(parents=True)
    plan = {"process": this_process(), "jobs": ["slides/a", "slides/b", "slides/c"]}
    (tmp_path / "logs/plan.json").write_text(json.dumps(plan))
    (logs / "a.log").touch()
    finish(tmp_path, "a")
    (logs / "b.log").write_text("50 of 100 rows read (50 %), 2.00 s each, 1.7 min left\n")
    (logs / "b.running").write_text(json.dumps(this_process()))
    return tmp_path


def finish(run: Path, *slides: str) -> None:
    for slide in slides:
        (run / f"benchmarks/slides/{slide}.tsv").write_text("s\tmax_rss\n60\t1\n")


def test_bars_are_drawn_over_those_before_in_a_terminal(run):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, COLUMNS))
    with subprocess.Popen([*COMMAND, run], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        first = until(ours, b"ago.")
        finish(run, "b", "c")
        rest = until(ours, None)
    os.close(ours)
    assert process.returncode == 0, rest
    lines = first.split("\r\n")
    assert re.fullmatch(r"(\x1b\[J)?stage +done +a minute +left +running", lines[0])
    bar = re.fullmatch(r"slides +\[(#+)(\.+)\] +1/3 +(\S+) +(\d+) s +1", lines[1])
    assert bar is not None
    # One job of three, and half of another.
    assert len(bar[1]) == len(bar[1] + bar[2]) // 2
    assert float(bar[3]) == pytest.approx(1, abs=0.4) and 90 <= int(bar[4]) <= 150
    # The cursor goes up to the first line, and what is below is wiped out.
    drawn = rest.split("\x1b[")
    assert any(re.match(r"\d+F", part) for part in drawn) and any(p[0] == "J" for p in drawn if p)
    assert re.search(r"slides +\[#+\] +3/3 ", drawn[-1])
    assert all(len(line) <= COLUMNS for line in drawn[-1].split("\r\n"))


def until(terminal: int, words: bytes | None) -> str:
    """What comes out of a terminal until these words, or until it is closed."""
    found = b""
    while words is None or words not in found:
        assert select.select([terminal], [], [], 120)[0], found
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux says so where the other side has been closed.
            break
        if not part:
            break
        found += part
    return found.decode()


def test_a_pipe_gets_a_plain_line_for_each_stage_that_changes(run, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.05)
    looks = []

    def look(jobs=module.read_status):
        """Nothing happens between the first and the second look; then all ends."""
        looks.append(1)
        if len(looks) == 3:
            finish(run, "b", "c")
        return jobs(run)

    monkeypatch.setattr(module, "read_status", lambda _: look())
    with (tmp_path / "watched.txt").open("w+") as output:
        module.watch(run, output)
        output.seek(0)
        text = output.read()
    assert "\r" not in text and "\x1b" not in text
    lines = [
        re.sub(r"[\d.]+ a minute, \d+ (s|min) left", "RATE", line) for line in text.split("\n")
    ]
    assert lines[0] == "slides: 1 of 3 done (50 %), RATE, 1 running"
    assert re.fullmatch(r"slides: 3 of 3 done \(100 %\), [\d.]+ a minute", lines[-2])
    assert lines[-1] == ""


def test_the_command_in_a_pipe(run):
    finish(run, "b", "c")
    done = subprocess.run([*COMMAND, run], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(r"slides: 3 of 3 done \(100 %\), [\d.]+ a minute\n", done.stdout)


@pytest.mark.parametrize("at_work", [True, False])
@pytest.mark.parametrize("end", ["error: c.tif: is cut off; copy it again.\n", ""])
def test_what_is_over_is_told_by_snakemake_itself(run, at_work, end):
    """It may try the last job again; once it has ended nobody waits for a job that says nothing."""
    finish(run, "b")
    log = run / "logs/slides/c.log"
    log.write_text(end)
    if not end:
        os.utime(log, (1, 1))
    plan = run / "logs/plan.json"
    facts = json.loads(plan.read_text())
    if not at_work:
        plan.write_text(json.dumps(facts | {"process": facts["process"] | {"began": 1}}))
    os.utime(plan, (0, 0))
    assert module._is_over(run, module.read_status(run)) is not at_work


def test_a_silent_job_is_waited_for_where_nobody_knows_of_snakemake(run):
    finish(run, "b")
    log = run / "logs/slides/c.log"
    log.write_text("")
    os.utime(log, (1, 1))
    (run / "logs/plan.json").unlink()
    assert not module._is_over(run, module.read_status(run))


@pytest.mark.parametrize("at_work", [True, False])
def test_waiting_jobs_are_waited_for_while_snakemake_is_there(run, at_work, monkeypatch):
    """A job has failed, and another waits; nothing runs."""
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.01)
    with (run / "logs/slides/b.log").open("a") as log:
        log.write("error: b.tif: is cut off; copy it again.\n")
    plan = run / "logs/plan.json"
    facts = json.loads(plan.read_text())
    gone = facts | {"process": facts["process"] | {"began": 1}}
    waited = []

    def sleep(_):
        waited.append(1)
        plan.write_text(json.dumps(gone))

    monkeypatch.setattr(module.time, "sleep", sleep)
    if not at_work:
        plan.write_text(json.dumps(gone))
    with (run / "watched.txt").open("w") as output:
        module.watch(run, output)
    assert len(waited) == at_work
    assert "slides: 1 of 3 done (33 %)" in (run / "watched.txt").read_text()
    assert "1 failed" in (run / "watched.txt").read_text()
