"""A slide larger than memory through the stages that every slide goes through.

    python benchmarks/large_slide.py --height 80000 --width 100000 --islands 8

draws a pyramidal TIFF of that size into a scratch folder (islands of phantom tissue on glass, in
compressed tiles; a quarter and a sixteenth of each side as sub-images), then ingests, normalises
and segments it with the model that comes with the package, each stage in a process of its own as
the workflow does it. Prints seconds and peak memory of each stage. At the end every island is cut
out and segmented alone, in memory: its nuclei must be the same.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tifffile

from nucleigan.artifacts import open_image, read_json
from nucleigan.config import ComputeSettings, IngestionSettings, PhantomSettings, StainSettings
from nucleigan.masks.decoding import in_reading_order
from nucleigan.phantoms.render import render
from nucleigan.segmentation import Segmenter, segment_slide
from nucleigan.slides import ingest
from nucleigan.slides.sheet import Slide
from nucleigan.stain import choose_reference, normalize_slide, profile_slide

MODEL = Path(__file__).parents[1] / "models/kumar-cpu.safetensors"
MPP = 0.25
GLASS = 244
TILE = 512
# Levels of the pyramid, as scanners write them. Corners and sides of islands are multiples of the
# last, so that no pixel of a level mixes tissue and glass.
REDUCTIONS = (1, 4, 16)
# A phantom, how often an island repeats it in each direction, and the glass around an island that
# belongs to it, pixels.
PHANTOM, REPEATED = 1000, 2


def places(height: int, width: int, islands: int, stride: int) -> list[tuple[int, int]]:
    """Corners of the islands' cells, spread over the slide on the grid of the network's tiles."""
    rng = np.random.default_rng(0)
    side = REPEATED * PHANTOM + 2 * stride
    found: list[tuple[int, int]] = []
    while len(found) < islands:
        y, x = (int(rng.integers(0, (length - side) // stride)) for length in (height, width))
        corner = (y * stride, x * stride)
        if all(max(abs(corner[0] - a), abs(corner[1] - b)) >= side for a, b in found):
            found.append(corner)
    return found


def draw(path: Path, height: int, width: int, corners: list[tuple[int, int]], stride: int) -> None:
    """Write the slide level by level, tile by tile."""
    phantoms = [
        np.tile(
            render(number, f"island{number}", "breast", PhantomSettings(size=PHANTOM)).image,
            (REPEATED, REPEATED, 1),
        )
        for number in range(len(corners))
    ]
    middles = [(top + stride, left + stride) for top, left in corners]
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for step in REDUCTIONS:
            shape = (-(-height // step), -(-width // step))
            islands = [_reduced(phantom, step) for phantom in phantoms]
            here = [(top // step, left // step) for top, left in middles]
            first = step == 1
            file.write(
                _tiles(shape, here, islands),
                shape=(*shape, 3),
                dtype=np.uint8,
                photometric="rgb",
                tile=(TILE, TILE),
                compression="zlib",
                metadata=None,
                subifds=len(REDUCTIONS) - 1 if first else None,
                subfiletype=0 if first else 1,
                resolution=(1e4 / (MPP * step), 1e4 / (MPP * step)),
                resolutionunit="CENTIMETER",
            )


def _reduced(picture: np.ndarray, step: int) -> np.ndarray:
    """The mean of every square of so many pixels, (H / step, W / step, 3) uint8."""
    height, width = (length // step for length in picture.shape[:2])
    squares = picture.reshape(height, step, width, step, 3)
    return np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)


def _tiles(
    shape: tuple[int, int], corners: list[tuple[int, int]], islands: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """The tiles of a level: glass, and the islands whose upper left corners are given."""
    height, width = shape
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            tile = np.full((min(TILE, height - y), min(TILE, width - x), 3), GLASS, np.uint8)
            for (top, left), island in zip(corners, islands, strict=True):
                _paste(tile, island, top - y, left - x)
            yield tile


def _paste(tile: np.ndarray, picture: np.ndarray, top: int, left: int) -> None:
    """Draw the part of a picture that lies in a tile, whose corner is the origin."""
    bottom, right = top + picture.shape[0], left + picture.shape[1]
    rows = slice(max(0, top), min(len(tile), bottom))
    columns = slice(max(0, left), min(tile.shape[1], right))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        tile[rows, columns] = picture[part]


def stages(folder: Path, max_pixels: int) -> dict[str, Callable[[], None]]:
    """The stages' functions by their names, in order."""
    stain = StainSettings()
    slide = Slide("large", "breast", "test", folder / "slide.tif", mpp=MPP)

    def separate() -> None:
        profile_slide("large", folder / "image.tif", folder / "profile.json", stain)
        choose_reference([folder / "profile.json"], folder / "reference.json", stain)

    return {
        "ingestion": lambda: ingest(
            slide,
            folder / "image.tif",
            folder / "slide.json",
            folder / "slide.png",
            IngestionSettings(max_pixels=max_pixels),
        ),
        "stain profile": separate,
        "normalisation": lambda: normalize_slide(
            "large",
            folder / "image.tif",
            folder / "profile.json",
            folder / "reference.json",
            folder / "normalized.tif",
            folder / "stain.json",
            folder / "stain.png",
            stain,
            MPP,
        ),
        "segmentation": lambda: segment_slide(
            MODEL,
            folder / "normalized.tif",
            folder / "slide.json",
            None,
            folder / "labels.tif",
            folder / "nuclei.geojson",
            folder / "overlay.png",
            ComputeSettings(device="cpu"),
        ),
    }


def run_stage(name: str, folder: Path, max_pixels: int, results: Connection) -> None:
    """Run a stage, and send this process's peak memory in GiB."""
    stages(folder, max_pixels)[name]()
    results.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def measured(name: str, folder: Path, max_pixels: int) -> tuple[float, float]:
    """Seconds and peak memory in GiB of a stage in a process of its own; raises where it fails."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=run_stage, args=(name, folder, max_pixels, sender))
    began = time.monotonic()
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{name} ended with status {process.exitcode}")
    return time.monotonic() - began, receiver.recv()


def differences(folder: Path, corners: list[tuple[int, int]], stride: int) -> tuple[int, int]:
    """Pixels of the islands that differ from those segmented alone, and the islands' nuclei."""
    segmenter = Segmenter.load(MODEL, ComputeSettings(device="cpu"))
    side = REPEATED * PHANTOM + 2 * stride
    wrong = nuclei = 0
    with (
        open_image(folder / "normalized.tif") as image,
        open_image(folder / "labels.tif") as labels,
    ):
        for top, left in corners:
            window = np.s_[top : top + side, left : left + side]
            alone = segmenter.segment(image[window], normalize=False)
            wrong += int(np.count_nonzero(in_reading_order(labels[window]) != alone))
            nuclei += int(alone.max(initial=0))
    return wrong, nuclei


def main() -> None:
    """Draw, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--height", type=int, default=80_000, help="pixels")
    parser.add_argument("--width", type=int, default=100_000, help="pixels")
    parser.add_argument("--islands", type=int, default=8, help="islands of tissue")
    options = parser.parse_args()
    prediction = Segmenter.load(MODEL, ComputeSettings(device="cpu")).prediction
    stride = prediction.tile - prediction.tile_overlap
    height, width = options.height, options.width
    corners = places(height, width, options.islands, stride)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder / "slide.tif", height, width, corners, stride)
        size = (folder / "slide.tif").stat().st_size / 2**30
        print(f"{height} × {width} pixels, {options.islands} islands, {size:.2f} GiB as a file")
        print("| stage | seconds | peak memory, GiB |\n|---|---:|---:|")
        for stage in stages(folder, height * width):
            seconds, memory = measured(stage, folder, height * width)
            print(f"| {stage} | {seconds:.0f} | {memory:.2f} |", flush=True)
        facts = read_json(folder / "slide.json")
        print(f"tissue: {facts['tissue_fraction']:.2%}")
        wrong, nuclei = differences(folder, corners, stride)
        print(
            f"{nuclei} nuclei in {options.islands} islands; {wrong} pixels differ from those alone"
        )
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
