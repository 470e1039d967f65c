"""The table of methods, and the training run that they share.

A method is one function that builds a :class:`nucleigan.training.loop.Trainable` with an
``average.network``, and one row here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nucleigan import masks
from nucleigan.artifacts import file_digest, read_json
from nucleigan.config import ComputeSettings, MaskSettings, SegmentationSettings, StainSettings
from nucleigan.errors import NucleiganError
from nucleigan.figures.sheets import contact_sheet
from nucleigan.models.cgan import ConditionalGAN
from nucleigan.models.cyclegan import mask_picture
from nucleigan.models.weights import write_weights
from nucleigan.networks import effective_state
from nucleigan.provenance import package_digest
from nucleigan.randomness import generator
from nucleigan.segmentation.tiles import predict
from nucleigan.training import compute as computing
from nucleigan.training import loop
from nucleigan.training.augment import augment
from nucleigan.training.data import Pairs, order, to_network

METHODS: dict[str, Callable[..., Any]] = {"cgan": ConditionalGAN}
Paths = tuple[list[str], ...]
SAMPLES = 6


def train(
    method: str,
    data: str,
    real: Paths,
    synthetic: Paths,
    weights_output: str | Path,
    history_output: str | Path,
    samples_output: str | Path,
    checkpoint: str | Path,
    settings: SegmentationSettings,
    mask_settings: MaskSettings,
    stain_settings: StainSettings,
    compute_settings: ComputeSettings,
    seed: int,
    mpp: float,
    reference: str | Path,
) -> None:
    """Train one method on one training set and write its weights.

    Parameters
    ----------
    method
        A row of :data:`METHODS`.
    data
        ``real``, ``synthetic`` or ``both``.
    real, synthetic
        Stacks of images and of their label maps.
    weights_output, history_output, samples_output
        Weights, losses an epoch, and a picture of patches with masks and predictions.
    checkpoint
        Folder for checkpoints.
    settings, mask_settings, stain_settings, compute_settings
        Of the networks and losses, the encoding, how the images were normalised, and the machine.
    seed
        Of everything random in this repeat.
    mpp
        µm per pixel of the patches.
    reference
        Stain profile that the images were normalised to (JSON), stored in the model file.
    """
    if method not in METHODS:
        raise NucleiganError(
            f"segmentation.methods names {method!r}; known are {', '.join(sorted(METHODS))}."
        )
    compute = computing.prepare(compute_settings)
    print(" ".join(f"{key}={value}" for key, value in compute.facts().items()), flush=True)
    sources = {"real": [real], "synthetic": [synthetic], "both": [real, synthetic]}[data]
    pairs = [Pairs.open(*source) for source in sources]
    model = METHODS[method](settings, masks.channels(mask_settings), compute, seed)
    total = sum(map(len, pairs))
    steps = settings.steps_per_epoch or -(-total // settings.batch_size)
    draw = _drawing(pairs, settings.synthetic_share, seed)

    def pair(number: int) -> tuple[np.ndarray, np.ndarray, tuple[str, int]]:
        source, index = draw(number)
        image, labels = augment(
            pairs[source].images[index],
            pairs[source].labels[index],
            settings.crop,
            settings.jitter,
            generator(seed, "jitter", number),
        )
        assert image is not None and labels is not None
        name = (Path(sources[source][0][0]).parent.name, index)
        return to_network(image), masks.encode(labels, mask_settings), name

    def make_batch(step: int) -> tuple[tuple[np.ndarray, np.ndarray], str]:
        first = step * settings.batch_size
        chosen = [pair(number) for number in range(first, first + settings.batch_size)]
        images, encoded, names = zip(*chosen, strict=True)
        return (np.stack(images), np.stack(encoded)), f"{list(names)}"

    shown = [pairs[0].images[n] for n in range(min(SAMPLES, len(pairs[0])))]
    truth = [masks.encode(pairs[0].labels[n], mask_settings) for n in range(len(shown))]

    def end_of_epoch(epoch: int) -> dict[str, float]:
        if epoch % settings.sample_every == 0 or epoch == settings.epochs:
            guesses = [predict(model.average.network, image, compute) for image in shown]
            pictures = [*shown, *map(mask_picture, truth), *map(mask_picture, guesses)]
            contact_sheet(pictures, samples_output, columns=len(shown))
        return {}

    identity = {
        "method": method,
        "data": data,
        "settings": settings.model_dump(exclude={"methods", "data", "seeds"}),
        "masks": mask_settings.model_dump(),
        "seed": seed,
        "threads": compute_settings.threads,
        "precision": compute.precision,
        "files": [file_digest(path) for source in sources for part in source for path in part],
        "code": package_digest("nucleigan.models.methods"),
    }
    history = loop.run(model, make_batch, steps, settings, seed, checkpoint, identity, end_of_epoch)
    facts = {
        "kind": "segmenter",
        "generator": settings.generator.model_dump(),
        "masks": mask_settings.model_dump(),
        "mpp": mpp,
        "stain": stain_settings.model_dump(),
        "stain_reference": read_json(reference) if stain_settings.normalize else None,
        "training": {
            **identity,
            **compute.facts(),
            "pairs": {name: len(pair) for name, pair in zip(_names(data), pairs, strict=True)},
            "steps": int(history["steps"].iloc[-1]),
            "seconds": float(pd.Series(history["seconds"]).sum()),
        },
    }
    write_weights(weights_output, effective_state(model.average.network), facts)
    loop.finish(history, history_output, checkpoint)


def _names(data: str) -> list[str]:
    return ["real", "synthetic"] if data == "both" else [data]


def _drawing(
    pairs: list[Pairs], share: float | None, seed: int
) -> Callable[[int], tuple[int, int]]:
    """The source and index of the ``n``-th pair drawn."""
    if len(pairs) == 1 or share is None:
        ends = np.cumsum([len(source) for source in pairs])
        anywhere = order(int(ends[-1]), seed, "pair")

        def draw_any(number: int) -> tuple[int, int]:
            index = anywhere(number)
            source = int(np.searchsorted(ends, index, side="right"))
            return source, index - int(ends[source - 1] if source else 0)

        return draw_any

    orders = [order(len(source), seed, "pair", n) for n, source in enumerate(pairs)]

    def draw_shared(number: int) -> tuple[int, int]:
        # The n-th draw is synthetic when the running share passes a whole number: exact shares
        # without chance, and a function of the number alone.
        before, after = int(number * share), int((number + 1) * share)
        return (1, orders[1](before)) if after > before else (0, orders[0](number - before))

    return draw_shared
