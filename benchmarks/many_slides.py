"""What the number of slides costs: planning, and the stages before the networks.

    python benchmarks/many_slides.py --slides 100 1000 10000 --run 100 200

draws that many slides of 64 × 64 pixels into a scratch folder and measures, for each number of
``--slides``, `snakemake --dry-run` of the whole workflow (seconds, peak memory) and, for each of
``--run``, a real run of the targets `slides` and `stain` (seconds a slide, by the clock and of
processors, which other work on the machine changes less), then the same command again with nothing
left to do. Slides are as small as they can be: what is measured is what a slide costs beside its
pixels. Snakemake takes its options from profiles/default, as in every run of this workflow.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from nucleigan.slides.sheet import Slide, write_sheet

ROOT = Path(__file__).parents[1]
SIDE = 64
SETTINGS = {
    "patches": {"size": 64, "stride": 64},
    "polygons": {"count": 16, "shards": 1},
    "synthesis": {"count": 16, "shards": 1},
    "cyclegan": {"crop": 64},
    "segmentation": {"crop": 64},
    "prediction": {"tile": 64, "tile_overlap": 16},
}
ORGANS = ("breast", "liver", "kidney", "prostate", "bladder", "colorectal", "stomach")


class Cost(NamedTuple):
    """Seconds of a command, those of processors with all it starts, and its peak memory, MiB."""

    seconds: float
    processor: float
    memory: float


def draw_slides(folder: Path, count: int) -> Path:
    """Different slides with a few dark nuclei, all annotated; returns their sheet."""
    slides = []
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        rng = np.random.default_rng(number)
        labels = np.zeros((SIDE, SIDE), np.uint16)
        for nucleus, (cy, cx) in enumerate(rng.uniform(6, SIDE - 6, (6, 2)), 1):
            labels[np.hypot(y - cy, x - cx) < 5] = nucleus
        colour = np.where(labels[..., None] > 0, (110, 70, 150), (225, 150, 190))
        pixels = np.clip(colour + rng.normal(0, 8, colour.shape), 0, 255).astype(np.uint8)
        image, annotation = folder / f"s{number}.png", folder / f"s{number}.labels.png"
        Image.fromarray(pixels).save(image)
        Image.fromarray(labels).save(annotation)
        organ = ORGANS[number % len(ORGANS)]
        # One in ten is judged: each of them costs two more jobs.
        split = "test" if number % 10 == 9 else "train"
        slides.append(Slide(f"s{number}", organ, split, image, annotation, mpp=0.25))
    write_sheet(folder / "sheet.csv", slides)
    return folder / "sheet.csv"


def snakemake(folder: Path, sheet: Path, *arguments: str) -> Cost:
    """Run the workflow in a folder; raises where it fails."""
    overlay = folder / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"slides": str(sheet), **SETTINGS}))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--configfile", overlay, "--quiet", "all", *arguments]
    began = time.monotonic()
    with (folder / "snakemake.log").open("w") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((folder / "snakemake.log").read_text()[-2000:])
    processor = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - began, processor, usage.ru_maxrss / 1024)


def plan(count: int) -> str:
    """The row of a dry run."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cost = snakemake(folder, draw_slides(folder, count), "--dry-run")
    return (
        f"| {count:,} | {cost.seconds:.1f} | {1000 * cost.seconds / count:.1f} | "
        f"{cost.memory:,.0f} |"
    )


def run(count: int, cores: int) -> str:
    """The row of a real run of the first stages, and of a second one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sheet = draw_slides(folder, count)
        targets = ("--cores", str(cores), "--", "slides", "stain")
        first, again = snakemake(folder, sheet, *targets), snakemake(folder, sheet, *targets)
    return (
        f"| {count:,} | {first.seconds:.1f} | {first.seconds / count:.2f} | "
        f"{first.processor / count:.2f} | {first.memory:,.0f} | {again.seconds:.1f} |"
    )


def main() -> None:
    """Print both tables in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slides", type=int, nargs="*", default=[100, 1000], help="to plan")
    parser.add_argument("--run", type=int, nargs="*", default=[20, 40], help="to run")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    print("| slides | seconds to plan | ms a slide | MiB |\n|---:|---:|---:|---:|")
    for count in options.slides:
        print(plan(count), flush=True)
    print("\n| slides | seconds | a slide | of processors | MiB | again, s |\n" + "|---:" * 6 + "|")
    for count in options.run:
        print(run(count, options.cores), flush=True)


if __name__ == "__main__":
    main()
