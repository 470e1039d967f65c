"""The workflow at a tiny size: slides drawn for it, settings, and runs in scratch folders."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import warm_snakemake
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from nucleigan.artifacts import digest_file, read_table
from nucleigan.slides.sheet import Slide, write_sheet

ROOT = Path(__file__).parents[1]
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
# Columns that tell the time.
TIMES = ["seconds", "waiting_seconds"]
SIDE = 144
# Seconds that no run takes.
PATIENCE = 600
# Stains of the drawn slides as optical densities: eosin everywhere, haematoxylin in the nuclei.
HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])

TINY: dict[str, Any] = {
    # Jobs beside each other use the cores better than threads within so little work. The number of
    # threads is part of a result, and SLURM may give fewer than two.
    "compute": {"threads": 1},
    "patches": {"size": 64, "stride": 64},
    "polygons": {"count": 16, "shards": 2},
    "cyclegan": {
        "epochs": 2,
        "decay_from": 1,
        "steps_per_epoch": 2,
        "crop": 32,
        "average_decay": 0.5,
        "generator": {"width": 4, "depth": 1, "upsampling": "resize"},
        "discriminator": {"width": 4, "layers": 2},
    },
    "synthesis": {"count": 16, "shards": 2, "batch_size": 4, "judge_epochs": 1},
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
        "validate_every": 1,
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
    program
        What Python runs as snakemake.
    """

    root: Path
    folder: Path
    sheet: Path
    program: tuple[str, ...] = ("-m", "snakemake")

    def run(
        self,
        *targets: str,
        changes: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        cores: int = 2,
    ) -> subprocess.CompletedProcess[str]:
        """Run snakemake on the tiny configuration with some changes; output and errors together."""
        process = self.start(*targets, changes=changes, options=["--cores", str(cores), *options])
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def start(
        self,
        *targets: str,
        changes: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        output: int | IO[str] = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start snakemake as :meth:`run` does, and leave it running."""
        return subprocess.Popen(
            [sys.executable, *self.program, *self._arguments(targets, changes, options)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.root)},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def make(self, *targets: str, **arguments: Any) -> str:
        """Run it, and fail with its output where it fails."""
        done = self.run(*targets, **arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def planned(self, *targets: str, changes: Mapping[str, Any] | None = None) -> set[str]:
        """Rules that would run, without the targets that only collect."""
        options = ["--cores", "2", "--dry-run"]
        arguments = self._arguments(targets, changes, options)
        log = self.folder.with_suffix(".planned")
        status = warm_snakemake.call(arguments, self.root, self.folder, log, PATIENCE)
        text = log.read_text()
        assert status == 0, text
        return set(re.findall(r"^(?:local)?rule (\w+):$", text, re.MULTILINE)) - {"all", *targets}

    def _arguments(
        self, targets: Sequence[str], changes: Mapping[str, Any] | None, options: Sequence[Any]
    ) -> list[str]:
        """Those of the command, for the tiny configuration with some changes."""
        overlay = self.folder / "overlay.yaml"
        overlay.write_text(
            yaml.safe_dump(overlaid({"slides": str(self.sheet), **TINY}, changes or {}))
        )
        arguments = ["--snakefile", self.root / "Snakefile", "--directory", self.folder]
        arguments += ["--configfile", overlay, *options, "--", *targets]
        return [str(argument) for argument in arguments]

    @property
    def results(self) -> Path:
        """Folder of all that is made."""
        return self.folder / "results"


def only_error(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence that a failed run says."""
    (line,) = errors(done)
    return line


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The sentences that a failed run says; nothing in its output looks like a traceback."""
    assert done.returncode != 0
    lines = done.stdout.splitlines()
    assert [line for line in lines if "Traceback" in line or ", in <module>" in line] == []
    # Snakemake writes a message and the end of its line one after the other: what a job says may
    # come between.
    return re.findall(r"error: (?:(?!error: ).)*", done.stdout)


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


def draw_sheet(folder: Path, names: Sequence[str] | None = None) -> Path:
    """Write slides of all splits, one of them without annotation, or some of them; their sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    slides = {
        "train1": dict(organ="breast", split="train"),
        "train2": dict(organ="kidney", split="train"),
        "val1": dict(organ="breast", split="val"),
        "test1": dict(organ="breast", split="test"),
        "test2": dict(organ="kidney", split="test"),
        "plain": dict(organ="kidney", split="test", annotated=False),
    }
    chosen = [draw_slide(folder, name, **slides[name]) for name in names or slides]
    write_sheet(folder / "slides.csv", chosen)
    return folder / "slides.csv"


def copy_checkout(copy: Path) -> Path:
    """Copy what the workflow needs of the repository, so that tests may edit it."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / part, copy / part)
    return copy


def assert_same_results(one: Workflow, other: Workflow) -> None:
    """Two runs left the same files, bit for bit, but for what tells the time."""
    assert artifacts(one) == artifacts(other)
    for path in sorted(artifacts(other)):
        assert_same_file(one.results / path, other.results / path)


def artifacts(workflow: Workflow) -> set[Path]:
    """All but logs, benchmarks, and the page that shows those."""
    paths = {path.relative_to(workflow.results) for path in workflow.results.rglob("*.*")}
    return {path for path in paths if path.parts[0] not in ("logs", "benchmarks", "report")}


def facts_of(weights: Path) -> dict[str, Any]:
    """What a file of weights says of itself, without the time that its training took."""
    with safe_open(weights, framework="numpy") as file:
        facts = json.loads(file.metadata()["nucleigan"])
    facts.get("training", {}).pop("seconds", None)
    return facts


def assert_same_file(one: Path, other: Path) -> None:
    """Bit for bit, but for what tells the time."""
    if one.suffix == ".safetensors":
        mine, theirs = load_file(one), load_file(other)
        assert mine.keys() == theirs.keys()
        assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine), one
        assert facts_of(one) == facts_of(other), one
    elif one.name == "history.csv":
        tables = [read_table(path).drop(columns=TIMES) for path in (one, other)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    # Its digest was checked above.
    elif one.name != digest_file("history.csv").name:
        assert one.read_bytes() == other.read_bytes(), one
