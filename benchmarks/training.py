"""One training step of both GANs, as trained here and run plainly, side by side.

Plainly is float32, PyTorch's default memory layout, and every batch prepared before its step, not
beside the step before. Networks, losses, batches and threads are the same:

    python benchmarks/training.py --configfile configs/kumar-cpu.yaml

Achieved rate: multiplications and additions of the convolutions of a step (counted by PyTorch) over
its time, as part of the machine's own rate for products of large bfloat16 matrices.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def default_layout() -> Iterator[None]:
    """Build and train the conditional GAN in PyTorch's default memory layout."""
    before = cgan.CHANNELS_LAST
    cgan.CHANNELS_LAST = torch.contiguous_format
    try:
        yield
    finally:
        cgan.CHANNELS_LAST = before


def seconds(model: Any, prepared: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    """Seconds of one step a batch, waiting for the batch included, the first left out."""
    taken = []
    began = time.perf_counter()
    for step, batch in enumerate(prepared):
        model.step(batch, generator(0, "pool", step))
        now = time.perf_counter()
        taken.append(now - began)
        began = now
    return taken[1:]


def matrix_rate(threads: int) -> float:
    """GFLOP/s of products of bfloat16 matrices, the best of five."""
    a, b = (torch.randn(MATRIX, MATRIX).bfloat16() for _ in range(2))
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


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, default=ROOT / "configs/kumar-cpu.yaml")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    config = load(ROOT / "config.yaml", options.configfile)
    compute = config.compute.model_copy(update={"device": "cpu", "threads": options.threads})
    fast = computing.prepare(compute)
    slow = computing.prepare(compute.model_copy(update={"precision": "float32"}))
    channels = masks.channels(config.masks)
    rate = matrix_rate(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {fast.precision}")
    print(f"matrix products: {rate:.0f} GFLOP/s\n")
    print("| step | ours, s | plainly, s | ratio | GFLOP | of the matrix rate |")
    print("|---|---:|---:|---:|---:|---:|")
    kinds: list[tuple[str, Any, Any, JitterSettings]] = [
        ("CycleGAN", cyclegan.CycleGAN, config.cyclegan, cyclegan.JITTER),
        ("cGAN", cgan.ConditionalGAN, config.segmentation, config.segmentation.jitter),
    ]
    for name, build, settings, jitter in kinds:
        make = batches(settings, jitter, config)
        model = build(settings, channels, fast, 0)
        gigaflop = operations(model, make(0))
        mine = seconds(model, prefetch(make, 0, options.steps + 1))
        with default_layout():
            plain = build(settings, channels, slow, 0)
            theirs = seconds(plain, map(make, range(options.steps + 1)))
        # Once more, the other way round, so that a machine that warms up favours neither.
        mine += seconds(model, prefetch(make, 0, options.steps + 1))
        a, b = statistics.median(mine), statistics.median(theirs)
        print(
            f"| {name} | {a:.2f} | {b:.2f} | {b / a:.2f} | {gigaflop:.0f} | "
            f"{100 * gigaflop / a / rate:.0f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
