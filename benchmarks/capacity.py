"""What a cluster does in a day, from the benchmark files of a finished run.

    python benchmarks/capacity.py results/kumar-cpu/benchmarks configs/kumar-cpu.yaml \
        --cluster 1 2 0 --cluster 10 32 4

names the folder of Snakemake's benchmark files, the configuration files of that run, and clusters
as nodes, cores a node and GPUs. It prints what each stage costs, and the model's answers:

    T = Σ units × core seconds a unit / cores + trainings + jobs that run once

Core seconds are processor time, so that other work beside the run hardly changes them; of jobs of
a few seconds they are all their seconds. Slides of the run are taken for 1000 × 1000 pixels. The
start of each process is counted with its job, so that larger slides and shards cost less than the
model says. Cores are taken for as fast as those of the run, jobs of slides and pairs run on cores
alone, and trainings, one after the other, on as many as `compute.threads` says. A GPU takes a
training for as long as these cores would (``--gpu-speed`` where it was measured).
"""

import argparse
import csv
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nucleigan.config import Config, load

ROOT = Path(__file__).parents[1]
DAY = 86_400
# When Snakemake looks at the processor time of a job: twice a second in its first seconds, then
# rarely. What follows the last look is estimated by what was before, and the first look of a job of
# a few seconds misses most of it.
OFTEN, RARELY, SHORT = 15.5, 30, 5
# Jobs that each slide, and each pair, needs before it is used.
SLIDE_STAGES = ("ingestion", "stain profile", "normalisation", "prediction")
PAIR_STAGES = ("polygon map", "synthesis", "agreement")
TRAININGS = ("CycleGAN", "judge", "segmenter")


class Stage(NamedTuple):
    """Jobs of a kind: their benchmark files, and how many units a job works on.

    A file is of the first stage whose pattern its name fits, without ``.tsv``. ``threaded`` jobs
    take the threads of the configuration, others one.
    """

    name: str
    files: str
    unit: str
    units: Callable[[Config, int], float]
    threaded: bool = False


class Cost(NamedTuple):
    """What a stage took: jobs, and core seconds a unit."""

    stage: Stage
    jobs: int
    seconds: float


def _one(config: Config, jobs: int) -> float:
    return 1


def _pairs(config: Config, jobs: int) -> float:
    return config.synthesis.count / jobs


def _steps(epochs: int, steps: int | None) -> float:
    if steps is None:
        raise SystemExit("the configuration names no steps_per_epoch: the run's steps are unknown")
    return epochs * steps


STAGES = (
    Stage("ingestion", r"slides/(?!contact_sheet$)[^/]+", "slide", _one),
    Stage("stain profile", r"stain/[^/]+\.profile", "slide", _one),
    Stage("normalisation", r"stain/(?!(?:contact_sheet|reference|vectors)$)[^/]+", "slide", _one),
    Stage("patches", r"patches/[^/]+", "run", _one),
    Stage("fit of the polygons", r"polygons/sampler", "run", _one),
    Stage("polygon map", r"polygons/\d+", "map", lambda c, jobs: c.polygons.count / jobs),
    Stage(
        "CycleGAN",
        r"cyclegan/training",
        "step",
        lambda c, _: _steps(c.cyclegan.epochs, c.cyclegan.steps_per_epoch),
        threaded=True,
    ),
    Stage("synthesis", r"synthesis/\d+", "pair", _pairs, True),
    Stage(
        "judge",
        r"synthesis/judge",
        "step",
        lambda c, _: _steps(c.synthesis.judge_epochs, c.segmentation.steps_per_epoch),
        threaded=True,
    ),
    Stage(
        "agreement",
        r"synthesis/\d+\.agreement",
        "pair",
        _pairs,
        threaded=True,
    ),
    Stage("quality of the pairs", r"synthesis/quality", "run", _one, threaded=True),
    Stage(
        "segmenter",
        r"segmentation/.+/\d+",
        "step",
        lambda c, _: _steps(c.segmentation.epochs, c.segmentation.steps_per_epoch),
        threaded=True,
    ),
    Stage("thresholds", r"segmentation/.+\.thresholds", "run", _one, threaded=True),
    Stage("prediction", r"predictions/.+/\d+/[^/]+", "slide", _one),
    Stage("evaluation", r"evaluation/.+/\d+/[^/]+", "slide", _one),
    Stage("calibration", r"evaluation/.+\.calibration", "run", _one, threaded=True),
    Stage("pictures, tables and report", r".+", "run", _one),
)


def measure(folder: Path, config: Config) -> dict[str, Cost]:
    """The cost of every stage that has benchmark files in a folder, in the order of the data."""
    found: dict[Stage, list[float]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        stage = _stage(path.relative_to(folder))
        found.setdefault(stage, []).extend(core_seconds(row, stage, config) for row in rows)
    return {stage.name: _cost(stage, found[stage], config) for stage in STAGES if stage in found}


def _stage(path: Path) -> Stage:
    name = path.as_posix().removesuffix(".tsv")
    return next(stage for stage in STAGES if re.fullmatch(stage.files, name))


def core_seconds(row: dict[str, str], stage: Stage, config: Config) -> float:
    """Seconds of processor time of a job, from a row of its benchmark file."""
    seconds = float(row["s"])
    if seconds < SHORT:
        return seconds * (config.compute.threads if stage.threaded else 1)
    last = OFTEN + RARELY * ((seconds - OFTEN) // RARELY) if seconds > OFTEN else seconds
    return float(row["cpu_time"]) * seconds / last


def _cost(stage: Stage, seconds: list[float], config: Config) -> Cost:
    # Jobs that run once are added up; of equal ones the median, the lower one of two.
    taken = math.fsum(seconds) if stage.unit == "run" else statistics.median_low(seconds)
    return Cost(stage, len(seconds), taken / stage.units(config, len(seconds)))


class Cluster(NamedTuple):
    """Nodes, cores of each, and GPUs of all, so many times as fast as a training's cores."""

    nodes: int
    cores: int
    gpus: int
    speed: float = 1.0

    def __str__(self) -> str:
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        return f"{nodes} × {self.cores} cores" + (f", {self.gpus} GPUs" if self.gpus else "")


def slide_seconds(
    costs: dict[str, Cost], pixels: float, tissue: float, glass_seconds: float
) -> float:
    """Core seconds of a slide.

    Parameters
    ----------
    costs
        Of :func:`measure`; slides of one megapixel.
    pixels, tissue
        Megapixels of the slide, and those of them that the network sees.
    glass_seconds
        Core seconds of a megapixel of glass.
    """
    each = math.fsum(costs[name].seconds for name in SLIDE_STAGES)
    return tissue * each + (pixels - tissue) * glass_seconds


def training_seconds(costs: dict[str, Cost], config: Config, cluster: Cluster) -> float:
    """Seconds of the trainings of a run of this configuration, one after the other."""
    speed = cluster.speed if cluster.gpus else 1.0
    stages = [costs[name] for name in TRAININGS]
    taken = math.fsum(cost.seconds * cost.stage.units(config, 1) for cost in stages)
    return taken / (config.compute.threads * speed)


def run_seconds(
    costs: dict[str, Cost], config: Config, cluster: Cluster, slides: int, pairs: int
) -> float:
    """Seconds of a whole run: slides of one megapixel, all of them judged, and pairs."""
    cores = cluster.nodes * cluster.cores
    of_slides = slide_seconds(costs, 1, 1, 0) + costs["evaluation"].seconds
    of_pairs = math.fsum(costs[name].seconds for name in PAIR_STAGES)
    once = math.fsum(cost.seconds for cost in costs.values() if cost.stage.unit == "run")
    spread = (slides * of_slides + pairs * of_pairs) / cores
    return spread + once + training_seconds(costs, config, cluster)


def stage_table(costs: dict[str, Cost]) -> str:
    """What each stage costs."""
    rows = ["| stage | unit | jobs | core seconds a unit |", "|---|---|---:|---:|"]
    rows += [
        f"| {name} | {cost.stage.unit} | {cost.jobs} | {_rounded(cost.seconds)} |"
        for name, cost in costs.items()
    ]
    return "\n".join(rows)


def cluster_table(
    costs: dict[str, Cost], config: Config, clusters: list[Cluster], options: argparse.Namespace
) -> str:
    """What clusters do in a day, and how long a run takes them."""
    pair = math.fsum(costs[name].seconds for name in PAIR_STAGES)
    tile = slide_seconds(costs, 1, 1, 0)
    whole = slide_seconds(costs, options.pixels, options.tissue, options.glass_seconds)
    rows = [
        f"| cluster | tiles a day | slides a day | pairs a day | trainings a run, h | a run of "
        f"{options.slides:,} tiles and {options.pairs:,} pairs, h |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for cluster in clusters:
        day = DAY * cluster.nodes * cluster.cores
        trainings = training_seconds(costs, config, cluster) / 3600
        run = run_seconds(costs, config, cluster, options.slides, options.pairs) / 3600
        rows.append(
            f"| {cluster} | {_rounded(day / tile)} | {_rounded(day / whole)} | "
            f"{_rounded(day / pair)} | {trainings:.1f} | {run:.1f} |"
        )
    return "\n".join(rows)


def _rounded(number: float) -> str:
    """Two significant digits: the model has no more."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmarks", type=Path, help="folder of a run's benchmark files")
    parser.add_argument("configfiles", type=Path, nargs="*", help="what that run was given")
    parser.add_argument(
        "--planned", type=Path, nargs="*", help="what the planned run is given; else the same"
    )
    parser.add_argument(
        "--cluster",
        type=int,
        nargs=3,
        action="append",
        metavar=("NODES", "CORES", "GPUS"),
        required=True,
    )
    parser.add_argument("--gpu-speed", type=float, default=1.0, help="of trainings; 1: as the run")
    parser.add_argument("--pixels", type=float, default=8000, help="of a whole slide, megapixels")
    parser.add_argument("--tissue", type=float, default=500, help="of these, megapixels")
    parser.add_argument(
        "--glass-seconds", type=float, default=0.34, help="a megapixel (large_slide.py)"
    )
    parser.add_argument("--slides", type=int, default=1000, help="tiles of the run")
    parser.add_argument("--pairs", type=int, default=4650, help="of the run")
    options = parser.parse_args()
    config = load(ROOT / "config.yaml", *options.configfiles)
    costs = measure(options.benchmarks, config)
    print(stage_table(costs))
    if missing := {*SLIDE_STAGES, *PAIR_STAGES, *TRAININGS, "evaluation"} - costs.keys():
        raise SystemExit(f"{options.benchmarks} has no jobs of: {', '.join(sorted(missing))}")
    clusters = [Cluster(*numbers, options.gpu_speed) for numbers in options.cluster]
    print()
    if options.planned is not None:
        config = load(ROOT / "config.yaml", *options.planned)
    print(cluster_table(costs, config, clusters, options))


if __name__ == "__main__":
    main()
