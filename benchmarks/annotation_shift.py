"""Where annotations lie beside the nuclei that a segmenter finds.

    python benchmarks/annotation_shift.py results/kumar-validation --model cgan/real/0

segments the judged slides of a run anew, moves what is found by parts of a pixel, and prints mean
AJI and Dice of each shift as a Markdown table. A network that learned from mirrored and turned
windows has no side of its own, so that the best shift is that of the annotations. To choose
`prediction.shift` by it takes a run that judges training or validation slides.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nucleigan.artifacts import read_tiff
from nucleigan.config import ComputeSettings
from nucleigan.metrics import aggregated_jaccard, pixel_dice
from nucleigan.segmentation import Segmenter
from nucleigan.segmentation.tiles import moved

# To the right and down, pixels.
SHIFTS = (
    (0.5, 0.5),
    (0.0, 0.0),
    (-0.25, -0.25),
    (-0.5, -0.5),
    (-0.75, -0.75),
    (-1.0, -1.0),
    (-0.5, 0.0),
    (0.0, -0.5),
)


def by_shift(
    mask: np.ndarray, truth: np.ndarray, decode: Callable[[np.ndarray], np.ndarray]
) -> list[tuple[float, float]]:
    """AJI and Dice at each of ``SHIFTS`` of a mask (C, H, W) against a label map (H, W)."""
    rows = []
    for shift in SHIFTS:
        labels = decode(moved(torch.from_numpy(mask)[None], shift)[0].numpy())
        rows.append((aggregated_jaccard(truth, labels), pixel_dice(truth, labels)))
    return rows


def main() -> None:
    """Segment, move and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of a finished run")
    parser.add_argument("--model", default="cgan/both/0", help="method/training set/seed")
    parser.add_argument("--threads", type=int, default=2, help="processors to use")
    options = parser.parse_args()
    segmenter = Segmenter.load(
        options.results / "segmentation" / options.model / "model.safetensors",
        ComputeSettings(threads=options.threads),
    )
    segmenter.prediction = segmenter.prediction.model_copy(update={"shift": (0.0, 0.0)})
    decode = partial(segmenter.decode, decoding=segmenter.prediction.decoding)
    found: list[list[tuple[float, float]]] = []
    for path in sorted((options.results / "predictions" / options.model).glob("*.labels.tif")):
        slide = path.name.removesuffix(".labels.tif")
        known = options.results / "slides" / slide / "labels.tif"
        if not known.is_file():
            continue
        truth = read_tiff(known)
        mask = segmenter.predict(read_tiff(options.results / "stain" / slide / "image.tif"))
        found.append(by_shift(mask, truth, decode))
    print(f"| to the right, down, px | AJI ({len(found)} slides) | Dice |")
    print("|---|---:|---:|")
    for (right, down), (aji, overlap) in zip(SHIFTS, np.mean(found, axis=0), strict=True):
        print(f"| {right:g}, {down:g} | {aji:.4f} | {overlap:.4f} |")


if __name__ == "__main__":
    main()
