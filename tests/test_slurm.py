"""Runs with a SLURM of three scripts: which jobs are queued again, and that none is left."""

import subprocess
import sys

import pytest

from nucleigan import slurm

# Job 7 is queued again, 8 is not yet ended, and 9_1 is one of an array.
PROGRAMS = {
    "squeue": """\
asked = dict(option.partition("=")[::2] for option in sys.argv[1:])
assert asked["--states"] == "PREEMPTED" and asked["--format"] == "%i", asked
print({"mine": "7\\n8\\n9_1", "none": ""}[asked["--name"]])
""",
    "scontrol": """\
assert sys.argv[1] == "requeue"
sys.exit(sys.argv[2] == "8")
""",
    "scancel": """\
open(sys.argv[0] + ".asked", "w").write(" ".join(sys.argv[1:]))
""",
}


@pytest.fixture
def programs(tmp_path, monkeypatch):
    for name, text in PROGRAMS.items():
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\nimport sys\n{text}")
        path.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_preempted_jobs_of_the_run_are_queued_again(programs):
    assert slurm.requeue("mine") == ["7", "9_1"]
    assert slurm.requeue("none") == []


def test_a_slurm_that_does_not_answer_is_asked_another_time(programs):
    # An error of squeue, and no squeue at all.
    assert slurm.requeue("of another") == []
    (programs / "squeue").unlink()
    assert slurm.requeue("mine") == []


def test_a_run_looks_again_and_again_and_leaves_no_job_behind(programs):
    script = (
        "import time; from nucleigan import slurm; slurm.LOOK_SECONDS = 0.2; "
        "slurm.attend('mine'); time.sleep(2); raise SystemExit('cancelled')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("SLURM preempted job 7 and ended it; it is queued again.") > 1
    assert (programs / "scancel.asked").read_text() == "--name=mine"
