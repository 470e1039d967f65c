"""Generate pairs in shards that give the same pairs however they are cut."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nucleigan.artifacts import write_stack, write_table
from nucleigan.config import ComputeSettings, SynthesisSettings
from nucleigan.errors import NucleiganError
from nucleigan.models.painter import Painter
from nucleigan.progress import progress
from nucleigan.randomness import torch_seed
from nucleigan.training import compute as computing
from nucleigan.training.data import Patches, prefetch


def synthesize(
    generator: str | Path,
    polygons: list[str],
    first_map: int,
    start: int,
    stop: int,
    images_output: str | Path,
    labels_output: str | Path,
    table_output: str | Path,
    settings: SynthesisSettings,
    compute_settings: ComputeSettings,
    seed: int,
) -> None:
    """Paint the maps from ``start`` to ``stop`` and write the pairs.

    Parameters
    ----------
    generator
        Weights from masks to images.
    polygons
        The polygon stacks that hold these maps, in order.
    first_map
        Number over all stacks of the first map in these.
    start, stop
        Numbers over all stacks; see :func:`nucleigan.shards.shard_bounds`.
    images_output, labels_output, table_output
        Stacks (N, H, W, 3) uint8 and (N, H, W) int32, and a row a pair.
    settings, compute_settings
        Batch size, and the machine.
    seed
        Of what differs between images of the same map.
    """
    compute = computing.prepare(compute_settings)
    computing.keep_memory()
    painter = Painter(generator, compute)
    stacks = Patches.open(polygons)
    if stop > first_map + len(stacks):
        raise NucleiganError(
            f"synthesis.count asks for map {stop}, but the polygon files hold "
            f"{first_map + len(stacks)}; raise polygons.count."
        )

    def map_of(pair: int) -> np.ndarray:
        return stacks[pair - first_map]

    shape = (stop - start, *map_of(start).shape)
    rows: list[dict[str, object]] = []

    def prepared(batch: int) -> tuple[int, list[np.ndarray], torch.Tensor]:
        first = start + batch * settings.batch_size
        numbers = range(first, min(first + settings.batch_size, stop))
        labels = [map_of(n) for n in numbers]
        seeds = [torch_seed(seed, "pair", n) for n in numbers]
        return first, labels, painter.prepare(labels, seeds)

    def painted() -> Iterator[np.ndarray]:
        # What the generator is given is made beside the forward pass before.
        batches = -(-(stop - start) // settings.batch_size)
        for first, labels, given in prefetch(prepared, 0, batches, painter.compute.preparing):
            images = painter.paint_given(given)
            for place, (image, one) in enumerate(zip(images, labels, strict=True)):
                rows.append(_row(first + place, image, one))
                yield image

    images = progress(painted(), stop - start, "pairs")
    write_stack(images_output, (*shape, 3), np.uint8, images)
    write_stack(labels_output, shape, np.int32, map(map_of, range(start, stop)))
    write_table(table_output, pd.DataFrame(rows), digits=5)
    print(f"pairs {start} to {stop - 1}", flush=True)


def _row(pair: int, image: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    """Facts of a pair: whether the nuclei are darker than what surrounds them."""
    inside = labels > 0
    # A mean over the last axis takes eight times as long.
    red, green, blue = np.moveaxis(image.astype(np.uint16), 2, 0)
    grey = (red + green + blue) / 3
    return {
        "pair": pair,
        "nuclei": len(np.unique(labels[inside])),
        "grey_inside": float(grey[inside].mean()) if inside.any() else None,
        "grey_outside": float(grey[~inside].mean()) if not inside.all() else None,
    }
