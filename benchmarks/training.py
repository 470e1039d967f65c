"""One training step of both GANs, as trained here and run plainly, side by side.

Plainly is float32, PyTorch's default memory layout, memory given back to the system after each
step, and every batch prepared before its step, not beside the step before. Networks, losses,
batches and threads are the same:

    python benchmarks/training.py --configfile configs/kumar-cpu.yaml

``--compile`` compares ours with ours through ``torch.compile`` instead; compiling takes minutes.

Achieved rate: multiplications and additions of a step (counted by PyTorch) over its time, as part
of the machine's own rate for products of large matrices in the precision of ours. It is given for
the operations that were done, and for those of the plain step: the same result may be had by fewer.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nucleigan import masks
from nucleigan.config import Config, JitterSettings, PolygonSettings, load
from nucleigan.masks import sample_polygons
from nucleigan.models import cgan, cyclegan
from nucleigan.randomness import generator
from nucleigan.training import compute as computing
from nucleigan.training.augment import augment
from nucleigan.training.data import prefetch, to_network

ROOT = Path(__file__).parents[1]
MATRIX = 2048


def batches(
    settings: Any, jitter: JitterSettings, config: Config
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Make the batch of a step from noise and polygons, by the work that real patches take."""
    size = config.patches.size
    images = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    drawn = [
        sample_polygons(generator(0, "bench", n), PolygonSettings(fit=False), size)
        for n in range(8)
    ]

    def make(step: int) -> tuple[np.ndarray, np.ndarray]:
        made, encoded = [], []
        for place in range(settings.batch_size):
            rng = generator(0, "bench", step, place)
            image, labels = augment(images[place % 8], drawn[place % 8], settings.crop, jitter, rng)
            assert image is not None and labels is not None
            made.append(to_network(image))
            encoded.append(masks.encode(labels, config.masks))
        return np.stack(made), np.stack(encoded)

    return make


def seconds(model: Any, prepared: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Seconds of one step a batch, waiting for the batch included."""
    taken = []
    began = time.perf_counter()
    for step, batch in enumerate(prepared):
        model.step(batch, generator(0, "pool", step))
        now = time.perf_counter()
        taken.append(now - began)
        began = now
    return taken


def matrix_rate(precision: str) -> float:
    """GFLOP/s of products of matrices of that precision, the best of five."""
    kind = getattr(torch, precision)
    a, b = (torch.randn(MATRIX, MATRIX).to(kind) for _ in range(2))
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * MATRIX**3 / best / 1e9


def operations(model: Any, batch: tuple[np.ndarray, np.ndarray]) -> float:
    """GFLOP of one step."""
    with FlopCounterMode(display=False) as counter:
        model.step(batch, generator(0, "count"))
    return counter.get_total_flops() / 1e9


def measure(name: str, how: str, config: Config, steps: int) -> tuple[list[float], float]:
    """Seconds of the steps and GFLOP of one; in a process of its own, whose memory it sets up.

    ``how`` is ``ours``, ``plainly``, or ``compiled``, whose first step compiles.
    """
    if how == "plainly":
        computing.CHANNELS_LAST = cgan.CHANNELS_LAST = torch.contiguous_format
        precision = {"precision": "float32"}
    else:
        computing.keep_memory()
        precision = {}
    compute = computing.prepare(config.compute.model_copy(update=precision))
    channels = masks.channels(config.masks)
    if name == "CycleGAN":
        model: Any = cyclegan.CycleGAN(config.cyclegan, channels, compute, 0)
        learning = [model.networks.to_image, model.networks.to_mask]
        make = batches(config.cyclegan, cyclegan.JITTER, config)
    else:
        model = cgan.ConditionalGAN(config.segmentation, channels, compute, 0)
        learning = [model.segmenter]
        make = batches(config.segmentation, config.segmentation.jitter, config)
    gigaflop = operations(model, make(0))
    if how == "compiled":
        # The discriminators take a small part of a step.
        for network in learning:
            network.compile()
    alone = how == "plainly"
    prepared = map(make, range(steps + 1)) if alone else prefetch(make, 0, steps + 1)
    return seconds(model, prepared), gigaflop


def apart(*arguments: Any) -> tuple[list[float], float]:
    """Call :func:`measure` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def compare_plain(config: Config, steps: int, rate: float) -> None:
    """The table of ours beside the plain step."""
    print("| step | ours, s | plainly, s | ratio | GFLOP | rate | GFLOP, plainly | its rate |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in ("CycleGAN", "cGAN"):
        mine, gigaflop = apart(name, "ours", config, steps)
        theirs, asked = apart(name, "plainly", config, steps)
        # Once more, the other way round, so that a machine that warms up favours neither.
        again, _ = apart(name, "ours", config, steps)
        a, b = statistics.median(mine[1:] + again[1:]), statistics.median(theirs[1:])
        print(
            f"| {name} | {a:.3f} | {b:.3f} | {b / a:.2f} | {gigaflop:.0f} | "
            f"{100 * gigaflop / a / rate:.0f} % | {asked:.0f} | {100 * asked / a / rate:.0f} % |",
            flush=True,
        )


def compare_compiled(config: Config, steps: int, rate: float) -> None:
    """The table of ours beside the same, compiled."""
    print("| step | ours, s | compiled, s | ratio | the first, s | rate |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in ("CycleGAN", "cGAN"):
        mine, gigaflop = apart(name, "ours", config, steps)
        (first, *theirs), _ = apart(name, "compiled", config, steps)
        a, b = statistics.median(mine[1:]), statistics.median(theirs)
        print(
            f"| {name} | {a:.3f} | {b:.3f} | {a / b:.2f} | {first:.0f} | "
            f"{100 * gigaflop / b / rate:.0f} % |",
            flush=True,
        )


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, default=ROOT / "configs/kumar-cpu.yaml")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="ours beside ours compiled")
    options = parser.parse_args()
    config = load(ROOT / "config.yaml", options.configfile)
    compute = config.compute.model_copy(update={"device": "cpu", "threads": options.threads})
    config = config.model_copy(update={"compute": compute})
    precision = computing.prepare(compute).precision
    rate = matrix_rate(precision)
    print(f"torch {torch.__version__}, {options.threads} threads, {precision}")
    print(f"matrix products: {rate:.0f} GFLOP/s\n")
    (compare_compiled if options.compile else compare_plain)(config, options.steps, rate)


if __name__ == "__main__":
    main()
