"""Random polygon label maps, their parameters fitted to real nuclei, and the files of the stage.

A nucleus is an ellipse with smooth radial noise, drawn as a polygon with straight edges. A patch
draws its own density and its own mean size, since real patches differ more than the nuclei within
one. Nuclei are placed on a canvas wider than the patch, which is then cropped, so that the border
cuts them as it cuts real ones.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from nucleigan.artifacts import open_stack, read_json, write_json, write_stack
from nucleigan.config import MAX_ELONGATION, PolygonSettings
from nucleigan.errors import NucleiganError
from nucleigan.progress import progress
from nucleigan.randomness import generator

PATCH = 256  # the densities of the settings count nuclei in a square of this side, pixels
SPARSE = 0.1  # density of a sparse patch, relative
ELONGATION_SHIFT = 0.05  # keeps the logarithm of (elongation - 1) finite
HARMONICS = np.array([3, 4, 5, 6])  # 1 would move and 2 would stretch the ellipse
TRUNCATION = 2.5  # lognormal draws end here, standard deviations: no giants, no specks
ATTEMPTS = 24  # places tried for a nucleus, before it is left out
CLUSTER_ATTEMPTS = 12  # of these, beside an earlier nucleus
TOUCHING = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # pixel steps between neighbours
MIN_FIT = 20  # nuclei
# Beyond this part of nearly empty windows a warning is given; the Kumar tiles have none.
MOST_SPARSE = 0.5
MIN_ROUND_AREA = 80.0  # pixels; below, the pixel grid hides the irregularity of an outline
FIT_ROUNDS, FIT_MAPS = 4, 32  # simulations that irregularity and clustering are matched with


def outlines(
    rng: np.random.Generator,
    areas: np.ndarray,
    elongations: np.ndarray,
    angles: np.ndarray,
    irregularity: float,
    vertices: int,
) -> np.ndarray:
    """Random nuclear outlines around the origin.

    Parameters
    ----------
    rng
        Source of all randomness.
    areas, elongations, angles
        (N,) area in pixels (exact), ratio of major to minor axis, direction of the major axis in
        radians.
    irregularity
        Standard deviation of the radius around the ellipse, relative.
    vertices
        Vertices of each polygon.

    Returns
    -------
    numpy.ndarray
        (N, vertices, 2) float64, x and y in pixels.
    """
    number = len(areas)
    step = 2 * np.pi / vertices
    turn = (
        rng.random((number, 1)) + np.arange(vertices) + 0.3 * (rng.random((number, vertices)) - 0.5)
    )
    theta = step * turn
    phases = rng.random((number, 1, len(HARMONICS))) * 2 * np.pi
    # Uniform amplitudes, mean square 1: normal ones make a few nuclei into stars.
    weights = rng.uniform(0, math.sqrt(3), (number, 1, len(HARMONICS))) / HARMONICS
    weights *= irregularity * np.sqrt(2 / np.sum(1.0 / HARMONICS**2))
    radius = 1 + np.sum(weights * np.cos(theta[..., None] * HARMONICS + phases), axis=-1)
    radius = np.maximum(radius, 0.3)
    stretch = np.sqrt(elongations)[:, None]
    x, y = radius * np.cos(theta) * stretch, radius * np.sin(theta) / stretch
    cross = x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y
    scale = np.sqrt(areas / (0.5 * np.abs(cross.sum(axis=1))))[:, None]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.stack((scale * (cos * x - sin * y), scale * (sin * x + cos * y)), axis=-1)


def rasterise(polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels whose centres lie inside polygons (even-odd rule; centres at whole coordinates).

    Parameters
    ----------
    polygons
        (N, V, 2) x and y in pixels.

    Returns
    -------
    masks : numpy.ndarray
        (N, B, B) bool, one square box for all.
    origins : numpy.ndarray
        (N, 2) int64, column and row of each box's first pixel.
    """
    origins = np.floor(polygons.min(axis=1)).astype(np.int64)
    local = polygons - origins[:, None]
    box = int(np.ceil(local.max())) + 1
    following = np.roll(local, -1, axis=1)
    rows = np.arange(box)
    crosses = (local[..., 1, None] <= rows) != (following[..., 1, None] <= rows)
    shape, edge, row = np.nonzero(crosses)
    start, end = local[shape, edge], following[shape, edge]
    part = (row - start[:, 1]) / (end[:, 1] - start[:, 1])
    column = np.ceil(start[:, 0] + part * (end[:, 0] - start[:, 0])).astype(np.int64)
    index = (shape * box + row) * box + np.minimum(column, box - 1)
    flips = np.bincount(index, minlength=len(polygons) * box * box).astype(np.uint8)
    parity = np.cumsum(flips.reshape(-1, box, box), axis=2, dtype=np.uint8) & 1
    return parity.astype(bool), origins


def sample_polygons(rng: np.random.Generator, settings: PolygonSettings, size: int) -> np.ndarray:
    """One random polygon label map.

    Where a nucleus would lie over earlier ones, it keeps what remains; of a nucleus that falls
    into several pieces the largest is kept. So every id is one (8-connected) piece.

    Parameters
    ----------
    rng
        Source of all randomness.
    settings
        Densities are per 256×256 pixels, whatever ``size``.
    size
        Height and width, pixels.

    Returns
    -------
    numpy.ndarray
        (size, size) int32, 0 background, ids consecutive from 1.
    """
    level, mean_log_area = _draw_patch(rng, settings)
    margin = _margin(mean_log_area, settings)
    side = size + 2 * margin
    number = int(level * (side / PATCH) ** 2 + rng.random())
    if number == 0:
        return np.zeros((size, size), np.int32)
    deviations = _truncated(rng, (2, number))
    shapes = outlines(
        rng,
        np.exp(mean_log_area + settings.area_spread * deviations[0]),
        _elongations(deviations[1], settings),
        rng.random(number) * np.pi,
        settings.irregularity,
        settings.vertices,
    )
    canvas = _place(rng, shapes, side, settings)[margin : margin + size, margin : margin + size]
    return _whole(canvas)


def _draw_patch(rng: np.random.Generator, settings: PolygonSettings) -> tuple[float, float]:
    """Number of nuclei per PATCH² and mean logarithm of the area of one patch."""
    z_density, z_area = _truncated(rng, (2,))
    rho = settings.density_area_correlation
    spread = settings.density_spread
    mean = settings.density / (1 - (1 - SPARSE) * settings.sparse_fraction)
    level = mean * math.exp(spread * z_density - spread**2 / 2)
    if rng.random() < settings.sparse_fraction:
        level *= SPARSE
    # Dense patches hold more of all nuclei; without the last term their size would pull the
    # median of all nuclei away from settings.area.
    z_area = rho * (z_density - spread) + math.sqrt(1 - rho**2) * z_area
    return level, math.log(settings.area) + settings.area_spread_between * z_area


def _margin(mean_log_area: float, settings: PolygonSettings) -> int:
    """Half the length of a nearly largest nucleus, pixels."""
    area = math.exp(mean_log_area + 1.5 * settings.area_spread)
    return math.ceil(math.sqrt(area * settings.elongation / math.pi)) + 2


def _truncated(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.clip(rng.standard_normal(shape), -TRUNCATION, TRUNCATION)


def _elongations(deviations: np.ndarray, settings: PolygonSettings) -> np.ndarray:
    centre = settings.elongation - 1 + ELONGATION_SHIFT
    drawn = 1 - ELONGATION_SHIFT + centre * np.exp(settings.elongation_spread * deviations)
    return np.clip(drawn, 1, MAX_ELONGATION)


def _place(
    rng: np.random.Generator, shapes: np.ndarray, side: int, settings: PolygonSettings
) -> np.ndarray:
    """Put shapes on a canvas of (side, side), one after the other, within the overlap limit."""
    number = len(shapes)
    shapes = shapes + rng.random((number, 1, 2)) - 0.5
    masks, origins = rasterise(shapes)
    areas = masks.sum(axis=(1, 2))
    radii, bins = _radii(shapes)
    clustered = rng.random(number) < settings.clustering
    draws = rng.random((number, ATTEMPTS, 3))
    pad = masks.shape[1] + int(np.abs(origins).max())
    canvas = np.zeros((side + 2 * pad, side + 2 * pad), np.int32)
    places = np.zeros((number, 2), np.int64)
    done: list[int] = []
    for k in range(number):
        mask = masks[k]
        allowed = settings.overlap * areas[k]
        for attempt in range(ATTEMPTS):
            u = draws[k, attempt]
            if clustered[k] and done and attempt < CLUSTER_ATTEMPTS:
                partner = done[int(u[0] * len(done))]
                bin_ = int(u[1] * bins)
                reach = radii[partner, bin_] + radii[k, (bin_ + bins // 2) % bins] + 2 * u[2]
                angle = 2 * math.pi * (bin_ + 0.5) / bins
                x = round(places[partner, 0] + reach * math.cos(angle))
                y = round(places[partner, 1] + reach * math.sin(angle))
                if not (0 <= x < side and 0 <= y < side):
                    continue
            else:
                x, y = int(u[0] * side), int(u[1] * side)
            column, row = x + origins[k, 0] + pad, y + origins[k, 1] + pad
            view = canvas[row : row + mask.shape[0], column : column + mask.shape[1]]
            taken = view > 0
            taken &= mask
            if np.count_nonzero(taken) <= allowed:
                view[mask ^ taken] = k + 1
                places[k] = x, y
                done.append(k)
                break
    return canvas[pad : pad + side, pad : pad + side]


def _radii(shapes: np.ndarray, bins: int = 32) -> tuple[np.ndarray, int]:
    """Distance from the origin to the outline, by direction: (N, bins)."""
    angles = np.arctan2(shapes[..., 1], shapes[..., 0])
    lengths = np.hypot(shapes[..., 0], shapes[..., 1])
    centres = 2 * np.pi * (np.arange(bins) + 0.5) / bins
    table = [
        np.interp(centres, a, r, period=2 * np.pi) for a, r in zip(angles, lengths, strict=True)
    ]
    return np.array(table), bins


def _whole(labels: np.ndarray) -> np.ndarray:
    """Keep the largest piece of every id and number the ids from 1."""
    from skimage.measure import label

    pieces, count = label(labels, connectivity=2, background=0, return_num=True)
    if count == 0:
        return np.zeros(labels.shape, np.int32)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, np.int64)
    owner[pieces.ravel()] = labels.ravel()
    # Largest piece first, then the first of each id.
    order = np.lexsort((np.arange(count), -areas[1:], owner[1:])) + 1
    first = np.r_[True, np.diff(owner[order]) > 0]
    table = np.zeros(count + 1, np.int32)
    table[order[first]] = np.arange(1, first.sum() + 1)
    return table[pieces]


@dataclass(frozen=True)
class NucleiTable:
    """What is measured of the nuclei of one label map; all arrays (N,), one row per nucleus.

    Attributes
    ----------
    area : pixels.
    elongation : ratio of the axes of the ellipse with the same second moments.
    outside : fraction of the pixels outside that ellipse.
    touching : another nucleus within two pixels.
    complete : not cut by the border of the map.
    counted : touches neither the top nor the left border. Counting these alone is free of the
        bias of cut nuclei (the counting frame of Gundersen 1977).
    x, y : centroid, pixels.
    """

    area: np.ndarray
    elongation: np.ndarray
    outside: np.ndarray
    touching: np.ndarray
    complete: np.ndarray
    counted: np.ndarray
    x: np.ndarray
    y: np.ndarray


def measure_nuclei(labels: np.ndarray) -> NucleiTable:
    """Measure all nuclei of a label map in one pass over its pixels.

    Parameters
    ----------
    labels
        (H, W) integers, 0 background.
    """
    y, x = np.nonzero(labels)
    ids, which = np.unique(labels[y, x], return_inverse=True)
    number = len(ids)
    area = np.bincount(which, minlength=number).astype(float)
    safe = np.maximum(area, 1)
    mean_x = np.bincount(which, x, number) / safe
    mean_y = np.bincount(which, y, number) / safe
    dx, dy = x - mean_x[which], y - mean_y[which]
    # 1/12 is the second moment of a pixel.
    xx = np.bincount(which, dx * dx, number) / safe + 1 / 12
    yy = np.bincount(which, dy * dy, number) / safe + 1 / 12
    xy = np.bincount(which, dx * dy, number) / safe
    half, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    determinant = xx * yy - xy**2
    distance = (yy[which] * dx * dx - 2 * xy[which] * dx * dy + xx[which] * dy * dy) / determinant[
        which
    ]
    height, width = labels.shape
    top_left = np.bincount(which, (x == 0) | (y == 0), number) > 0
    bottom_right = np.bincount(which, (x == width - 1) | (y == height - 1), number) > 0
    return NucleiTable(
        area=area,
        elongation=np.sqrt((half + root) / np.maximum(half - root, 1e-9)),
        outside=np.bincount(which, distance > 4, number) / safe,
        touching=np.isin(ids, _touching_ids(labels)),
        complete=~top_left & ~bottom_right,
        counted=~top_left,
        x=mean_x,
        y=mean_y,
    )


def _touching_ids(labels: np.ndarray) -> np.ndarray:
    height, width = labels.shape
    found = []
    for down, right in TOUCHING:
        one = labels[: height - down, max(0, -right) : width - max(0, right)]
        other = labels[down:, max(0, right) : width + min(0, right)]
        pair = (one != other) & (one > 0) & (other > 0)
        found += [one[pair], other[pair]]
    return np.unique(np.concatenate(found))


def fit_polygons(labels: Iterable[np.ndarray], settings: PolygonSettings) -> PolygonSettings:
    """Parameters of the sampler from real label maps.

    Sizes, elongations and densities are read off directly; shapes from nuclei that the border
    does not cut, spreads between patches from windows of about 256×256 pixels. Irregularity and
    clustering, which the pixel grid and chance contacts disguise, are matched by simulation: maps
    are sampled and measured like the real ones until both agree.

    Parameters
    ----------
    labels
        (H, W) label maps at the working magnification, any sizes.
    settings
        Source of what labels do not show (count, shards, vertices, overlap).

    Returns
    -------
    PolygonSettings

    Raises
    ------
    NucleiganError
        Fewer than 20 complete nuclei.
    """
    tables: list[NucleiTable] = []
    windows: list[_Window] = []
    for label_map in labels:
        table = measure_nuclei(label_map)
        tables.append(table)
        windows += _windows(table, label_map.shape)
    complete = [table.complete for table in tables]
    area = _join([t.area for t in tables], complete)
    if len(area) < MIN_FIT:
        raise NucleiganError(
            f"polygons.fit: found {len(area)} complete nuclei in {len(tables)} training label "
            f"maps, expected at least {MIN_FIT}; add annotated training slides or set polygons.fit "
            "to false."
        )
    stretch = np.log(_join([t.elongation for t in tables], complete) - 1 + ELONGATION_SHIFT)
    density, sparse, density_spread, used = _fit_density(windows)
    if sparse > MOST_SPARSE:
        print(
            f"warning: {sparse:.0%} of the windows of training slides hold hardly any nucleus, as "
            "those of glass do, and so will as many polygon maps; cut the slides to their tissue, "
            "or set polygons.fit to false.",
            flush=True,
        )
    within, between, correlation = _fit_spreads(used, density_spread)
    elongation = np.exp(np.median(stretch)) + 1 - ELONGATION_SHIFT
    fitted = settings.model_copy(
        update={
            "density": density,
            "density_spread": density_spread,
            "sparse_fraction": sparse,
            "area": float(np.median(area)),
            "area_spread": within,
            "area_spread_between": between,
            "density_area_correlation": correlation,
            "elongation": float(np.clip(elongation, 1, MAX_ELONGATION)),
            "elongation_spread": _robust_spread(stretch),
        }
    )
    return _match(fitted, _outline_measures(tables))


@dataclass(frozen=True)
class _Window:
    count: float  # nuclei per PATCH²
    log_areas: np.ndarray


def _windows(table: NucleiTable, shape: tuple[int, ...]) -> list[_Window]:
    """Nuclei by window; windows are equal parts of the map, as close to PATCH as possible."""
    rows, columns = (max(1, round(length / PATCH)) for length in shape)
    which = (table.y * rows // shape[0] * columns + table.x * columns // shape[1]).astype(int)
    unit = PATCH**2 * rows * columns / (shape[0] * shape[1])
    found = []
    for window in range(rows * columns):
        inside = which == window
        count = float(np.count_nonzero(inside & table.counted)) * unit
        found.append(_Window(count, np.log(table.area[inside & table.complete])))
    return found


def _fit_density(windows: list[_Window]) -> tuple[float, float, float, list[_Window]]:
    """Mean, fraction of sparse windows, log spread of the others, and the others."""
    counts = np.array([window.count for window in windows])
    filled = counts >= 0.2 * np.median(counts[counts > 0])
    logs = np.log(counts[filled])
    # Counts scatter by chance too; nuclei exclude each other, so by about half of Poisson's.
    variance = max(0.0, float(logs.var()) - 0.5 / float(counts[filled].mean()))
    used = [window for window, keep in zip(windows, filled, strict=True) if keep]
    return float(counts.mean()), float(1 - filled.mean()), math.sqrt(variance), used


def _fit_spreads(windows: list[_Window], density_spread: float) -> tuple[float, float, float]:
    """Spread of the log area within and between windows, and its correlation with density."""
    groups = [window for window in windows if len(window.log_areas) >= 3]
    if not groups:
        # So few a window that they tell of all windows together alone.
        areas = np.concatenate([window.log_areas for window in windows])
        return _robust_spread(areas) if len(areas) else 0.0, 0.0, 0.0
    sizes = np.array([len(group.log_areas) for group in groups])
    means = np.array([np.median(group.log_areas) for group in groups])
    within = _robust_spread(
        np.concatenate([g.log_areas - m for g, m in zip(groups, means, strict=True)])
    )
    # Chance moves a median of n normal numbers by sqrt(π/2n) standard deviations.
    chance = within**2 * float(np.mean(np.pi / 2 / sizes))
    between = math.sqrt(max(0.0, float(means.var()) - chance))
    scale = between * density_spread
    if len(groups) < 3 or scale < 1e-3:
        return within, between, 0.0
    logs = np.log([max(group.count, 1e-9) for group in groups])
    shared = float(np.mean((logs - logs.mean()) * (means - means.mean())))
    return within, between, float(np.clip(shared / scale, -0.95, 0.95))


def _robust_spread(values: np.ndarray) -> float:
    """Standard deviation of the normal distribution with the same 10th and 90th percentile."""
    low, high = np.percentile(values, (10, 90))
    return float(high - low) / 2.563


def _outline_measures(tables: Sequence[NucleiTable]) -> tuple[float, float]:
    """Median part outside the ellipse, and fraction of nuclei that touch another."""
    complete = [table.complete for table in tables]
    touching = _join([t.touching for t in tables], complete)
    large = [table.complete & (table.area >= MIN_ROUND_AREA) for table in tables]
    outside = _join([t.outside for t in tables], large)
    return (
        float(np.median(outside)) if len(outside) else 0.0,
        float(touching.mean()) if len(touching) else 0.0,
    )


def _match(fitted: PolygonSettings, target: tuple[float, float]) -> PolygonSettings:
    """Choose irregularity and clustering so that sampled maps measure like the real ones."""
    # For small noise the part outside the ellipse is E[max(0, 2 ε)] = 0.80 σ.
    irregularity, clustering = min(0.3, target[0] / 0.8), target[1]
    for _ in range(FIT_ROUNDS):
        trial = fitted.model_copy(update={"irregularity": irregularity, "clustering": clustering})
        maps = (sample_polygons(generator(0, "fit", i), trial, PATCH) for i in range(FIT_MAPS))
        outside, touching = _outline_measures([measure_nuclei(sampled) for sampled in maps])
        square = irregularity**2 + (target[0] ** 2 - outside**2) / 0.8**2
        irregularity = min(0.3, math.sqrt(max(0.0, square)))
        clustering = min(1.0, max(0.0, clustering + target[1] - touching))
    return fitted.model_copy(update={"irregularity": irregularity, "clustering": clustering})


def _join(columns: Iterable[np.ndarray], keep: Iterable[np.ndarray]) -> np.ndarray:
    parts = [column[rows] for column, rows in zip(columns, keep, strict=True)]
    return np.concatenate(parts) if parts else np.zeros(0)


def fit_sampler(
    label_paths: Sequence[str | Path], output: str | Path, settings: PolygonSettings
) -> PolygonSettings:
    """Write the sampler's settings as JSON: fitted, or unchanged where ``settings.fit`` is false.

    Parameters
    ----------
    label_paths
        TIFF label maps, or stacks of them, of training slides only.
    output
        The JSON file, read by :func:`write_polygons`.
    settings
        The section ``polygons`` of the configuration.
    """
    if settings.fit:
        paths = progress(label_paths, len(label_paths), "label maps")
        maps = itertools.chain.from_iterable(map(_read_maps, paths))
        settings = fit_polygons(maps, settings)
    # How many maps are drawn, and in how many parts, is no matter of the sampler.
    write_json(output, settings.model_dump(exclude={"count", "shards"}))
    return settings


def _read_maps(path: str | Path) -> Iterator[np.ndarray]:
    try:
        with tifffile.TiffFile(path) as file:
            for page in file.pages:
                yield page.asarray()
    except (OSError, ValueError) as error:  # TiffFileError is a ValueError
        raise NucleiganError(
            f"{path}: cannot be read as a TIFF label map ({error}); delete it and run the same "
            "command again."
        ) from error


def write_polygons(
    output: str | Path,
    start: int,
    stop: int,
    seed: int,
    size: int,
    settings: str | Path | PolygonSettings,
) -> None:
    """Write one shard of random label maps as a stack, (stop - start, size, size) int32.

    Map ``i`` depends on the seed, ``i``, the size and the settings alone, not on the shard.

    Parameters
    ----------
    output
        The TIFF stack.
    start, stop
        First map, and the one after the last.
    seed
        The experiment's seed.
    size
        Height and width, pixels.
    settings
        The JSON file that :func:`fit_sampler` wrote, or the settings themselves.
    """
    if not isinstance(settings, PolygonSettings):
        settings = PolygonSettings.model_validate(read_json(settings))
    maps = (
        sample_polygons(generator(seed, "polygon", i), settings, size) for i in range(start, stop)
    )
    count = stop - start
    write_stack(output, (count, size, size), np.int32, progress(maps, count, "polygon maps"))


def polygon_sheet(stack_paths: Sequence[str | Path], output: str | Path, count: int = 32) -> None:
    """Draw a contact sheet of label maps, spread evenly over the shards, a colour per nucleus.

    Parameters
    ----------
    stack_paths
        Stacks written by :func:`write_polygons`.
    output
        The PNG file.
    count
        Label maps to show.
    """
    from nucleigan.figures.sheets import contact_sheet

    stacks = [open_stack(path) for path in stack_paths]
    total = sum(len(stack) for stack in stacks)
    chosen = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    starts = np.cumsum([0] + [len(stack) for stack in stacks])
    shards = np.searchsorted(starts, chosen, side="right") - 1
    maps = [stacks[s][i - starts[s]] for s, i in zip(shards, chosen, strict=True)]
    contact_sheet([colour_labels(label_map) for label_map in maps], output, columns=8)


def colour_labels(labels: np.ndarray) -> np.ndarray:
    """A bright colour for each id on black: (H, W) integers to (H, W, 3) uint8."""
    # Steps of the golden ratio keep the hues of neighbouring ids apart.
    hue = np.arange(int(labels.max()) + 1) * 0.618034 % 1
    channel = np.abs((hue[:, None] + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1
    table = (80 + 175 * np.clip(channel, 0, 1)).astype(np.uint8)
    table[0] = 0
    return table[labels]
