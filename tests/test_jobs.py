"""A job's log, and how its errors are said."""

import errno
import os
import subprocess
import sys

import pytest

from nucleigan.errors import NucleiganError
from nucleigan.jobs import DISAGREES, GPU_MEMORY, MEMORY, _passes, job
from nucleigan.retries import take_failure


def test_what_is_printed_goes_to_log_and_terminal(tmp_path, capsys):
    log = tmp_path / "logs" / "a.log"
    with job(log):
        print("one line")
    assert log.read_text() == "one line\n"
    assert "one line" in capsys.readouterr().err


def test_what_a_person_can_mend_is_one_sentence(tmp_path, capsys):
    log = tmp_path / "a.log"
    with pytest.raises(SystemExit) as caught, job(log):
        raise NucleiganError("slide.tif: is cut off; copy it again.")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: slide.tif: is cut off; copy it again.\n"
    assert log.read_text() == "error: slide.tif: is cut off; copy it again.\n"


def test_any_other_error_is_in_the_log_in_full(tmp_path, capsys):
    log = tmp_path / "a.log"
    with pytest.raises(SystemExit) as caught, job(log):
        raise ValueError("unexpected")
    assert caught.value.code == 1
    assert "Traceback" in log.read_text()
    said = capsys.readouterr().err
    assert said == f"error: ValueError: unexpected (in full: {log})\n"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space is left on its device; free some"),
        (errno.EROFS, "its device takes no writing"),
        (errno.EACCES, "this user may not go there"),
        (errno.EMFILE, "too many files are open; raise the limit"),
        (errno.ESTALE, "its server does not answer"),
    ],
)
def test_what_a_disk_refuses_is_one_sentence(tmp_path, capsys, number, words):
    with pytest.raises(SystemExit) as caught, job(tmp_path / "a.log"):
        raise OSError(number, os.strerror(number), "results/x.tif")
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: results/x.tif: ") and words in said and said.count("\n") == 1
    assert (tmp_path / "a.log").read_text() == said


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(SystemExit) as caught, job(tmp_path / "file/a.log"):
        raise AssertionError("the job has begun")
    said = capsys.readouterr().err
    assert caught.value.code == 1 and str(tmp_path / "file") in said and "begun" not in said


@pytest.mark.parametrize(
    ("words", "advice", "again"),
    [
        ("CUDA out of memory. Tried", GPU_MEMORY, False),
        ("CUDA error: out of memory", GPU_MEMORY, False),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", GPU_MEMORY, False),
        ("could not create a primitive", MEMORY, True),
    ],
)
def test_a_layer_that_finds_no_memory_is_one_sentence(tmp_path, capsys, words, advice, again):
    """More memory of the machine's own is no help where the GPU's is used up."""
    with pytest.raises(SystemExit), job(tmp_path / "a.log"):
        raise RuntimeError(words)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {advice} ({words}") and said.count("\n") == 1
    assert _passes(RuntimeError(words)) == again


@pytest.mark.parametrize("what", ["import numpy as n; n.ones(1 << 40)", "torch.ones(1 << 40)"])
def test_a_lack_of_memory_is_one_sentence(tmp_path, what):
    """In a process that may not have more than it holds already and a little."""
    script = f"""
import resource, torch
from nucleigan.jobs import job
with job({str(tmp_path / "a.log")!r}):
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 28),) * 2)
    {what}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: the job needs more memory than it may have; give it more" in done.stderr
    assert "Traceback" not in done.stderr + (tmp_path / "a.log").read_text()


def test_what_an_earlier_try_said_is_kept(tmp_path):
    log = tmp_path / "a.log"
    with pytest.raises(SystemExit), job(log):
        raise ValueError("first")
    with job(log):
        print("second")
    assert log.read_text() == "second\n"
    assert "ValueError: first" in (tmp_path / "a.previous").read_text()


def test_two_processes_are_not_at_one_job(tmp_path, capsys, monkeypatch):
    """One that a killed run has left is waited for, and then said."""
    monkeypatch.setattr("nucleigan.jobs.PATIENCE", 0.2)
    log, at_work = tmp_path / "a.log", "print('at work', flush=True)\n    time.sleep(60)"
    script = f"import time\nfrom nucleigan.jobs import job\nwith job({str(log)!r}):\n    {at_work}"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) as other:
        assert other.stderr is not None and other.stderr.readline() == b"at work\n"
        with pytest.raises(SystemExit), job(log):
            pytest.fail("both are at it")
        assert f"process {other.pid} is still at this job" in capsys.readouterr().err
        assert "still at" not in log.read_text()
        failure = take_failure(log)
        assert failure is not None and not failure.passes
        other.kill()
    with job(log):
        print("its turn")
    assert log.read_text() == "its turn\n"


def test_a_job_of_another_configuration_is_refused_and_not_tried_again(tmp_path, monkeypatch):
    log = tmp_path / "a.log"
    monkeypatch.setenv(DISAGREES, "the configuration was changed.")
    with pytest.raises(SystemExit), job(log):
        pytest.fail("it began")
    assert log.read_text() == "error: the configuration was changed.\n"
    failure = take_failure(log)
    assert failure is not None and not failure.passes
