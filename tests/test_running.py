"""Files that name a process, and what they tell once it has ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs_of_runs import wait_for

from nucleigan.errors import NucleiganError
from nucleigan.jobs import job
from nucleigan.running import is_alive, read_mark, this_process

JOB = """
import sys, time
from nucleigan.jobs import job
with job(sys.argv[1]):
    print("at work", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def at_work(tmp_path) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A job that has begun, and its log."""
    log = tmp_path / "logs/slides/a.log"
    command = [sys.executable, "-c", JOB, str(log)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "at work\n"
        # The terminal is told first.
        wait_for(lambda: log.read_text() == "at work\n")
        yield process, log
        process.kill()


def mark_of(log: Path) -> dict | None:
    return read_mark(log.with_suffix(".running"))


def test_a_job_that_runs_is_known_to_run(at_work):
    process, log = at_work
    mark = mark_of(log)
    assert mark is not None and mark["pid"] == process.pid
    assert is_alive(mark) is True


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_job_leaves_its_file_and_is_known_to_be_gone(at_work, kind):
    process, log = at_work
    process.send_signal(kind)
    # A zombie until its parent asks how it ended.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive(mark_of(log)) is False
    process.wait()
    assert is_alive(mark_of(log)) is False
    assert log.read_text() == "at work\n"


def test_a_job_that_ends_takes_its_file_with_it(tmp_path, capsys):
    log = tmp_path / "a.log"
    with job(log):
        mark = mark_of(log)
        assert mark is not None and mark["pid"] == os.getpid()
    assert mark_of(log) is None
    with pytest.raises(SystemExit), job(log):
        raise NucleiganError("a.tif: is cut off; copy it again.")
    assert mark_of(log) is None
    # What the run decides by whether to try it again.
    assert set(tmp_path.iterdir()) == {log, log.with_suffix(".failed")}


def test_another_process_with_the_same_number_is_another():
    assert is_alive(this_process()) is True
    assert is_alive(this_process() | {"began": 1}) is False


@pytest.mark.parametrize(
    "changes", [{"place": "elsewhere"}, {"place": None}, {"pid": "many"}, {"pid": None}]
)
def test_elsewhere_nobody_can_tell(changes):
    assert is_alive(this_process() | changes) is None
    assert is_alive(None) is None and is_alive({}) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", json.dumps("a")])
def test_a_damaged_file_names_nobody(text, tmp_path):
    (tmp_path / "a.running").write_text(text)
    assert read_mark(tmp_path / "a.running") is None
