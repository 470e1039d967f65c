"""Snakemake, imported once: each call is a process of its own that need not import it again.

For runs that look without doing anything, of which the tests have many.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

PRELOADED = ["snakemake.cli", "snakemake.dag", "snakemake.workflow"]


def call(arguments: Sequence[str], root: Path, folder: Path, log: Path, patience: float) -> int:
    """Call snakemake as a command of a checkout, in a folder; its exit status.

    Parameters
    ----------
    arguments
        Those of the command.
    root
        The checkout whose package it imports.
    folder
        Where it runs.
    log
        Takes output and errors.
    patience
        Seconds until it is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    variables = {**os.environ, "PYTHONPATH": str(root)}
    process = context.Process(target=_run, args=(list(arguments), variables, root, folder, log))
    process.start()
    process.join(patience)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run(
    arguments: list[str], variables: dict[str, str], root: Path, folder: Path, log: Path
) -> None:
    with log.open("wb") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path.insert(0, str(root))
    from snakemake.cli import main

    main(arguments)
