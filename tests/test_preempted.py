"""Preempted jobs with a SLURM of two scripts: which are queued again."""

import sys

import pytest

from nucleigan import preempted

# Job 7 is queued again, 8 is not yet ended, and 9_1 is one of an array.
SQUEUE = """\
asked = dict(option.partition("=")[::2] for option in sys.argv[1:])
assert asked["--states"] == "PREEMPTED" and asked["--format"] == "%i", asked
print({"mine": "7\\n8\\n9_1", "none": ""}[asked["--name"]])
"""
SCONTROL = """\
assert sys.argv[1] == "requeue"
sys.exit(sys.argv[2] == "8")
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    for name, text in (("squeue", SQUEUE), ("scontrol", SCONTROL)):
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\nimport sys\n{text}")
        path.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_preempted_jobs_of_the_run_are_queued_again(slurm):
    assert preempted.requeue("mine") == ["7", "9_1"]
    assert preempted.requeue("none") == []


def test_a_slurm_that_does_not_answer_is_asked_another_time(slurm, tmp_path):
    # An error of squeue, and no squeue at all.
    assert preempted.requeue("of another") == []
    (tmp_path / "squeue").unlink()
    assert preempted.requeue("mine") == []
