"""Snakemake that asks SLURM every other second what its jobs do, and which were preempted.

The plugin asks ever more rarely, up to every three minutes: right for a cluster, long for a test.
"""

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

from nucleigan import slurm

RemoteExecutor.next_seconds_between_status_checks = property(  # type: ignore[method-assign]
    lambda self: 2.0, lambda self, value: None
)
slurm.LOOK_SECONDS = 2

if __name__ == "__main__":
    main()
