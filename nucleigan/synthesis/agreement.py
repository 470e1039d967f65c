"""How well synthetic images show their masks: judged by a segmenter that learned from tissue."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nucleigan.artifacts import write_table
from nucleigan.config import ComputeSettings
from nucleigan.errors import NucleiganError
from nucleigan.metrics import aggregated_jaccard, pixel_dice
from nucleigan.progress import progress
from nucleigan.segmentation import Segmenter
from nucleigan.training.data import Pairs


def judge_agreement(
    model: str | Path,
    images: Sequence[str],
    labels: Sequence[str],
    start: int,
    output: str | Path,
    compute: ComputeSettings,
) -> None:
    """Segment the synthetic images, and compare with the masks that they were painted into.

    Parameters
    ----------
    model
        Weights of a segmenter that was trained on real slides alone. Nuclei are found with the
        default thresholds, so that those of the run can change without another judgement.
    images, labels
        Stacks of the synthetic pairs.
    start
        Number of the first of them.
    output
        CSV, a row a pair: ``pair``, ``nuclei`` in the mask, ``found`` in the image, ``aji`` and
        ``dice`` of the two. Where the mask is empty and nothing is found they are 1.
    compute
        Device, precision and threads.

    Raises
    ------
    NucleiganError
        The segmenter has seen synthetic pairs: it would confirm its own.
    """
    segmenter = Segmenter.load(model, compute)
    data = segmenter.facts["training"]["data"]
    if not data.startswith("real"):
        raise NucleiganError(
            f"{model}: learned from {data}; synthetic pairs are judged by a segmenter of real "
            "slides alone."
        )
    pairs = Pairs.open(images, labels)
    rows = []
    for number in progress(range(len(pairs)), len(pairs), "pairs"):
        truth = pairs.labels[number]
        found = segmenter.segment(pairs.images[number], normalize=False)
        rows.append(
            {
                "pair": start + number,
                "nuclei": len(np.unique(truth[truth > 0])),
                "found": int(found.max(initial=0)),
                "aji": aggregated_jaccard(truth, found),
                "dice": pixel_dice(truth, found),
            }
        )
    table = pd.DataFrame(rows)
    write_table(output, table, digits=6)
    print(
        f"{len(table)} pairs: mean AJI {table['aji'].mean():.3f}, a tenth of them below "
        f"{table['aji'].quantile(0.1):.3f}; mean Dice {table['dice'].mean():.3f}",
        flush=True,
    )
