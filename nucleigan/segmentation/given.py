"""A model file that comes from elsewhere, in the place of one that the run has trained."""

import shutil
from pathlib import Path

import numpy as np

from nucleigan.artifacts import atomic, write_json
from nucleigan.config import ComputeSettings
from nucleigan.models.weights import read_weights, write_weights
from nucleigan.segmentation.segmenter import Segmenter
from nucleigan.stain import StainProfile
from nucleigan.stain.vectors import TEXTBOOK


def take_model(
    model: str | Path,
    model_output: str | Path,
    reference_output: str | Path,
    compute: ComputeSettings,
    shift: tuple[float, float] | None = None,
) -> None:
    """Copy a model file to where a training leaves its own, and write the stains that it expects.

    Parameters
    ----------
    model
        The file.
    model_output
        Its copy, byte for byte unless another ``shift`` is asked for.
    reference_output
        JSON of the model's stain reference, as :func:`nucleigan.stain.choose_reference` writes it;
        the textbook's stains, which nothing will be given, where the model has none.
    compute
        Device, precision and threads.
    shift
        How far what is found is moved, instead of as far as the model says; None leaves it.

    Raises
    ------
    NucleiganError
        The file is damaged or no segmenter.
    """
    segmenter = Segmenter.load(model, compute)
    if shift is None or tuple(shift) == segmenter.shift:
        with atomic(model_output) as temporary:
            shutil.copyfile(model, temporary)
    else:
        tensors, facts = read_weights(model)
        facts["prediction"] = {**facts.get("prediction", {}), "shift": shift}
        write_weights(model_output, tensors, facts)
        print(f"nuclei are moved by {tuple(shift)} pixels, not by {segmenter.shift}", flush=True)
    _write_reference(segmenter, reference_output)


def take_reference(
    model: str | Path, reference_output: str | Path, compute: ComputeSettings
) -> None:
    """Write the stains that a model file expects, as :func:`take_model` does."""
    _write_reference(Segmenter.load(model, compute), reference_output)


def _write_reference(segmenter: Segmenter, output: str | Path) -> None:
    known = segmenter.facts["stain_reference"]
    if known is None:
        known = {
            "slide": "none",
            "rule": "the model takes slides with the stains that they have",
            **StainProfile(TEXTBOOK, np.ones(2)).as_dict(),
        }
    reference = {"slide": "unknown", "rule": "the model says no more", **known}
    print(f"reference slide: {reference['slide']}, {reference['rule']}", flush=True)
    write_json(output, reference)
