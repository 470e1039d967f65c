"""The tiny workflow on a real SLURM cluster that the tests start; without SLURM they skip."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from cluster.slurm import Cluster, missing
from tiny_workflow import Workflow

IMPATIENT = Path(__file__).with_name("impatient_snakemake.py")
# Seconds that nothing here takes, however busy the machine.
PATIENCE = 900


@dataclass(frozen=True)
class Site(Workflow):
    """The workflow as a site runs it: through SLURM, with a profile of its own.

    Attributes
    ----------
    accounts
        Whether the site's jobs belong to accounts.
    asks
        What it asks how they are, ``sacct`` or ``squeue``.
    """

    accounts: bool = False
    asks: str = "squeue"

    @contextmanager
    def submit(
        self,
        *targets: str,
        changes: Mapping[str, Any] | None = None,
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
        profile = self._profile(training)
        options = ["--profile", str(profile), "--verbose"]
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

    def _profile(self, training: Mapping[str, Any]) -> Path:
        """The profile as it is shipped, but for accounts, patience, and something of its own."""
        settings: dict[str, Any] = yaml.safe_load(
            (self.root / "profiles/slurm/config.yaml").read_text()
        )
        if not self.accounts:
            del settings["default-resources"]["slurm_account"]
        asked = settings["set-resources"]
        # One mapping in the file for three rules.
        asked["train_segmenter"] = {**asked["train_segmenter"], **training}
        if self.asks != "sacct":
            settings["slurm-status-command"] = self.asks
        settings["slurm-init-seconds-before-status-checks"] = 1
        settings["latency-wait"] = 10
        edited = self.folder / "profile"
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
def local(
    cluster: Cluster, finished: Workflow, tmp_path_factory: pytest.TempPathFactory
) -> Workflow:
    """The whole workflow, run without SLURM."""
    folder = tmp_path_factory.mktemp("local") / "run"
    shutil.copytree(finished.folder, folder)
    return replace(finished, folder=folder)


@pytest.fixture(scope="session")
def site(cluster: Cluster, finished: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The whole workflow, run through SLURM."""
    folder = tmp_path_factory.mktemp("site")
    start = (finished.root, folder, finished.sheet, (str(IMPATIENT),))
    site = Site(*start, cluster.accounts, cluster.asks)
    with site.submit("all") as process:
        site.finish(process)
    return site


@pytest.fixture(scope="session")
def prepared(cluster: Cluster, local: Workflow, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that has all but the trainings that tests start there, and asks squeue."""
    folder = tmp_path_factory.mktemp("prepared") / "run"
    shutil.copytree(local.folder, folder)
    return Site(local.root, folder, local.sheet, (str(IMPATIENT),), cluster.accounts)
