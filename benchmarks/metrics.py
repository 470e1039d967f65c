"""Metrics beside other packages: values and times on the same label maps, in one run.

All packages that are installed are asked for the metrics they have, one after another, in this
process and on one thread. The others are no dependencies of nucleigan; give them an environment of
their own, beside an installation of nucleigan:

    python -m venv bench && bench/bin/pip install -e . cellseg-metrics stardist torchmetrics monai \
        surface-distance
    bench/bin/python benchmarks/metrics.py

Without ``--truth`` and ``--prediction`` the maps are drawn: nuclei that touch, of which the
prediction loses some, merges some, moves and rounds all, and invents others. Times are processor
time, the shortest of the runs. Packages that only measure the distance between two masks get the
pairs of nuclei that nucleigan matches, each cut out; their time is that of all pairs, the cutting
included.

    bench/bin/python benchmarks/metrics.py --large

measures nucleigan alone on 10,000 × 10,000 pixels with 160,000 nuclei: time and peak memory.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

Maps = tuple[np.ndarray, np.ndarray]
# Values this close are the same number, by another order of additions.
SAME = 1e-6


class Method(NamedTuple):
    """One package's way to some metrics.

    ``measure`` takes the true and the predicted label map and returns values by metric; ``rules``
    says, by metric, why a value may differ.
    """

    package: str
    measure: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    rules: dict[str, str]


def nucleigan_methods() -> Iterator[Method]:
    """The library itself: all overlap metrics, then all distances."""
    from nucleigan.metrics.contours import contour_distances
    from nucleigan.metrics.measures import distance_measures_of, overlap_measures_of
    from nucleigan.metrics.table import contingency

    def overlap(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        found = overlap_measures_of(contingency(truth, prediction))
        return {name: measure.value for name, measure in found.items()}

    def distance(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        table = contingency(truth, prediction)
        found = distance_measures_of(table, contour_distances(truth, prediction, table))
        return {name: measure.value for name, measure in found.items()}

    yield Method("nucleigan", overlap, {})
    yield Method("nucleigan", distance, {})


def cellseg_methods() -> Iterator[Method]:
    """cellseg-metrics: arrays of true objects by predicted ones."""
    import cellseg_metrics as cellseg

    def one(name: str, rule: str, measure: Callable[..., float]) -> Method:
        return Method("cellseg-metrics", lambda t, p: {name: measure(t, p)}, {name: rule})

    yield one("aji", "partner of largest overlap, not IoU", cellseg.aggregated_jaccard_index)
    yield Method(
        "cellseg-metrics",
        lambda t, p: {k: cellseg.panoptic_quality(t, p)[k] for k in ("pq", "sq", "dq")},
        {},
    )
    yield one(
        "dice", "", lambda t, p: cellseg.dice_coef(*cellseg.get_stats((t > 0) * 1, (p > 0) * 1))
    )


def stardist_methods() -> Iterator[Method]:
    """stardist.matching: a dense table of overlaps and one assignment over all nuclei."""
    from stardist.matching import matching

    from nucleigan.metrics.objects import THRESHOLDS

    def half(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        found = matching(truth, prediction, thresh=0.5)
        return {"f1": found.f1, "pq": found.panoptic_quality, "sq": found.mean_matched_score}

    def averaged(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        found = matching(truth, prediction, thresh=THRESHOLDS)
        return {"f1_mean": float(np.mean([one.f1 for one in found]))}

    yield Method("stardist", half, dict.fromkeys(("f1", "pq", "sq"), "IoU of 0.5 matches"))
    yield Method("stardist", averaged, {"f1_mean": "IoU equal to a threshold matches"})


def torchmetrics_methods() -> Iterator[Method]:
    """torchmetrics: panoptic quality of categories; nuclei are the only things."""
    import torch
    from torchmetrics.detection import PanopticQuality

    def tensor(labels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([labels > 0, labels], axis=-1).astype(np.int64))[None]

    def measure(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        quality = PanopticQuality(
            things={1}, stuffs={0}, return_sq_and_rq=True, return_per_class=True
        )
        found = quality(tensor(prediction), tensor(truth))
        return dict(zip(("pq", "sq", "dq"), map(float, found.reshape(-1, 3)[0]), strict=True))

    yield Method("torchmetrics", measure, {})


def monai_methods() -> Iterator[Method]:
    """MONAI: panoptic quality and Dice of maps, distances of masks."""
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_panoptic_quality,
    )

    def quality(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        maps = [torch.from_numpy(labels.astype(np.int64)) for labels in (prediction, truth)]
        names = {"pq": "pq", "sq": "sq", "dq": "rq"}
        return {
            ours: float(compute_panoptic_quality(*maps, metric_name=theirs))
            for ours, theirs in names.items()
        }

    def dice(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        maps = [torch.from_numpy(labels > 0)[None, None] for labels in (prediction, truth)]
        return {"dice": float(compute_dice(*maps))}

    def masks(a: np.ndarray, b: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(b)[None, None], torch.from_numpy(a)[None, None]

    yield Method("monai", quality, {})
    yield Method("monai", dice, {})
    yield Method(
        "monai",
        over_pairs(
            hausdorff=lambda a, b: float(compute_hausdorff_distance(*masks(a, b))),
            hausdorff_95=lambda a, b: float(
                compute_hausdorff_distance(*masks(a, b), percentile=95)
            ),
            surface_distance=lambda a, b: float(
                compute_average_surface_distance(*masks(a, b), symmetric=True)
            ),
        ),
        {},
    )


def skimage_methods() -> Iterator[Method]:
    """scikit-image: the Hausdorff distance of two sets of pixels."""
    from skimage.metrics import hausdorff_distance

    yield Method(
        "scikit-image",
        over_pairs(hausdorff=hausdorff_distance),
        {"hausdorff": "between whole nuclei, not their contours: what lies inside counts 0"},
    )


def surface_distance_methods() -> Iterator[Method]:
    """surface-distance: distances between surface elements, weighted by their length."""
    from surface_distance import compute_robust_hausdorff, compute_surface_distances

    def percentile(percent: float) -> Callable[[np.ndarray, np.ndarray], float]:
        return lambda a, b: compute_robust_hausdorff(
            compute_surface_distances(a, b, (1.0, 1.0)), percent
        )

    yield Method(
        "surface-distance",
        over_pairs(hausdorff=percentile(100), hausdorff_95=percentile(95)),
        {
            "hausdorff": "contour between the pixels, not on them",
            "hausdorff_95": "contour between the pixels; weighted by length",
        },
    )


PACKAGES = {
    "nucleigan": nucleigan_methods,
    "cellseg-metrics": cellseg_methods,
    "stardist": stardist_methods,
    "torchmetrics": torchmetrics_methods,
    "monai": monai_methods,
    "scikit-image": skimage_methods,
    "surface-distance": surface_distance_methods,
}


def over_pairs(
    **distances: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Average distances between two masks over the pairs that nucleigan matches."""
    from scipy.ndimage import find_objects

    from nucleigan.metrics import contingency

    def measure(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
        table = contingency(truth, prediction)
        boxes = find_objects(truth), find_objects(prediction)
        found: dict[str, list[float]] = {name: [] for name in distances}
        for cell in table.best_per_truth(table.overlap):
            ids = table.truth_ids[table.row[cell]], table.prediction_ids[table.column[cell]]
            ends = [box[number - 1] for box, number in zip(boxes, ids, strict=True)]
            box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*ends))
            # Contours end at the nucleus, not at the cut.
            masks = [
                np.pad(labels[box] == number, 1)
                for labels, number in zip((truth, prediction), ids, strict=True)
            ]
            for name, distance in distances.items():
                found[name].append(distance(*masks))
        return {name: float(np.mean(values)) for name, values in found.items()}

    return measure


def draw(size: int, pitch: int, rng: np.random.Generator) -> Maps:
    """Label maps (size, size) int32: ellipses at the knots of a grid, and what a model finds."""
    side = size // pitch
    count = side * side
    knots = np.stack(np.divmod(np.arange(count), side), axis=1) * pitch + pitch / 2
    centres = knots + rng.uniform(-pitch / 4, pitch / 4, (count, 2))
    axes = rng.uniform(0.3, 0.6, (count, 2)) * pitch
    truth = _ellipses(size, pitch, centres, axes, np.arange(1, count + 1))
    numbers = np.arange(1, count + 1)
    # Every tenth nucleus is merged with the one before it.
    numbers[1::10] = numbers[: len(numbers[1::10]) * 10 : 10]
    numbers[rng.random(count) < 0.1] = 0
    invented = rng.uniform(0, size, (count // 20, 2))
    found = _ellipses(
        size,
        pitch,
        np.concatenate([centres + rng.normal(0, pitch / 15, centres.shape), invented]),
        np.concatenate([axes * rng.uniform(0.8, 1.15, (count, 1)), axes[: len(invented)]]),
        np.concatenate([numbers, np.arange(count + 1, count + 1 + len(invented))]),
    )
    return truth, found


def _ellipses(
    size: int, pitch: int, centres: np.ndarray, axes: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """Later ellipses cover earlier ones; a number of 0 draws nothing."""
    labels = np.zeros((size, size), np.int32)
    y, x = np.mgrid[-pitch : pitch + 1, -pitch : pitch + 1]
    for centre, (height, width), number in zip(centres, axes, numbers, strict=True):
        if number == 0:
            continue
        top, left = np.round(centre).astype(int) - pitch
        inside = (y / height) ** 2 + (x / width) ** 2 < 1
        rows, columns = y[inside] + top + pitch, x[inside] + left + pitch
        kept = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        labels[rows[kept], columns[kept]] = number
    return labels


def installed() -> list[Method]:
    """All methods that can be imported; say which cannot."""
    methods: list[Method] = []
    for package, make in PACKAGES.items():
        try:
            methods.extend(make())
        except ImportError as error:
            print(
                f"missing: {package} ({error}); in an environment of its own: "
                f"pip install -e . {package}"
            )
    return methods


def measure(method: Method, maps: Maps, repeats: int) -> tuple[dict[str, float], float]:
    """Values and processor time; the first run, with compilation and imports, does not count."""
    values = method.measure(*maps)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        method.measure(*maps)
        seconds.append(time.process_time() - start)
    return values, min(seconds)


def report(rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    header = ["package", "version", "metric", "value", "difference", "s together", "rule"]
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print("\ndifference: to nucleigan's value. rule: why it differs.")


def _rows(method: Method, maps: Maps, repeats: int, ours: dict[str, float]) -> list[list[str]]:
    values, seconds = measure(method, maps, repeats)
    if method.package == "nucleigan":
        ours |= values
    rows = []
    for number, (name, value) in enumerate(values.items()):
        gap = value - ours[name]
        same = abs(gap) < SAME
        difference = f"{gap:+.1e}" if 0 < abs(gap) < SAME else f"{gap:+.5f}"
        rows.append(
            [
                method.package,
                _version(method.package),
                name,
                f"{value:.6f}",
                "" if method.package == "nucleigan" else difference,
                f"{seconds:.3f}" if number == 0 else "",
                "" if same else method.rules.get(name, "?"),
            ]
        )
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source"


def large() -> None:
    """Time and memory of all metrics on a whole slide, in this fresh process."""
    from nucleigan.metrics import measure_all

    y, x = np.ogrid[:10000, :10000]
    inside = np.hypot(y[:25] - 12, x[:, :25] - 12) < 10
    truth = (y // 25 * 400 + x // 25 + 1).astype(np.int32)
    truth *= np.tile(inside, (400, 400))
    prediction = np.roll(truth, (1, 2), axis=(0, 1))
    wall, processor = time.perf_counter(), time.process_time()
    measures = measure_all(truth, prediction)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"10,000 × 10,000 pixels, {len(np.unique(truth)) - 1:,} nuclei: {processor:.1f} s of "
        f"processor time, {wall:.1f} s in all, at most {peak:.2f} GiB with both maps "
        f"(AJI {measures['aji'].value:.4f}, Hausdorff {measures['hausdorff'].value:.3f} pixels)"
    )


def read(path: Path) -> np.ndarray:
    """A label map, (H, W)."""
    import tifffile

    return tifffile.imread(path)


def main() -> None:
    """Measure all installed packages and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--truth", type=Path, help="label TIFF; else drawn")
    parser.add_argument("--prediction", type=Path, help="label TIFF of the same size")
    parser.add_argument("--size", type=int, default=1000, help="of drawn maps, pixels (1000)")
    parser.add_argument("--pitch", type=int, default=25, help="between nuclei, pixels (25)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of every method (3)")
    parser.add_argument("--large", action="store_true", help="nucleigan alone on a whole slide")
    options = parser.parse_args()

    # Before anything that starts threads is imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    if options.large:
        return large()
    if options.truth and options.prediction:
        maps = read(options.truth), read(options.prediction)
    else:
        maps = draw(options.size, options.pitch, np.random.default_rng(0))
    counts = [len(np.unique(labels[labels > 0])) for labels in maps]
    print(f"{maps[0].shape} pixels, {counts[0]} true and {counts[1]} predicted nuclei, 1 thread")
    ours: dict[str, float] = {}
    rows = []
    for method in installed():
        try:
            rows += _rows(method, maps, options.repeats, ours)
        except Exception as error:
            print(f"failed: {method.package}: {error!r}")
        else:
            print(f"measured: {method.package}", flush=True)
    report(rows)


if __name__ == "__main__":
    main()
