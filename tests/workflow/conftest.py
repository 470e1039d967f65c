"""Runs of the workflow in scratch folders, from a copy of the repository that tests may edit."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from nucleigan.slides.sheet import Slide, write_sheet

ROOT = Path(__file__).parents[2]
PARTS = (
    "config.yaml",
    "Snakefile",
    "envs",
    "nucleigan",
    "profiles",
    "report",
    "rules",
    "workflow_scripts",
)
SIDE = 144
# Stains of the drawn slides as optical densities: eosin everywhere, haematoxylin in the nuclei.
HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])

TINY: dict[str, Any] = {
    "patches": {"size": 64, "stride": 64},
    "polygons": {"count": 16, "shards": 2},
    "cyclegan": {
        "epochs": 2,
        "decay_from": 1,
        "steps_per_epoch": 2,
        "crop": 32,
        "average_decay": 0.5,
        "generator": {"width": 4, "depth": 1},
        "discriminator": {"width": 4, "layers": 2},
    },
    "synthesis": {"count": 16, "shards": 2, "batch_size": 4},
    "segmentation": {
        "epochs": 2,
        "decay_from": 1,
        "steps_per_epoch": 2,
        "batch_size": 2,
        "crop": 32,
        "average_decay": 0.5,
        "generator": {"kind": "unet", "width": 4, "depth": 2},
        "discriminator": {"width": 4, "layers": 2},
        "jitter": {"resize": 64},
    },
    "prediction": {"tile": 64, "tile_overlap": 16},
}


@dataclass(frozen=True)
class Workflow:
    """The workflow of one checkout, run in one folder.

    Attributes
    ----------
    root
        The checkout.
    folder
        Where it runs; holds ``results``.
    sheet
        The sample sheet.
    """

    root: Path
    folder: Path
    sheet: Path

    def run(
        self,
        *targets: str,
        changes: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        cores: int = 2,
    ) -> subprocess.CompletedProcess[str]:
        """Run snakemake on the tiny configuration with some changes; output and errors together."""
        overlay = self.folder / "overlay.yaml"
        overlay.write_text(
            yaml.safe_dump(overlaid({"slides": str(self.sheet), **TINY}, changes or {}))
        )
        command = [sys.executable, "-m", "snakemake", "--snakefile", self.root / "Snakefile"]
        command += ["--directory", self.folder, "--cores", cores, "--configfile", overlay, *options]
        return subprocess.run(
            [str(part) for part in (*command, "--", *targets)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )

    def make(self, *targets: str, **arguments: Any) -> str:
        """Run it, and fail with its output where it fails."""
        done = self.run(*targets, **arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def planned(self, *targets: str, **arguments: Any) -> set[str]:
        """Rules that would run, without the targets that only collect."""
        text = self.make(*targets, options=["--dry-run"], **arguments)
        return set(re.findall(r"^(?:local)?rule (\w+):$", text, re.MULTILINE)) - {"all", *targets}

    @property
    def results(self) -> Path:
        """Folder of all that is made."""
        return self.folder / "results"


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with others over them."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = overlaid(old, value) if both else value
    return merged


def draw_slide(folder: Path, name: str, organ: str, split: str, annotated: bool = True) -> Slide:
    """Write a small H&E-like PNG with round nuclei, and its label map as NPY."""
    rng = np.random.default_rng(int.from_bytes(name.encode()[-4:], "big"))
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.int32)
    for row in range(12, SIDE - 8, 20):
        for column in range(12, SIDE - 8, 20):
            shift = rng.integers(-3, 4, 2)
            disc = np.hypot(y - row - shift[0], x - column - shift[1]) < rng.uniform(4, 7)
            labels[disc] = labels.max() + 1
    nucleus = labels > 0
    eosin = np.where(nucleus, 0.2, 0.5) + rng.uniform(0, 0.1, labels.shape)
    amounts = np.stack([np.where(nucleus, 0.95, 0.05), eosin])
    density = np.tensordot(amounts, np.stack([HAEMATOXYLIN, EOSIN]), axes=(0, 0))
    image = 255 * np.exp(-density) + rng.normal(0, 2, (SIDE, SIDE, 3))
    path = folder / f"{name}.png"
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
    annotation = folder / f"{name}.npy" if annotated else None
    if annotation is not None:
        np.save(annotation, labels)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Slide(name, organ, split, path, annotation, mpp=0.25, sha256=digest)


def draw_sheet(folder: Path) -> Path:
    """Write slides of all splits, one of them without annotation, and their sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    slides = [
        draw_slide(folder, "train1", "breast", "train"),
        draw_slide(folder, "train2", "kidney", "train"),
        draw_slide(folder, "val1", "breast", "val"),
        draw_slide(folder, "test1", "breast", "test"),
        draw_slide(folder, "test2", "kidney", "test"),
        draw_slide(folder, "plain", "kidney", "test", annotated=False),
    ]
    write_sheet(folder / "slides.csv", slides)
    return folder / "slides.csv"


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository."""
    copy = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, copy / part)
    return copy


@pytest.fixture
def edited(checkout: Path) -> Callable[[str, str, str], AbstractContextManager[None]]:
    """Replace text in a file of the checkout for a while; its time changes, too."""

    @contextmanager
    def edit(name: str, before: str, after: str) -> Iterator[None]:
        path = checkout / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{path} holds {before!r} {text.count(before)} times"
        path.write_text(text.replace(before, after), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    return edit


@pytest.fixture(scope="session")
def finished(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The whole workflow, run once on two cores with two shards; only look at its results."""
    folder = tmp_path_factory.mktemp("finished")
    workflow = Workflow(checkout, folder, draw_sheet(folder / "slides"))
    workflow.make("all")
    return workflow


@pytest.fixture
def fresh(checkout: Path, tmp_path: Path) -> Workflow:
    """The workflow with slides of its own, nothing run."""
    return Workflow(checkout, tmp_path, draw_sheet(tmp_path / "slides"))
