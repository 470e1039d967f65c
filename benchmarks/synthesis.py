"""Synthetic pairs a second, beside the generator's forward pass alone.

    python benchmarks/synthesis.py --configfile configs/kumar-cpu.yaml

paints the same polygon maps both ways: by the stage (encode, forward pass, write stacks and table)
and by the forward pass of batches that lie in memory. The generator is fresh: its weights do
not change how long it takes.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from nucleigan import masks
from nucleigan.artifacts import write_stack
from nucleigan.config import Config, PolygonSettings, load
from nucleigan.masks import sample_polygons
from nucleigan.models.header import PAINTER
from nucleigan.models.painter import IMAGE_CHANNELS, Painter
from nucleigan.models.weights import write_weights
from nucleigan.networks import build_generator
from nucleigan.randomness import generator
from nucleigan.synthesis import synthesize
from nucleigan.training import compute as computing

ROOT = Path(__file__).parents[1]


def prepare(config: Config, folder: Path, pairs: int) -> tuple[Path, Path]:
    """A generator and a stack of polygon maps in a folder."""
    size = config.patches.size
    drawn = (
        sample_polygons(generator(0, "bench", n), PolygonSettings(fit=False), size)
        for n in range(pairs)
    )
    write_stack(folder / "polygons.tif", (pairs, size, size), np.int32, drawn)
    settings = config.cyclegan.generator.model_copy(update={"spectral_norm": False})
    inputs = masks.channels(config.masks) + config.cyclegan.latent_channels
    network = build_generator(settings, inputs, IMAGE_CHANNELS)
    facts = {
        "kind": PAINTER,
        "masks": config.masks.model_dump(),
        "generator": config.cyclegan.generator.model_dump(),
        "latent_channels": config.cyclegan.latent_channels,
    }
    write_weights(folder / "generator.safetensors", network.state_dict(), facts)
    return folder / "generator.safetensors", folder / "polygons.tif"


def stage(config: Config, weights: Path, polygons: Path, pairs: int) -> float:
    """Seconds of the stage."""
    began = time.perf_counter()
    synthesize(
        weights,
        [str(polygons)],
        0,
        0,
        pairs,
        weights.with_name("images.tif"),
        weights.with_name("labels.tif"),
        weights.with_name("pairs.csv"),
        config.synthesis,
        config.compute,
        seed=0,
    )
    return time.perf_counter() - began


@torch.inference_mode()
def forward(config: Config, weights: Path, pairs: int) -> float:
    """Seconds of the forward passes alone."""
    compute = computing.prepare(config.compute)
    network = Painter(weights, compute).network
    size, batch = config.patches.size, config.synthesis.batch_size
    inputs = masks.channels(config.masks) + config.cyclegan.latent_channels
    given = torch.randn(batch, inputs, size, size, device=compute.device)
    began = time.perf_counter()
    for _ in range(pairs // batch):
        with compute.autocast():
            torch.tanh(network(given).float()).cpu()
    return time.perf_counter() - began


def main() -> None:
    """Measure in turns, and print a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, default=ROOT / "configs/kumar-cpu.yaml")
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    config = load(ROOT / "config.yaml", options.configfile)
    pairs = options.batches * config.synthesis.batch_size
    with tempfile.TemporaryDirectory() as scratch:
        weights, polygons = prepare(config, Path(scratch), pairs)
        forward(config, weights, config.synthesis.batch_size)
        found = [
            (stage(config, weights, polygons, pairs), forward(config, weights, pairs))
            for _ in range(options.turns)
        ]
    ours, alone = (statistics.median(times) for times in zip(*found, strict=True))
    print(
        f"{pairs / ours:.2f} pairs a second, {pairs / alone:.2f} by the forward pass alone: "
        f"{100 * alone / ours:.0f} %"
    )


if __name__ == "__main__":
    main()
