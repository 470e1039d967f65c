"""Thresholds of a trained segmenter, chosen on slides that neither trained nor judge it."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from nucleigan.artifacts import write_table
from nucleigan.config import (
    ComputeSettings,
    DecodingSettings,
    MaskSettings,
    PredictionSettings,
)
from nucleigan.metrics.jaccard import aggregated_jaccard_of
from nucleigan.metrics.table import contingency
from nucleigan.models.contract import FOREGROUND
from nucleigan.models.methods import load_method
from nucleigan.models.validation import has_nuclei, looked_at, telling
from nucleigan.models.weights import read_weights, write_weights
from nucleigan.progress import progress
from nucleigan.segmentation.segmenter import Segmenter
from nucleigan.training import compute as computing

THRESHOLDS = ("foreground", "marker", "summit", "peak")
Markers = tuple[tuple[float, float | None], ...]


def choose_thresholds(
    weights: str | Path,
    slides: Sequence[dict[str, str]],
    model_output: str | Path,
    table_output: str | Path,
    settings: PredictionSettings,
    compute: ComputeSettings,
    data_licence: str = "",
) -> None:
    """Complete trained weights to a model file that says how to decode its masks.

    Parameters
    ----------
    weights
        Of a training run.
    slides
        Dictionaries with ``slide``, ``image`` (normalised) and ``labels`` of the validation slides;
        large ones are looked at in part. Without any, the thresholds stay as they are configured,
        or as the method has them where its numbers are no probabilities in tissue.
    model_output
        The model file.
    table_output
        CSV: mean AJI of the validation slides that have nuclei, or of all where none has, for each
        set of thresholds tried; a header alone without slides.
    settings
        Tiles, views and the configured thresholds.
    compute
        Device, precision and threads.
    data_licence
        Of the slides that the weights were trained on, for the model file.
    """
    tensors, facts = read_weights(weights)
    facts["prediction"] = settings.model_dump(exclude={"choose"})
    method = load_method(facts["method"])
    peaks = method.peaks_of(MaskSettings(**facts["masks"]))
    # What is configured is meant for probabilities.
    facts["prediction"]["decoding"] |= {**method.thresholds, **({} if peaks else {"peak": 0.0})}
    started = facts.get("started_from") or {}
    licences = (data_licence, started.get("data_licence", ""))
    # What the weights started from binds them as well.
    facts["data_licence"] = "; ".join(dict.fromkeys(filter(None, licences)))
    table = pd.DataFrame(columns=[*THRESHOLDS, "aji"], dtype=float)
    if slides:
        segmenter = Segmenter(tensors, facts, computing.prepare(compute))
        foreground, markers = segmenter.method.foreground, segmenter.markers
        found = []
        for slide in progress(slides, len(slides), "slides"):
            parts = looked_at(slide["image"], slide["labels"])
            tried = [
                try_thresholds(
                    segmenter.predict(part.image),
                    part.truth,
                    segmenter.decode,
                    segmenter.prediction.decoding,
                    markers,
                    foreground,
                    peaks,
                )
                for part in parts
            ]
            shares = [part.share for part in parts]
            aji = np.average([one["aji"] for one in tried], axis=0, weights=shares)
            found.append((has_nuclei(parts), aji))
        table = tried[0].assign(aji=np.mean(telling(found), axis=0))
        best = table.iloc[int(table["aji"].to_numpy().argmax())]
        chosen = {name: None if pd.isna(best[name]) else float(best[name]) for name in THRESHOLDS}
        facts["prediction"]["decoding"] |= chosen
        facts["validation"] = {
            "slides": [slide["slide"] for slide in slides],
            "aji": round(float(best["aji"]), 6),
        }
        print(f"chosen: {chosen}, AJI {best['aji']:.4f}", flush=True)
    write_weights(model_output, tensors, facts)
    write_table(table_output, table, digits=6)


def try_thresholds(
    mask: np.ndarray,
    truth: np.ndarray,
    decode: Callable[[np.ndarray, DecodingSettings], np.ndarray],
    decoding: DecodingSettings,
    markers: Markers = (),
    foreground: Sequence[float] = FOREGROUND,
    peaks: Sequence[float] = (),
) -> pd.DataFrame:
    """AJI of a mask decoded at every set of thresholds.

    Nuclei that do not reach a ``peak`` are left out of those that were decoded without: of one that
    lies in the hole of another, the decoder fills the hole as well.

    Parameters
    ----------
    mask
        (C, H, W) in [-1, 1].
    truth
        (H, W) integers.
    decode
        From a mask and thresholds to a label map.
    decoding
        Everything but the thresholds.
    markers
        Pairs of ``marker`` and ``summit`` to try; without any, those of ``decoding``.
    foreground
        Values of the threshold of nucleus to try.
    peaks
        Values of ``peak`` to try; without any, that of ``decoding``.

    Returns
    -------
    Columns ``foreground``, ``marker``, ``summit`` (NaN: none), ``peak`` and ``aji``; rows in one
    order.
    """
    pairs = markers or ((decoding.marker, decoding.summit),)
    rows = []
    for least, (marker, summit) in itertools.product(foreground, pairs):
        first = 0.0 if peaks else decoding.peak
        tried = dict(zip(THRESHOLDS, (least, marker, summit, first), strict=True))
        labels = decode(mask, decoding.model_copy(update=tried))
        table = contingency(truth, labels)
        highest = ndimage.maximum(mask[0], labels, table.prediction_ids) if peaks else ()
        reached = (np.asarray(highest, np.float32) + 1) / 2
        for peak in peaks or (first,):
            kept = table.keeping(reached >= peak) if peaks else table
            rows.append({**tried, "peak": peak, "aji": aggregated_jaccard_of(kept)})
    return pd.DataFrame(rows, columns=[*THRESHOLDS, "aji"]).astype(float)
