"""Runs with a SLURM of three scripts: which jobs are queued again, and that none is left."""

import subprocess
import sys

import pytest

from nucleigan import slurm

# Job 7 is queued again, 8 is refused, and 9_1 is one of an array.
PROGRAMS = {
    "squeue": """\
asked = dict(option.partition("=")[::2] for option in sys.argv[1:])
assert asked["--states"] == "PREEMPTED" and asked["--format"] == "%i", asked
print({"mine": "7\\n8\\n9_1", "none": ""}[asked["--name"]])
""",
    "scontrol": """\
assert sys.argv[1] == "requeue"
sys.exit("slurm_requeue error:\\n is ending" if sys.argv[2] == "8" else 0)
""",
    "scancel": """\
open(sys.argv[0] + ".asked", "w").write(" ".join(sys.argv[1:]))
""",
}
# Ends when job 8 was refused twice.
RUN = """\
import sys, threading, time
from nucleigan import slurm

slurm.LOOK_SECONDS = 0.1
said, waits = [], True
slurm._say = said.append
slurm.attend("mine", lambda: waits)
while not any("take it back" in text for text in said):
    time.sleep(0.1)
waits = False
while threading.active_count() > 1:
    time.sleep(0.1)
sys.exit("\\n".join(said))
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    for name, text in PROGRAMS.items():
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\nimport sys\n{text}")
        path.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_preempted_jobs_of_the_run_are_queued_again(programs):
    refused = "slurm_requeue error: is ending"
    assert slurm.requeue("mine") == {"7": None, "8": refused, "9_1": None}
    assert slurm.requeue("none") == {}


def test_a_slurm_that_does_not_answer_is_asked_another_time(programs):
    # An error of squeue, and no squeue at all.
    assert slurm.requeue("of another") == {}
    (programs / "squeue").unlink()
    assert slurm.requeue("mine") == {}


def test_a_run_looks_while_it_goes_on_and_leaves_no_job_behind(programs):
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.count("SLURM preempted job 7 and ended it; it is queued again.") >= 2
    assert done.stderr.count("SLURM preempted job 8, ended it, and does not take it back") == 1
    assert "(slurm_requeue error: is ending): stop this run" in done.stderr
    assert (programs / "scancel.asked").read_text() == "--name=mine"
