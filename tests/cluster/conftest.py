"""The tiny workflow on a real SLURM cluster that the tests start; without SLURM they skip."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from cluster.slurm import Cluster, missing
from tiny_workflow import Workflow, copy_checkout, draw_sheet

IMPATIENT = Path(__file__).with_name("impatient_snakemake.py")
SLIDES = ("train1", "val1", "test1")
# The number of threads is part of the result, and SLURM may give fewer than two.
ONE_THREAD: dict[str, Any] = {"compute": {"threads": 1}}
# Seconds that nothing here takes, however busy the machine.
PATIENCE = 900


class Site(Workflow):
    """The workflow as a site runs it: through SLURM, with a profile of its own."""

    @contextmanager
    def submit(
        self,
        *targets: str,
        changes: Mapping[str, Any],
        training: Mapping[str, Any] = MappingProxyType({}),
    ) -> Iterator[Popen[str]]:
        """Start snakemake, and leave none behind; what it says is in :attr:`said`.

        Parameters
        ----------
        targets, changes
            As of :class:`Workflow`.
        training
            What trainings of the segmenter ask for instead.
        """
        profile = edited_profile(self.root / "profiles/slurm", self.folder, training)
        options = ["--profile", str(profile)]
        with self.log.open("w") as log:
            process = self.start(*targets, changes=changes, options=options, output=log)
        try:
            yield process
        finally:
            process.kill()

    def finish(self, process: Popen[str]) -> None:
        """Wait for the end, which must be a good one."""
        assert process.wait(PATIENCE) == 0, self.said

    @property
    def log(self) -> Path:
        """What snakemake prints."""
        return self.folder / "snakemake.log"

    @property
    def said(self) -> str:
        """What snakemake has printed so far."""
        return self.log.read_text()

    def submitted(self) -> list[str]:
        """The number of each submission, in order."""
        return re.findall(r"submitted with SLURM jobid (\d+)", self.said)

    def slurm_log(self, number: str) -> str:
        """What a submission printed; SLURM's logs of failed jobs are kept."""
        (path,) = (self.folder / ".snakemake/slurm_logs").rglob(f"{number}.log")
        return path.read_text()


def edited_profile(profile: Path, folder: Path, training: Mapping[str, Any]) -> Path:
    """The profile as a small site without accounting edits it, and something of its own."""
    settings: dict[str, Any] = yaml.safe_load((profile / "config.yaml").read_text())
    del settings["default-resources"]["slurm_account"]
    asked = settings["set-resources"]
    # One mapping in the file for three rules.
    asked["train_segmenter"] = {**asked["train_segmenter"], **training}
    settings["slurm-status-command"] = "squeue"
    settings["slurm-init-seconds-before-status-checks"] = 1
    settings["latency-wait"] = 10
    edited = folder / "profile"
    edited.mkdir(exist_ok=True)
    (edited / "config.yaml").write_text(yaml.safe_dump(settings))
    return edited


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes with one GPU each."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, so that no edit of it meets a run."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def local(cluster: Cluster, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The whole workflow, run without SLURM."""
    folder = tmp_path_factory.mktemp("local")
    workflow = Workflow(checkout, folder, draw_sheet(folder / "slides", SLIDES))
    workflow.make("all", changes=ONE_THREAD)
    return workflow


@pytest.fixture(scope="session")
def submitted(
    cluster: Cluster, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Popen[str]]]:
    """The whole workflow on its way through SLURM."""
    folder = tmp_path_factory.mktemp("site")
    site = Site(checkout, folder, draw_sheet(folder / "slides", SLIDES), (str(IMPATIENT),))
    with site.submit("all", changes=ONE_THREAD) as process:
        yield site, process


@pytest.fixture(scope="session")
def site(submitted: tuple[Site, Popen[str]], local: Workflow) -> Site:
    """The whole workflow, run through SLURM, and meanwhile without."""
    site, process = submitted
    site.finish(process)
    return site


@pytest.fixture(scope="session")
def prepared(local: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that has all but the trainings that tests start there."""
    folder = tmp_path_factory.mktemp("prepared") / "run"
    shutil.copytree(local.folder, folder)
    return Site(local.root, folder, local.sheet, (str(IMPATIENT),))
