"""Jobs that may not have the memory that they need.

A run without a limit tells how much a job takes at its height; then the job may have less. The run
itself may have what it wants.
"""

import contextlib
import re
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from jobs_of_runs import PAUSE, scripts
from PIL import Image
from tiny_workflow import Workflow, assert_same_file, draw_sheet

from nucleigan.jobs import MEMORY

TRAINED = "results/segmentation/cgan/real/0/weights.safetensors"
TARGETS = {
    "train_segmenter": TRAINED,
    "segment_slide": "results/predictions/cgan/real/0/test1.labels.tif",
}
# Layers of some ten MB each, so that most of a job's memory is that of its arrays.
CHANGES = {
    "segmentation": {
        "data": ["real"],
        "batch_size": 32,
        "crop": 64,
        "generator": {"width": 32},
    },
    "prediction": {"tile": 512},
}
# So much less than it takes may a job have, bytes.
LESS = 150 << 20


@contextlib.contextmanager
def watching(folder, look):
    """Meanwhile show every job of a run's folder, again and again."""
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            for process, name in scripts(folder).items():
                with contextlib.suppress(psutil.NoSuchProcess, OSError):
                    look(process, name)
            time.sleep(PAUSE)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


@pytest.fixture(scope="module")
def measured(checkout, tmp_path_factory):
    """A run, and the addresses in bytes that each of its scripts took at its height."""
    folder = tmp_path_factory.mktemp("measured")
    sheet = draw_sheet(folder / "slides", ["train1", "train2", "val1", "test1"])
    large = folder / "slides/test1.png"
    Image.fromarray(np.tile(np.asarray(Image.open(large)), (8, 8, 1))).save(large)
    rows = pd.read_csv(sheet).assign(sha256="")
    rows.loc[rows["slide"] == "test1", "annotation"] = ""
    rows.to_csv(sheet, index=False)
    workflow, peaks = Workflow(checkout, folder, sheet), {}

    def measure(process, name):
        status = Path(f"/proc/{process.pid}/status").read_text()
        # A process that has just ended says nothing of its memory.
        if found := re.search(r"VmPeak:\s+(\d+)", status):
            peaks[name] = max(int(found[1]) << 10, peaks.get(name, 0))

    with watching(folder, measure):
        workflow.make(*TARGETS.values(), changes=CHANGES)
    return workflow, peaks


@pytest.mark.parametrize("script", TARGETS)
def test_a_lack_of_memory(measured, script, tmp_path):
    workflow, peaks = measured
    path = workflow.folder / TARGETS[script]
    before = path.rename(tmp_path / path.name)
    limit = peaks[script] - LESS

    def confine(process, name):
        if name == script:
            process.rlimit(psutil.RLIMIT_AS, (limit, limit))

    with watching(workflow.folder, confine):
        short = workflow.run(TARGETS[script], changes=CHANGES)
    assert short.returncode != 0 and not path.exists()
    # Where a library of the job does not bear it, the system ends the job.
    assert MEMORY in short.stdout or "died with <Signals" in short.stdout
    workflow.make(TARGETS[script], changes=CHANGES)
    assert_same_file(path, before)
