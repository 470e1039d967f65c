"""Disks to fill."""

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tiny_workflow import Workflow


@pytest.fixture
def disk(copied: Workflow) -> Iterator[Callable[[str], None]]:
    """Moves the results to a disk of their own; called with options, it mounts that anew."""
    kept = copied.folder / "kept"
    copied.results.rename(kept)
    copied.results.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200m", "results", str(copied.results)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    shutil.copytree(kept, copied.results, dirs_exist_ok=True)
    shutil.rmtree(kept)

    def remount(options: str) -> None:
        subprocess.run(
            ["mount", "-o", f"remount,{options}", str(copied.results)], check=True, timeout=60
        )

    yield remount
    subprocess.run(["umount", "--lazy", str(copied.results)], check=True, timeout=60)
