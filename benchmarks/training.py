"""One training step of both GANs, as trained here and run plainly, side by side.

Plainly is float32, PyTorch's default memory layout, memory given back to the system after each
step, and every batch prepared before its step, not beside the step before. Networks, losses,
batches and threads are the same:

    python benchmarks/training.py --configfile configs/kumar-cpu.yaml

``--compile`` compares ours with ours through ``torch.compile`` instead (compiling takes minutes),
``--layout`` with ours in PyTorch's default memory layout.

Achieved rate: multiplications and additions of a step (counted by PyTorch) over its time, as part
of the machine's own rate for products of large matrices in the precision of ours, which is
measured before and after the steps of each GAN: a shared machine's varies, and the mean of both
counts. It is given for the operations that were done, and for those of the plain step in our
time: the same result may be had by fewer. Waiting is the part of a step in which ours waits for
its batch.
"""

import argparse
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

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


class Steps(NamedTuple):
    """Seconds of each step, seconds of those that went by waiting for data, GFLOP of one."""

    seconds: list[float]
    waiting: list[float]
    gigaflop: float

    def of_one(self) -> float:
        """Median, without the first, which prepares kernels."""
        return statistics.median(self.seconds[1:])


def batches(
    settings: Any,
    jitter: JitterSettings,
    config: Config,
    draw: Callable[[np.ndarray], np.ndarray],
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
            encoded.append(draw(labels))
        return np.stack(made), np.stack(encoded)

    return make


def unpaired_batches(config: Config) -> Callable[[int], cyclegan.Batch]:
    """The same for the CycleGAN, with looks of nuclei where they count."""
    pairs = batches(
        config.cyclegan, cyclegan.JITTER, config, lambda labels: masks.encode(labels, config.masks)
    )

    def make(step: int) -> cyclegan.Batch:
        images, encoded = pairs(step)
        numbers = range(step * len(images), (step + 1) * len(images))
        latent = cyclegan.draw_latents(config.cyclegan, numbers, 0)
        if not config.cyclegan.lambda_nuclei:
            return cyclegan.Batch(images, encoded, latent)
        encoded = encoded[0::2].repeat(2, axis=0)
        nuclei = encoded[:, 0] > 0
        return cyclegan.Batch(images, encoded, latent, cyclegan.Looks(nuclei, images, nuclei))

    return make


def timed(model: Any, prepared: Iterable[tuple[np.ndarray, ...]], gigaflop: float) -> Steps:
    """One step a batch, waiting for the batch included."""
    steps = Steps([], [], gigaflop)
    began = time.perf_counter()
    for step, batch in enumerate(prepared):
        steps.waiting.append(time.perf_counter() - began)
        model.step(batch, generator(0, "pool", step))
        now = time.perf_counter()
        steps.seconds.append(now - began)
        began = now
    return steps


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


class AllTogether(contextlib.nullcontext):
    """No modules told apart."""

    parents = frozenset({"Global"})

    def __exit__(self, *_: object) -> None:
        """Also without what an exception would tell, as the counter calls it."""


def operations(model: Any, batch: tuple[np.ndarray, ...]) -> float:
    """GFLOP of one step."""
    counter = FlopCounterMode(display=False)
    # It also asks which module an operation belongs to, by hooks that fail at the gradient of a
    # gradient, which a slope penalty takes.
    counter.mod_tracker = AllTogether()  # type: ignore[assignment]
    with counter:
        model.step(batch, generator(0, "count"))
    return counter.get_total_flops() / 1e9


def measure(name: str, how: str, config: Config, steps: int) -> Steps:
    """Run some steps; in a process of its own, whose memory it sets up.

    ``how`` is ``ours``, ``plainly``, ``default layout``, or ``compiled``: its first step compiles.
    """
    if how in ("plainly", "default layout"):
        computing.CHANNELS_LAST = cgan.CHANNELS_LAST = torch.contiguous_format
    precision = {"precision": "float32"} if how == "plainly" else {}
    if how != "plainly":
        computing.keep_memory()
    compute = computing.prepare(config.compute.model_copy(update=precision))
    channels = masks.channels(config.masks)
    if name == "CycleGAN":
        model: Any = cyclegan.CycleGAN(config.cyclegan, channels, compute, 0)
        learning = [model.networks.to_image, model.networks.to_mask]
        make: Callable[[int], Any] = unpaired_batches(config)
    else:
        model = cgan.ConditionalGAN(config.segmentation, channels, compute, 0)
        learning = [model.segmenter]
        make = batches(
            config.segmentation,
            config.segmentation.jitter,
            config,
            lambda labels: cgan.METHOD.draw(labels, config.masks, config.segmentation),
        )
    gigaflop = operations(model, make(0))
    if how == "compiled":
        # The discriminators take a small part of a step.
        for network in learning:
            network.features = torch.compile(network.features)
    alone = how == "plainly"
    prepared = map(make, range(steps + 1)) if alone else prefetch(make, 0, steps + 1)
    return timed(model, prepared, gigaflop)


def apart(*arguments: Any) -> Steps:
    """Call :func:`measure` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def compare_plain(config: Config, steps: int, precision: str) -> None:
    """The table of ours beside the plain step."""
    columns = ("step", "ours, s", "plainly, s", "ratio", "GFLOP", "rate", "GFLOP, plainly")
    further = ("rate of these in our time", "matrices, GFLOP/s", "waiting")
    print("|", " | ".join((*columns, *further)), "|")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in ("CycleGAN", "cGAN"):
        before = matrix_rate(precision)
        mine = apart(name, "ours", config, steps)
        theirs = apart(name, "plainly", config, steps)
        # Once more, the other way round, so that a machine that warms up favours neither.
        again = apart(name, "ours", config, steps)
        after = matrix_rate(precision)
        rate = (before + after) / 2
        a = statistics.median(mine.seconds[1:] + again.seconds[1:])
        waiting = sum(mine.waiting[1:]) / sum(mine.seconds[1:])
        print(
            f"| {name} | {a:.3f} | {theirs.of_one():.3f} | {theirs.of_one() / a:.2f} | "
            f"{mine.gigaflop:.0f} | {100 * mine.gigaflop / a / rate:.0f} % | "
            f"{theirs.gigaflop:.0f} | {100 * theirs.gigaflop / a / rate:.0f} % | "
            f"{before:.0f}, {after:.0f} | {100 * waiting:.1f} % |",
            flush=True,
        )


def compare_with(how: str, config: Config, steps: int, precision: str) -> None:
    """The table of ours beside the same, but ``compiled`` or in the ``default layout``."""
    rate = matrix_rate(precision)
    print(f"matrix products: {rate:.0f} GFLOP/s\n")
    print(f"| step | ours, s | {how}, s | ratio | the first, s | rate |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in ("CycleGAN", "cGAN"):
        mine, theirs = (apart(name, one, config, steps) for one in ("ours", how))
        a, b = mine.of_one(), theirs.of_one()
        print(
            f"| {name} | {a:.3f} | {b:.3f} | {a / b:.2f} | {theirs.seconds[0]:.0f} | "
            f"{100 * mine.gigaflop / b / rate:.0f} % |",
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
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--compile", action="store_true", help="ours beside ours compiled")
    other.add_argument("--layout", action="store_true", help="ours beside the default layout")
    options = parser.parse_args()
    config = load(ROOT / "config.yaml", options.configfile)
    compute = config.compute.model_copy(update={"device": "cpu", "threads": options.threads})
    config = config.model_copy(update={"compute": compute})
    precision = computing.prepare(compute).precision
    print(f"torch {torch.__version__}, {options.threads} threads, {precision}\n")
    if options.compile or options.layout:
        how = "compiled" if options.compile else "default layout"
        compare_with(how, config, options.steps, precision)
    else:
        compare_plain(config, options.steps, precision)


if __name__ == "__main__":
    main()
