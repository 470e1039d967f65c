"""The training run that all methods share: pairs, jitter, loop, pictures, weights."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from nucleigan import masks
from nucleigan.artifacts import file_digest, read_json, read_table, stored_digest
from nucleigan.config import ComputeSettings, MaskSettings, SegmentationSettings, StainSettings
from nucleigan.errors import NucleiganError
from nucleigan.figures.sheets import contact_sheet, mask_picture
from nucleigan.models.contract import Method
from nucleigan.models.header import check_same_network
from nucleigan.models.methods import load_method, method_module
from nucleigan.models.validation import Validation
from nucleigan.models.weights import read_weights, write_weights
from nucleigan.networks import effective_state
from nucleigan.provenance import package_digest
from nucleigan.randomness import generator
from nucleigan.segmentation.tiles import learned_tile, predict
from nucleigan.training import loop, processes
from nucleigan.training.augment import augment
from nucleigan.training.best import BestWeights
from nucleigan.training.data import Pairs, order, to_network
from nucleigan.training.identity import begin

Paths = tuple[list[str], ...]
SAMPLES = 6


@dataclass(frozen=True)
class Source:
    """Pairs to learn from.

    Attributes
    ----------
    name
        ``real`` or ``synthetic``.
    pairs
        All of the stacks.
    chosen
        Indices of those that take part.
    slides
        Names of the real slides that they come from.
    """

    name: str
    pairs: Pairs
    chosen: np.ndarray
    slides: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The image and the label map at a place among the chosen."""
        index = int(self.chosen[place])
        return self.pairs.images[index], self.pairs.labels[index]


def train_segmenter(
    method: str,
    data: str,
    real: Paths,
    synthetic: Paths,
    patches: str | Path | None,
    agreement: Sequence[str | Path],
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
    start: str | Path | None = None,
    validation: Paths = ([], []),
) -> None:
    """Train one method on one training set and write its weights.

    Parameters
    ----------
    method
        A row of :data:`nucleigan.models.methods.METHODS`.
    data
        ``real``, ``synthetic`` or ``both``; ``real-4`` and ``both-4`` take 4 of the real slides,
        chosen at random by the seed, from as many organs as there are.
    real, synthetic
        Stacks of images and of their label maps.
    patches
        CSV with the slide and organ of each real pair; None without real ones.
    agreement
        CSV of the agreement of each synthetic stack, needed where ``settings`` ask for a minimum.
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
    start
        Model file whose weights the training begins with; None begins with random ones.
    validation
        Normalised slides to look at while training (``settings.validate_every``), and their label
        maps.
    """
    learned = load_method(method)
    sources = open_sources(data, real, synthetic, patches, seed)
    if settings.minimum_agreement > 0:
        sources = [agreeing(source, agreement, settings.minimum_agreement) for source in sources]
    for source in sources:
        print(f"{len(source)} {source.name} pairs {' '.join(source.slides)}".rstrip(), flush=True)
    training = {
        "method": method,
        "data": data,
        "settings": settings.model_dump(exclude={"methods", "data", "seeds"}),
        "masks": mask_settings.model_dump(),
        "seed": seed,
        # Those that the images and stacks carry: their pixels are checked where they are read.
        "files": [
            *(stored_digest(path) for part in (*real, *synthetic, *validation) for path in part),
            *(file_digest(path) for path in agreement),
        ],
        "slides": [slide for source in sources for slide in source.slides],
        "start": file_digest(start) if start else None,
        "code": [package_digest(name) for name in (__name__, method_module(method))],
    }
    compute, identity = begin(compute_settings, checkpoint, training)
    facts: dict[str, Any] = {
        "kind": "segmenter",
        "method": method,
        "generator": settings.generator.model_dump(),
        "backbone": settings.backbone,
        "masks": mask_settings.model_dump(),
        "mpp": mpp,
        "stain": stain_settings.model_dump(),
        "stain_reference": read_json(reference) if stain_settings.normalize else None,
        "training": {
            **identity,
            **compute.facts(),
            "pairs": {source.name: len(source) for source in sources},
            "pairs_left_out": {
                source.name: len(source.pairs) - len(source)
                for source in sources
                if source.name == "synthetic"
            },
        },
    }
    if learned.trainable is None:
        if processes.rank() > 0:
            return
        _write_untrained(learned, facts, sources[0], mask_settings, weights_output, samples_output)
        history = pd.DataFrame(columns=["epoch", "steps", "rate", "seconds", "waiting_seconds"])
        loop.finish(history, history_output, checkpoint)
        return

    processes.check_batch(settings.batch_size)
    model = learned.trainable(settings, mask_settings, compute, seed)
    if start is not None:
        tensors, facts["started_from"] = starting_weights(start, facts)
        model.start_from(tensors)
    total = sum(map(len, sources))
    steps = settings.steps_per_epoch or -(-total // settings.batch_size)
    make_batch = _batches(sources, learned, settings, mask_settings, steps, seed)

    tile = learned_tile(settings.crop)
    looks = settings.validate_every if validation[0] else 0
    held_out = Validation(validation[0], validation[1], learned, mask_settings) if looks else None
    best = BestWeights("aji") if looks and settings.choose_epoch else None

    def end_of_epoch(epoch: int) -> dict[str, float]:
        network = model.average.network
        if epoch % settings.sample_every == 0 or epoch == settings.epochs:
            _show(
                sources[0],
                lambda image: predict(network, image, compute, tile),
                mask_settings,
                samples_output,
            )
        if held_out is None:
            return {}
        # A column of every row: empty where nobody looked.
        aji = math.nan
        if epoch % looks == 0 or epoch == settings.epochs:
            aji = held_out.look(lambda image: predict(network, image, compute, tile))
            print(f"epoch {epoch}: AJI {aji:.4f} of the validation slides", flush=True)
            if best is not None:
                best.offer(network, epoch, aji)
        return {"validation_aji": aji}

    history = loop.run(
        model,
        make_batch,
        steps,
        settings,
        seed,
        checkpoint,
        identity,
        end_of_epoch,
        compute_settings.tensorboard,
        best,
        compute.preparing,
    )
    if processes.rank() > 0:
        return
    facts["training"] |= {
        "steps": int(history["steps"].iloc[-1]),
        "seconds": float(pd.Series(history["seconds"]).sum()),
    }
    tensors = effective_state(model.average.network)
    if best is not None:
        tensors, facts["training"]["chosen"] = best.chosen()
    write_weights(weights_output, tensors, facts)
    loop.finish(history, history_output, checkpoint)


def starting_weights(
    path: str | Path, facts: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights of a model file for a training to begin with, and what is to be told of them.

    Parameters
    ----------
    path
        A model file.
    facts
        Of the training: ``method``, ``generator``, ``backbone`` and ``masks`` must be the file's.

    Raises
    ------
    NucleiganError
        The file is damaged, or holds another network; which key differs is named.
    """
    tensors, theirs = read_weights(path)
    check_same_network(path, theirs, facts)
    past = theirs.get("training", {})
    earlier = theirs.get("started_from") or {}
    told = {
        "file": file_digest(path),
        "steps": past.get("steps", 0) + earlier.get("steps", 0),
        "data_licence": theirs.get("data_licence", ""),
    }
    print(f"starting from {path}, trained for {told['steps']} steps", flush=True)
    return tensors, told


def open_sources(
    data: str, real: Paths, synthetic: Paths, patches: str | Path | None, seed: int
) -> list[Source]:
    """The pairs of a training set; parameters as in :func:`train_segmenter`."""
    kind, _, count = data.partition("-")
    sources = []
    if kind in ("real", "both"):
        assert patches is not None
        pairs = Pairs.open(*real)
        table = read_table(patches, keep_default_na=False, dtype={"slide": str, "organ": str})
        slides = choose_slides(table, int(count) if count else None, seed)
        chosen = np.flatnonzero(table["slide"].isin(slides))
        sources.append(Source("real", pairs, chosen, tuple(slides)))
    if kind in ("synthetic", "both"):
        pairs = Pairs.open(*synthetic)
        sources.append(Source("synthetic", pairs, np.arange(len(pairs))))
    return sources


def agreeing(source: Source, tables: Sequence[str | Path], minimum: float) -> Source:
    """Leave out the synthetic pairs whose image does not show its mask.

    Parameters
    ----------
    source
        Real pairs are returned as they are.
    tables
        CSV of :func:`nucleigan.synthesis.agreement.judge_agreement`, in the order of the stacks.
    minimum
        Least AJI of a pair.

    Raises
    ------
    NucleiganError
        No pair is left.
    """
    if source.name != "synthetic":
        return source
    found = pd.concat([read_table(path) for path in tables])["aji"].to_numpy()
    chosen = np.flatnonzero(found >= minimum)
    if not len(chosen):
        raise NucleiganError(
            f"none of the {len(found)} synthetic pairs reaches segmentation.minimum_agreement "
            f"({minimum:g}), the best has {found.max():.3g}; lower it, or train the CycleGAN "
            "longer."
        )
    left_out = len(source) - len(chosen)
    print(f"{left_out} of {len(source)} synthetic pairs agree less than {minimum:g}", flush=True)
    return replace(source, chosen=chosen)


def choose_slides(patches: pd.DataFrame, count: int | None, seed: int) -> list[str]:
    """Some of the slides at random, from as many organs as there are.

    Parameters
    ----------
    patches
        Columns ``slide`` and ``organ``.
    count
        How many; None takes all.
    seed
        Of the choice. More slides of one seed hold the fewer ones.

    Raises
    ------
    NucleiganError
        There are not so many.
    """
    slides = patches.drop_duplicates("slide").sort_values("slide")
    if count is None:
        return list(slides["slide"])
    if count > len(slides):
        raise NucleiganError(
            f"a training set of {count} real slides is asked for, but the sample sheet has "
            f"{len(slides)} annotated training slides; lower it in segmentation.data or "
            "ablation.data."
        )
    shuffled = slides.iloc[generator(seed, "slides").permutation(len(slides))]
    # The first of every organ come before the second of any.
    turn = shuffled.groupby("organ", sort=False).cumcount()
    return list(shuffled.iloc[np.argsort(turn.to_numpy(), kind="stable")]["slide"][:count])


def _batches(
    sources: list[Source],
    learned: Method,
    settings: SegmentationSettings,
    mask_settings: MaskSettings,
    steps: int,
    seed: int,
) -> Callable[[int], tuple[tuple[np.ndarray, np.ndarray], str]]:
    """The batch of a step, images and what the method draws of them, with the patches' names.

    ``steps`` is the number of an epoch's.
    """
    pairs = settings.epochs * steps * settings.batch_size
    draw = drawing(
        [len(source) for source in sources],
        settings.synthetic_share,
        round(settings.synthetic_until * pairs),
        seed,
    )

    def pair(number: int) -> tuple[np.ndarray, np.ndarray, tuple[str, int]]:
        source, place = draw(number)
        image, labels = augment(
            *sources[source][place],
            settings.crop,
            settings.jitter,
            generator(seed, "jitter", number),
        )
        assert image is not None and labels is not None
        name = (sources[source].name, int(sources[source].chosen[place]))
        return to_network(image), learned.draw(labels, mask_settings, settings), name

    def make_batch(step: int) -> tuple[tuple[np.ndarray, np.ndarray], str]:
        first = step * settings.batch_size
        whole = range(first, first + settings.batch_size)
        chosen = [pair(number) for number in processes.mine(whole)]
        images, drawn, names = zip(*chosen, strict=True)
        return (np.stack(images), np.stack(drawn)), f"{list(names)}"

    return make_batch


def _show(
    source: Source,
    guess: Callable[[np.ndarray], np.ndarray],
    mask_settings: MaskSettings,
    output: str | Path,
) -> None:
    """A picture of some patches, their masks and the predicted ones."""
    shown = [source[place] for place in range(min(SAMPLES, len(source)))]
    truth = [masks.encode(labels, mask_settings) for _, labels in shown]
    guesses = [guess(image) for image, _ in shown]
    pictures = [*(image for image, _ in shown), *map(mask_picture, [*truth, *guesses])]
    contact_sheet(pictures, output, columns=len(shown))


def _write_untrained(
    learned: Method,
    facts: dict[str, Any],
    source: Source,
    mask_settings: MaskSettings,
    weights_output: str | Path,
    samples_output: str | Path,
) -> None:
    """The files of a method that learns nothing."""
    predict_from = learned.predict
    assert predict_from is not None
    _show(source, lambda image: predict_from(image, facts), mask_settings, samples_output)
    write_weights(weights_output, {}, facts)


def drawing(
    lengths: list[int], share: float | None, until: int, seed: int
) -> Callable[[int], tuple[int, int]]:
    """How the ``n``-th pair of a training is drawn.

    Parameters
    ----------
    lengths
        Number of pairs of each source: of one, or of the real and the synthetic.
    share
        Part of the pairs that is synthetic; None draws every pair equally often.
    until
        With a share, the first pair from which on all are real.
    seed
        Of the order within each source.

    Returns
    -------
    From ``n`` to the number of its source and its place there.
    """
    if len(lengths) == 1 or share is None:
        ends = np.cumsum(lengths)
        anywhere = order(int(ends[-1]), seed, "pair")

        def draw_any(number: int) -> tuple[int, int]:
            index = anywhere(number)
            source = int(np.searchsorted(ends, index, side="right"))
            return source, index - int(ends[source - 1] if source else 0)

        return draw_any

    orders = [order(length, seed, "pair", n) for n, length in enumerate(lengths)]

    def draw_shared(number: int) -> tuple[int, int]:
        # The n-th draw is synthetic when the running share passes a whole number: exact shares
        # without chance, and a function of the number alone.
        before, after = (int(min(n, until) * share) for n in (number, number + 1))
        return (1, orders[1](before)) if after > before else (0, orders[0](number - before))

    return draw_shared
