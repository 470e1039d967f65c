"""GPUs go to one job at a time: real processes and locks, made-up numbers of GPUs."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from jobs_of_runs import wait_for

from nucleigan import gpus
from nucleigan.jobs import FIRST_NODE

# A job that writes which GPUs it has, and from when to when.
JOB = """
import os, sys, time
from pathlib import Path
from nucleigan import gpus

count, wanted, device, seconds, folder, name = sys.argv[1:]
gpus.installed = lambda: int(count)
gpus.LOCKS, gpus.WAIT = Path(folder, "locks"), 0.05
with gpus.use_gpus(int(wanted), device):
    began = time.monotonic()
    having = os.environ.get("CUDA_VISIBLE_DEVICES")
    Path(folder, name + ".begun").write_text(f"{having}")
    time.sleep(float(seconds))
    Path(folder, name).write_text(f"{having} {began} {time.monotonic()}")
"""
# What a job of this test run may have in its environment.
FOREIGN = ("CUDA_VISIBLE_DEVICES", "RANK", "SLURM_JOB_ID", FIRST_NODE)


@pytest.fixture
def environment():
    return {key: value for key, value in os.environ.items() if key not in FOREIGN}


@pytest.fixture
def start(tmp_path, environment):
    """Starts a job; whatever still runs at the end is killed."""
    started = []

    def start(name, count, wanted=1, device="auto", seconds=0.3, **variables):
        arguments = [count, wanted, device, seconds, tmp_path, name]
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, *map(str, arguments)],
            env=environment | variables,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def end(*processes):
    """Wait for jobs; what each of them said."""
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


def times(folder, names):
    """Intervals in which each GPU was in use."""
    found = defaultdict(list)
    for name in names:
        having, began, ended = (folder / name).read_text().split()
        for gpu in having.split(","):
            found[gpu].append((float(began), float(ended)))
    return found


def assert_never_shared(intervals):
    for used in intervals.values():
        used.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(used))


# On two GPUs long enough that a busy machine starts a second job meanwhile.
@pytest.mark.parametrize(("count", "seconds"), [(1, 0.2), (2, 1.0)])
def test_jobs_use_all_gpus_and_none_of_them_at_the_same_time(start, tmp_path, count, seconds):
    names = [f"job{number}" for number in range(6)]
    said = end(*(start(name, count, seconds=seconds) for name in names))
    intervals = times(tmp_path, names)
    assert set(intervals) == {str(gpu) for gpu in range(count)}
    assert_never_shared(intervals)
    # Whoever waits says so, once.
    assert max(map(len, (text.splitlines() for text in said))) <= 1


def test_jobs_of_several_gpus_and_of_one_end_all(start, tmp_path):
    names = [f"job{number}" for number in range(6)]
    end(*(start(name, 2, wanted=1 + number % 2) for number, name in enumerate(names)))
    intervals = times(tmp_path, names)
    assert set(intervals) == {"0", "1"} and sum(map(len, intervals.values())) == 9
    assert_never_shared(intervals)


def test_without_gpus_nobody_waits(start, tmp_path):
    jobs = [start(f"job{number}", count=0, seconds=60) for number in range(3)]
    for number in range(len(jobs)):
        wait_for((tmp_path / f"job{number}.begun").exists)
        assert (tmp_path / f"job{number}.begun").read_text() == "None"


def test_a_killed_process_frees_its_gpu(start, tmp_path):
    killed = start("killed", count=1, seconds=600)
    wait_for((tmp_path / "killed.begun").exists)
    waiting = start("waiting", count=1)
    assert waiting.stdout.readline() == "waiting for 1 of the GPUs 0: other jobs have them\n"
    assert not (tmp_path / "waiting.begun").exists()
    killed.send_signal(signal.SIGKILL)
    end(waiting)
    assert (tmp_path / "waiting").read_text().startswith("0 ")


def test_a_job_takes_none_but_those_that_are_visible(start, tmp_path):
    first = start("first", count=4, seconds=600, CUDA_VISIBLE_DEVICES="2,3")
    wait_for((tmp_path / "first.begun").exists)
    end(start("second", count=4, CUDA_VISIBLE_DEVICES="2,3"))
    assert (tmp_path / "first.begun").read_text() == "2"
    assert (tmp_path / "second.begun").read_text() == "3"
    first.kill()


def test_a_named_gpu_keeps_its_number_and_its_jobs_follow_each_other(start, tmp_path):
    begins = time.monotonic()
    end(*(start(name, count=2, device="cuda:1") for name in ("first", "second")))
    assert time.monotonic() - begins > 0.6
    assert (tmp_path / "first.begun").read_text() == "None"
    # The other one is free.
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["1"]


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"},
        {"RANK": "1", "CUDA_VISIBLE_DEVICES": "0,1"},
    ],
)
def test_who_was_given_gpus_takes_none(start, tmp_path, variables):
    holder = start("holder", count=2, wanted=2, seconds=600)
    wait_for((tmp_path / "holder.begun").exists)
    end(start("given", count=2, **variables))
    given = (tmp_path / "given").read_text().split()[0]
    assert given == variables["CUDA_VISIBLE_DEVICES"]
    holder.kill()


def test_jobs_within_one_allocation_of_slurm_share_its_gpus(start, tmp_path):
    names = [f"job{number}" for number in range(4)]
    variables = {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}
    end(*(start(name, count=2, seconds=1.0, **variables) for name in names))
    intervals = times(tmp_path, names)
    assert set(intervals) == {"0", "1"}
    assert_never_shared(intervals)


@pytest.mark.parametrize(
    ("device", "chosen", "expected"),
    [
        ("auto", None, ["0", "1", "2"]),
        ("cuda", "2, 0", ["2", "0"]),
        ("auto", "1,7,0", ["1"]),
        ("auto", "", []),
        ("auto", "-1", []),
        ("auto", "GPU-8932f937", ["GPU-8932f937"]),
        ("cuda:1", "2,0", ["0"]),
        ("cuda:3", None, []),
        ("cpu", None, []),
        ("gpu", None, ["0", "1", "2"]),
    ],
)
def test_gpus_that_a_job_may_use(monkeypatch, device, chosen, expected):
    monkeypatch.setattr(gpus, "installed", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert gpus.allowed(device) == expected


def test_the_driver_counts_as_many_gpus_as_its_own_files():
    assert gpus.installed() == len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
