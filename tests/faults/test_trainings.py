"""What a training survives: killed, its checkpoints damaged, its disk full, its memory short.

The same command ends in the weights of a run without faults, bit for bit.
"""

import random
import shutil
import struct
from dataclasses import replace

import pytest
from jobs_of_runs import PATIENCE, scripts, wait_for
from tiny_workflow import Workflow, assert_same_file, draw_sheet

RUN = "segmentation/cgan/real/0"
TARGET = f"results/{RUN}/weights.safetensors"
# Slow enough to be met at work, with a checkpoint after nearly every step.
CHANGES = {
    "segmentation": {
        "data": ["real"],
        "epochs": 4,
        "steps_per_epoch": 10,
        "checkpoint_seconds": 0.01,
    }
}


@pytest.fixture(scope="module")
def prepared(checkout, tmp_path_factory):
    """All that the training reads."""
    folder = tmp_path_factory.mktemp("prepared")
    sheet = draw_sheet(folder / "slides", ["train1", "train2", "val1", "test1"])
    # Beside the slides, which copies of it share.
    workflow = Workflow(checkout, folder / "run", sheet)
    workflow.folder.mkdir()
    workflow.make("patches", "stain", changes=CHANGES)
    return workflow


def copy_of(workflow, folder):
    shutil.copytree(workflow.folder, folder)
    return replace(workflow, folder=folder)


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """A training without faults."""
    workflow = copy_of(prepared, tmp_path_factory.mktemp("whole") / "run")
    workflow.make(TARGET, changes=CHANGES)
    return workflow


@pytest.fixture(scope="module")
def killed(prepared, tmp_path_factory):
    """A training killed after it wrote two checkpoints."""
    workflow = copy_of(prepared, tmp_path_factory.mktemp("killed") / "run")
    with workflow.start(TARGET, changes=CHANGES, options=["--cores", "2"]) as process:
        (job,) = wait_for(lambda: list(scripts(workflow.folder)))
        while True:
            wait_for(lambda: len(checkpoints(workflow)) == 2)
            job.suspend()
            # Neither of them is just being renamed.
            if len(checkpoints(workflow)) == 2:
                break
            job.resume()
        job.kill()
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and "SIGKILL" in output
    assert not (workflow.folder / TARGET).exists()
    return workflow


def checkpoints(workflow):
    """Those that are complete, the newest first."""
    return sorted((workflow.results / RUN / "checkpoint").glob("[!.]*.safetensors"))


@pytest.fixture
def copied(killed, tmp_path):
    return copy_of(killed, tmp_path / "run")


def assert_same_training(one, other):
    for name in ("weights.safetensors", "history.csv", "samples.png"):
        assert_same_file(one.results / RUN / name, other.results / RUN / name)
    assert not checkpoints(one)


def cut(content, chance):
    return content[: chance.randrange(len(content))]


def flipped(content, chance, start, end):
    content = bytearray(content)
    content[chance.randrange(start, end)] ^= 1 << chance.randrange(8)
    return content


def header_end(content):
    """White space alone follows in the header."""
    return len(content[: 8 + struct.unpack("<Q", content[:8])[0]].rstrip())


def flipped_in_header(content, chance):
    return flipped(content, chance, 0, header_end(content))


def flipped_in_tensors(content, chance):
    return flipped(content, chance, 8 + struct.unpack("<Q", content[:8])[0], len(content))


def test_a_killed_training(whole, copied):
    assert "resumed after step" in copied.make(TARGET, changes=CHANGES)
    assert_same_training(copied, whole)


@pytest.mark.parametrize(
    ("damage", "seed"),
    [(cut, 0), (flipped_in_header, 1), (flipped_in_header, 2), (flipped_in_tensors, 3)],
)
def test_a_killed_training_with_a_damaged_checkpoint(whole, copied, damage, seed):
    newest, _ = checkpoints(copied)
    newest.write_bytes(damage(newest.read_bytes(), random.Random(seed)))
    said = copied.make(TARGET, changes=CHANGES)
    log = (copied.results / f"logs/{RUN}.log").read_text()
    for text in (said, log):
        assert "checkpoint.safetensors is damaged" in text and "resumed after step" in text
    assert_same_training(copied, whole)


def test_a_killed_training_whose_checkpoints_are_all_damaged(whole, copied):
    for path in checkpoints(copied):
        path.write_bytes(flipped_in_header(path.read_bytes(), random.Random(4)))
    said = copied.make(TARGET, changes=CHANGES)
    assert said.count("is damaged") == 2 and "resumed" not in said
    assert_same_training(copied, whole)


def test_a_training_on_a_full_disk(whole, copied, disk):
    used = sum(path.stat().st_blocks * 512 for path in copied.results.rglob("*"))
    newest, before = checkpoints(copied)
    size = newest.stat().st_size
    before.unlink()
    # There is room for one more checkpoint, and for half of the one after it.
    disk(f"size={(used + size // 2) >> 10}k")
    full = copied.run(TARGET, changes=CHANGES)
    assert full.returncode != 0
    assert "no space is left on its device; free some" in full.stdout
    assert "Traceback" not in full.stdout and not (copied.folder / TARGET).exists()
    disk("size=200m")
    assert "resumed after step" in copied.make(TARGET, changes=CHANGES)
    assert_same_training(copied, whole)
