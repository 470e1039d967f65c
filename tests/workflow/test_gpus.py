"""Local runs of the workflow on machines with made-up numbers of GPUs."""

import fcntl
import re

import pytest

TRAINING = "results/cyclegan/generator.safetensors"
PREDICTION = "results/predictions/cgan/both/0/test1.labels.tif"


@pytest.fixture
def machine(checkout, tmp_path):
    """Gives the machine of all further runs, and of their jobs, some GPUs; returns their locks."""
    # Python runs it at every start.
    patch = checkout / "sitecustomize.py"

    def with_gpus(count):
        locks = tmp_path / "locks"
        patch.write_text(f"""
from pathlib import Path
from nucleigan import gpus
gpus.installed = lambda: {count}
gpus.LOCKS, gpus.WAIT = Path({str(locks)!r}), 0.1
""")
        return locks

    yield with_gpus
    patch.unlink(missing_ok=True)


def gpus_of_training(workflow, *options, **changes):
    """How many GPUs the training would ask for, of batches that two processes can share."""
    changes |= {name: {"batch_size": 2} for name in ("cyclegan", "segmentation")}
    said = workflow.make(TRAINING, options=["--dry-run", *options], changes=changes)
    return int(re.search(r"rule train_cyclegan:.*?\bgpu=(\d+)", said, re.DOTALL)[1])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_local_job_asks_for_no_more_gpus_than_there_are(fresh, machine, count):
    machine(count)
    assert gpus_of_training(fresh, compute={"processes": 2}) == count
    assert f'gpu", {count})' in fresh.make("results/slides/train1/slide.json")


def test_a_named_gpu_is_one_and_a_cpu_none(fresh, machine):
    machine(2)
    assert gpus_of_training(fresh, compute={"device": "cuda:1"}) == 1
    assert gpus_of_training(fresh, compute={"device": "cpu", "processes": 2}) == 0


def test_what_is_submitted_does_not_follow_the_login_node(fresh, machine):
    machine(0)
    profile = ("--profile", fresh.root / "profiles/slurm")
    assert gpus_of_training(fresh, *profile, compute={"processes": 2}) == 2


def test_a_job_waits_for_the_gpu_that_another_run_uses(copied, machine):
    locks = machine(1)
    locks.mkdir()
    (copied.folder / PREDICTION).unlink()
    # The other run.
    with (locks / "0").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = copied.start(PREDICTION, options=["--cores", "2"])
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("waiting for 1 of the GPUs 0"):
                break
        assert process.poll() is None and not (copied.folder / PREDICTION).exists(), "".join(said)
    assert process.wait(600) == 0, process.stdout.read()
    assert (copied.folder / PREDICTION).exists()
