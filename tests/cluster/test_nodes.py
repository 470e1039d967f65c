"""A training by processes on several nodes."""

import signal
import sys
from pathlib import Path

import pytest
from cluster.conftest import PATIENCE
from cluster.slurm import ask, wait_until

SHORT = Path(__file__).parents[1] / "training/short_training.py"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("what", ["stopped", "stopped at last"])
def test_two_nodes_train_together(cluster, tmp_path, what):
    # Snakemake runs a job in a step of one task. Names of nodes that share a machine are no hosts.
    step = "srun -n1 --cpu-bind=q env SLURMD_NODENAME=localhost"
    script = f"{step} {sys.executable} {SHORT} '{what}' {tmp_path}; echo $? > {tmp_path}/status"
    options = ["--nodes=2", "--ntasks-per-node=1", "--mem=3000", f"--chdir={ROOT}"]
    options += [f"--output={tmp_path}/said", f"--export=ALL,PYTHONPATH={ROOT}"]
    ask("sbatch", *options, f"--wrap={script}")
    wait_until((tmp_path / "status").exists, PATIENCE, f"the training to end ({tmp_path}/said)")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    # Once before the processes are started, on each node, and once in the first.
    assert lines[:4] == ["begins"] * 4 and len(lines) == 5
    if what == "stopped":
        assert lines[4] == "SIGTERM: stopped after step 4 of 5, saved"
        assert (tmp_path / "status").read_text() == f"{128 + signal.SIGTERM}\n"
    else:
        assert (tmp_path / "status").read_text() == "0\n" and (tmp_path / "done").exists()
