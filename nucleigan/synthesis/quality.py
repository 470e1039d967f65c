"""How good the synthetic pairs are: realism, diversity, memory, and the shapes of their nuclei."""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nucleigan.artifacts import open_image, read_table, write_table
from nucleigan.config import ComputeSettings
from nucleigan.masks.polygons import measure_nuclei
from nucleigan.models.features import (
    EXTRACTOR,
    features,
    kernel_distance,
    nearest,
    spread,
    standardise,
)
from nucleigan.models.painter import Painter
from nucleigan.models.spectrum import Spectra, spectra
from nucleigan.patches import grid
from nucleigan.progress import progress
from nucleigan.randomness import generator, torch_seed
from nucleigan.slides.tissue import tissue_mask
from nucleigan.training import compute as computing
from nucleigan.training.data import Patches, to_network
from nucleigan.windows import Picture

# Windows whose spectra are taken at once, for the sake of memory.
AT_ONCE = 50
# Windows that images are compared by: side in pixels, and how many of each kind.
SIDE, WINDOWS = 128, 400
# Training windows that copies are looked for among, side by side at half their side.
MOST_TRAINING = 4000
# Of each kind, so many are compared with those, each in eight views.
IN_VIEWS = 200
# A window nearer to a training window than this part of the unseen ones is called a copy.
COPY = 0.01
# Of a window, so much is tissue, where one of so many drawn ones has it: what lies between pieces
# of tissue on whole slides is not painted.
TISSUE, TRIES = 0.5, 50
# Unseen slides that windows are drawn from; more would cost memory and add little.
UNSEEN = 16
# Label maps whose nuclei are measured.
MAPS = 200
# Of those, the maps whose nuclei are wrapped into convex hulls, which takes long.
HULLS = 40
# Maps painted several times, and how often.
REPAINTED, TIMES = 8, 4

SHAPES = {
    "area": "Area, pixels",
    "elongation": "Elongation (major over minor axis)",
    "solidity": "Solidity (part of the convex hull)",
    "irregularity": "Part outside the ellipse of equal moments",
    "density": "Nuclei a megapixel",
    "neighbour": "Distance to the nearest neighbour, pixels",
}


def judge(
    images: Sequence[str],
    labels: Sequence[str],
    real_images: Sequence[str | Path],
    real_labels: str | Path,
    held_out: Sequence[str],
    weights: str | Path,
    agreement: str | Path,
    table_output: str | Path,
    figure_output: str | Path,
    compute_settings: ComputeSettings,
    seed: int,
) -> None:
    """Measure the synthetic pairs against real patches.

    Parameters
    ----------
    images, labels
        Stacks of the synthetic pairs.
    real_images
        Stacks of the patches that the CycleGAN has learned from.
    real_labels
        Stack of the label maps of those that are annotated.
    held_out
        Normalised slides that the CycleGAN has not seen.
    weights
        Generator of the CycleGAN, to paint the same mask several times.
    agreement
        CSV of :func:`nucleigan.synthesis.agreement.judge_agreement`.
    table_output
        CSV: ``measure``, ``synthetic``, ``reference`` (the same of real tissue), ``meaning``.
    figure_output
        PNG: distributions of the nuclei's shapes, synthetic and real.
    compute_settings
        Device, precision and threads.
    seed
        Of the windows drawn.
    """
    compute = computing.prepare(compute_settings)
    painted, maps = Patches.open(images), Patches.open(labels)
    real, real_maps = Patches.open(real_images), Patches.open([real_labels])
    print(f"extractor {EXTRACTOR}", flush=True)

    rng = generator(seed, "quality")
    windows = [_windows(source, rng) for source in (painted, real)]
    chosen = np.linspace(0, len(held_out) - 1, min(UNSEEN, len(held_out))).astype(int)
    with ExitStack() as slides:
        opened = [slides.enter_context(open_image(held_out[n])) for n in chosen]
        windows.append(_windows(opened, rng))
    glass = sum(tissue_mask(window).mean() < TISSUE for window in windows[2])
    if glass:
        print(
            f"warning: {glass} of {len(windows[2])} windows of unseen slides show mostly glass, "
            "and the references are those of glass in part; leave out slides with little tissue, "
            "or cut them.",
            flush=True,
        )
    # Windows of one size alone can be compared.
    side = min(some.shape[1] for some in windows)
    windows = [some[:, :side, :side] for some in windows]
    rows = _spectrum_rows(*map(_spectrum, windows))
    made, train, unseen = map(features, windows)
    learned = features(_all_windows(real, side))
    looked_at = slice(None, None, max(1, WINDOWS // IN_VIEWS))
    distances = [_nearest(some[looked_at], learned, unseen) for some in (windows[0], windows[2])]
    unseen, made, train = standardise(unseen, made, train)
    rows = [*_image_rows(made, train, unseen, rng), *rows]
    rows += _memory_rows(*distances)
    repaint, between = _repainted(weights, maps, compute, seed)
    rows.append(
        {
            "measure": "one mask, many images",
            # A generator that has collapsed paints one image for all masks.
            "synthetic": repaint / between if between > 0 else float("nan"),
            "reference": 1.0,
            "meaning": "distance between images of one mask over that between masks; 0: one look",
        }
    )

    rows += _agreement_rows(read_table(agreement))
    ours, theirs = _shapes(maps, rng), _shapes(real_maps, rng)
    rows += [_shape_row(name, ours[name], theirs[name]) for name in SHAPES]
    write_table(table_output, pd.DataFrame(rows), digits=5)

    from nucleigan.figures.distributions import distributions

    pairs = {title: (ours[name], theirs[name]) for name, title in SHAPES.items()}
    distributions(pairs, ("polygons", "training nuclei"), figure_output)


def _windows(pictures: Patches | Sequence[Picture], rng: np.random.Generator) -> np.ndarray:
    """Random windows of tissue, as many of every picture as far as it goes; (N, s, s, 3) uint8.

    Of a picture that is mostly glass they are those with the most tissue of :data:`TRIES`.
    """
    found = []
    for place in range(WINDOWS):
        picture = pictures[place * len(pictures) // WINDOWS]
        side = min(SIDE, *picture.shape[:2])
        best, most = None, -1.0
        for _ in range(TRIES):
            y, x = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
            window = picture[y : y + side, x : x + side]
            tissue = float(tissue_mask(window).mean())
            if tissue > most:
                best, most = window, tissue
            if tissue >= TISSUE:
                break
        assert best is not None
        found.append(best)
    least = min(len(one) for one in found)
    return np.stack([one[:least, :least] for one in found])


def _all_windows(patches: Patches, side: int) -> np.ndarray:
    """Windows at most half a side apart, an even choice if many; (N, s, s, 3) uint8."""
    height, width = patches[0].shape[:2]
    steps = [grid(length, side, max(1, side // 2)) for length in (height, width)]
    places = list(itertools.product(range(len(patches)), *steps))
    chosen = np.linspace(0, len(places) - 1, min(MOST_TRAINING, len(places))).astype(int)
    windows = [
        patches[number][y : y + side, x : x + side]
        for number, y, x in (places[place] for place in chosen)
    ]
    return np.stack(windows)


def _image_rows(
    made: np.ndarray, train: np.ndarray, unseen: np.ndarray, rng: np.random.Generator
) -> list[dict[str, object]]:
    distance, error = kernel_distance(made, unseen, rng)
    floor, floor_error = kernel_distance(train, unseen, rng)
    return [
        {
            "measure": "kernel distance (KID)",
            "synthetic": distance,
            "reference": floor,
            "meaning": f"to unseen real windows, by {EXTRACTOR}; the reference is that of training "
            f"windows; standard errors over subsets of these windows {error:.3g} and "
            f"{floor_error:.3g}, less than other slides would make",
        },
        {
            "measure": "diversity",
            "synthetic": spread(made),
            "reference": spread(unseen),
            "meaning": "mean distance between windows; lower than the reference: fewer looks",
        },
    ]


def _spectrum(windows: np.ndarray) -> torch.Tensor:
    """Mean log power of windows (N, H, W, 3) uint8 in bands of spatial frequency, (3, B, B)."""
    parts = [
        spectra(torch.from_numpy(np.stack([to_network(window) for window in some])))
        for some in np.array_split(windows, -(-len(windows) // AT_ONCE))
    ]
    return Spectra(*(torch.stack(each).sum(dim=0) for each in zip(*parts, strict=True))).mean()


def _spectrum_rows(
    made: torch.Tensor, train: torch.Tensor, unseen: torch.Tensor
) -> list[dict[str, object]]:
    apart = {"synthetic": made - unseen, "reference": train - unseen}
    return [
        {
            "measure": "spectrum",
            **{name: each.square().mean().sqrt().item() for name, each in apart.items()},
            "meaning": "root mean square over spatial frequencies of the difference to unseen "
            "windows in the logarithm of the power; far above the reference: another texture",
        },
        {
            "measure": "woven pattern",
            **{name: each.mean(dim=0).max().exp().item() for name, each in apart.items()},
            "meaning": "times the power of unseen windows, in the band that exceeds them most; far "
            "above the reference: a pattern repeats itself",
        },
    ]


def _nearest(windows: np.ndarray, learned: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Distance of windows, turned and mirrored as a CycleGAN sees them, to the nearest learned one.

    Parameters
    ----------
    windows
        (N, s, s, 3) uint8.
    learned, reference
        Features of what was learned from, and of those whose spread is the unit.

    Returns
    -------
    (N,), of each window's nearest view.
    """
    _, learned = standardise(reference, learned)
    views = [
        np.rot90(one, quarter, axes=(1, 2))
        for one in (windows, windows[:, ::-1])
        for quarter in range(4)
    ]
    found = [nearest(standardise(reference, features(view))[1], learned) for view in views]
    distances: np.ndarray = np.min(found, axis=0)
    return distances


def _memory_rows(made: np.ndarray, unseen: np.ndarray) -> list[dict[str, object]]:
    """Rows from the distances of synthetic and of unseen windows to the nearest training window."""
    return [
        {
            "measure": "nearest training window",
            "synthetic": float(np.median(made)),
            "reference": float(np.median(unseen)),
            "meaning": "median distance of the nearest of eight views; far below the reference: "
            "training images are repeated",
        },
        {
            "measure": "copies of training windows",
            "synthetic": float(np.mean(made < np.quantile(unseen, COPY))),
            "reference": COPY,
            "meaning": "part of the windows that is nearer to a training window than "
            f"{1 - COPY:.0%} of the unseen ones are; far above the reference: some are repeated. "
            "Training windows are looked at every half side alone: what lies between is missed",
        },
    ]


def _agreement_rows(pairs: pd.DataFrame) -> list[dict[str, object]]:
    judged = "between masks and what a segmenter of real slides finds in their images"
    return [
        {
            "measure": "agreement (AJI)",
            "synthetic": pairs["aji"].mean(),
            "meaning": f"mean {judged}; a tenth of the pairs are below "
            f"{pairs['aji'].quantile(0.1):.3g}",
        },
        {
            "measure": "agreement (Dice)",
            "synthetic": pairs["dice"].mean(),
            "meaning": f"mean {judged}, pixels",
        },
    ]


def _repainted(
    weights: str | Path, maps: Patches, compute: computing.Compute, seed: int
) -> tuple[float, float]:
    """Mean feature distance between images of the same mask, and of different masks."""
    painter = Painter(weights, compute)
    chosen = np.linspace(0, len(maps) - 1, min(REPAINTED, len(maps))).astype(int)
    found = []
    for number in chosen:
        seeds = [torch_seed(seed, "repaint", number, time) for time in range(TIMES)]
        found.append(features(painter.paint([maps[number]] * TIMES, seeds)))
    (scaled,) = standardise(np.concatenate(found))
    groups = scaled.reshape(len(chosen), TIMES, -1)
    within = float(np.mean([spread(group) for group in groups]))
    return within, float(np.mean([spread(groups[:, time]) for time in range(TIMES)]))


def _shapes(maps: Patches, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Measures of whole nuclei, and of maps; see :data:`SHAPES`."""
    from scipy.spatial import KDTree

    found: dict[str, list[np.ndarray]] = {name: [] for name in SHAPES}
    chosen = rng.permutation(len(maps))[:MAPS]
    for place, number in enumerate(progress(chosen, len(chosen), "label maps")):
        table = measure_nuclei(maps[number])
        if place < HULLS:
            found["solidity"].append(_solidity(maps[number])[table.complete])
        found["area"].append(table.area[table.complete])
        found["elongation"].append(table.elongation[table.complete])
        found["irregularity"].append(table.outside[table.complete])
        pixels = maps[number].size
        found["density"].append(np.array([table.counted.sum() * 1e6 / pixels]))
        if len(table.x) > 1:
            points = np.column_stack([table.x, table.y])
            found["neighbour"].append(KDTree(points).query(points, k=2)[0][:, 1])
    return {name: np.concatenate(values or [np.zeros(0)]) for name, values in found.items()}


def _solidity(labels: np.ndarray) -> np.ndarray:
    """Area over that of the convex hull, of each nucleus in the order of its id; (N,)."""
    from skimage.measure import regionprops_table

    measured = regionprops_table(labels, properties=("area", "area_convex"))
    ratio: np.ndarray = measured["area"] / measured["area_convex"]
    return ratio


def _shape_row(name: str, ours: np.ndarray, theirs: np.ndarray) -> dict[str, object]:
    from scipy.stats import wasserstein_distance

    def distance(some: np.ndarray, others: np.ndarray) -> float:
        known = len(some) > 0 and len(others) > 0 and theirs.std() > 0
        return float(wasserstein_distance(some, others) / theirs.std()) if known else float("nan")

    # In the random order in which the maps were measured.
    halves = np.array_split(theirs, 2)
    return {
        "measure": f"shape: {name}",
        "synthetic": distance(ours, theirs),
        "reference": distance(*halves),
        "meaning": "earth mover's distance to the training nuclei, in their standard deviations; "
        "the reference is that of one half of them to the other, which share slides",
    }
