"""Stain normalisation beside other packages: time, closeness to a published result, repetition.

All methods that are installed run one after another in this process on the same images and the same
number of threads. The others are no dependencies of nucleigan; give them an environment of their
own, beside an installation of nucleigan:

    python -m venv bench && bench/bin/pip install -e . staintools spams-bin opencv-python-headless \
        torch-staintools torchstain stainx
    bench/bin/python benchmarks/stain.py --source source.png --target target.png \
        --published normalised.png --tiles tiles/

Seconds are those of one tile given the fitted reference: estimate its stains and normalise it.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

Transform = Callable[[np.ndarray], np.ndarray]
# By which libraries are told how many threads they may start.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ENDINGS = {".tif", ".tiff", ".png"}


class Method(NamedTuple):
    """One way to normalise.

    ``fit`` takes the target, (H, W, 3) uint8, and returns what normalises an image of that kind.
    """

    name: str
    package: str
    sparse: str
    fit: Callable[[np.ndarray], Transform]


def nucleigan_methods() -> Iterator[Method]:
    """The library itself."""
    from nucleigan.stain import estimate_stains, normalize

    def fit(target: np.ndarray) -> Transform:
        reference = estimate_stains(target)
        return lambda image: normalize(image, estimate_stains(image), reference)

    yield Method("nucleigan", "nucleigan", "yes", fit)


def staintools_methods() -> Iterator[Method]:
    """StainTools: SPAMS, a second of wall clock for every dictionary."""
    import staintools

    def fitter(method: str) -> Callable[[np.ndarray], Transform]:
        def fit(target: np.ndarray) -> Transform:
            normalizer = staintools.StainNormalizer(method)
            normalizer.fit(target)
            return normalizer.transform

        return fit

    yield Method("StainTools vahadane", "staintools", "yes", fitter("vahadane"))
    yield Method("StainTools macenko", "staintools", "no", fitter("macenko"))


def torch_staintools_methods() -> Iterator[Method]:
    """torch-staintools: dictionary learning in PyTorch; not compiled, as on a bare machine."""
    import torch
    from torch_staintools.constants import CONFIG
    from torch_staintools.normalizer import NormalizerBuilder

    CONFIG.ENABLE_COMPILE = False

    def fitter(method: str, **options: object) -> Callable[[np.ndarray], Transform]:
        def fit(target: np.ndarray) -> Transform:
            normalizer = NormalizerBuilder.build(method, rng=0, **options)
            normalizer.fit(_tensor(target))

            def transform(image: np.ndarray) -> np.ndarray:
                with torch.no_grad():
                    return _levels(normalizer(_tensor(image)), 255.0)

            return transform

        return fit

    package = "torch-staintools"
    # The same sparsity and threshold of tissue as nucleigan's concentrations.
    alike = fitter(
        "vahadane", luminosity_threshold=0.9, regularizer=0.02, concentration_solver="fista"
    )
    yield Method("torch-staintools vahadane", package, "stains only", fitter("vahadane"))
    yield Method("torch-staintools vahadane, fista, 0.02", package, "yes", alike)
    yield Method("torch-staintools macenko", package, "no", fitter("macenko"))


def torchstain_methods() -> Iterator[Method]:
    """torchstain: Macenko with NumPy and with PyTorch."""
    from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer
    from torchstain.torch.normalizers.macenko import TorchMacenkoNormalizer

    def with_numpy(target: np.ndarray) -> Transform:
        normalizer = NumpyMacenkoNormalizer()
        normalizer.fit(target)
        return lambda image: normalizer.normalize(image, stains=False)[0]

    def with_torch(target: np.ndarray) -> Transform:
        normalizer = TorchMacenkoNormalizer()
        normalizer.fit(_tensor(target)[0] * 255)

        def transform(image: np.ndarray) -> np.ndarray:
            result = normalizer.normalize(_tensor(image)[0] * 255, stains=False)[0]
            return np.clip(result.numpy(), 0, 255).round().astype(np.uint8)

        return transform

    yield Method("torchstain macenko (NumPy)", "torchstain", "no", with_numpy)
    yield Method("torchstain macenko (PyTorch)", "torchstain", "no", with_torch)


def stainx_methods() -> Iterator[Method]:
    """Stainx: Macenko in PyTorch."""
    import stainx

    def fit(target: np.ndarray) -> Transform:
        normalizer = stainx.Macenko(device="cpu")
        normalizer.fit(_tensor(target))

        def transform(image: np.ndarray) -> np.ndarray:
            result = normalizer.transform(_tensor(image))
            return _levels(result, 255.0 if float(result.max()) <= 1.01 else 1.0)

        return transform

    yield Method("stainx macenko", "stainx", "no", fit)


PACKAGES = {
    "nucleigan": nucleigan_methods,
    "staintools": staintools_methods,
    "torch-staintools": torch_staintools_methods,
    "torchstain": torchstain_methods,
    "stainx": stainx_methods,
}
INSTALL = {"staintools": "staintools spams-bin opencv-python-headless"}


def _tensor(image: np.ndarray):
    """(H, W, 3) uint8 to a (1, 3, H, W) tensor from 0 to 1."""
    import torch

    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def _levels(batch, white: float) -> np.ndarray:
    """A (1, 3, H, W) tensor from 0 to ``255 / white`` to (H, W, 3) uint8."""
    picture = batch[0].permute(1, 2, 0).numpy() * white
    return np.clip(picture.round(), 0, 255).astype(np.uint8)


def read(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    from PIL import Image

    return np.array(Image.open(path).convert("RGB"))


def installed() -> list[Method]:
    """All methods that can be imported; say which cannot."""
    methods: list[Method] = []
    for package, make in PACKAGES.items():
        try:
            methods.extend(make())
        except ImportError as error:
            print(
                f"missing: {package} ({error}); in an environment of its own: "
                f"pip install -e . {INSTALL.get(package, package)}"
            )
    return methods


def measure(
    method: Method,
    images: dict[str, np.ndarray],
    tiles: list[np.ndarray],
    repeats: int,
) -> list[str]:
    """One row of the table: everything but the time is of the source, fitted to the target."""
    from skimage.metrics import structural_similarity

    result = np.asarray(method.fit(images["target"])(images["source"])).astype(np.uint8)
    transform = method.fit(images["target"])
    start = time.perf_counter()
    again = np.asarray(transform(images["source"])).astype(np.uint8)
    # Without tiles the source is what is timed; its first run, with the imports, does not count.
    seconds = [] if tiles else [time.perf_counter() - start]
    failures = 0
    for tile in tiles * repeats if tiles else [images["source"]] * (repeats - 1):
        start = time.perf_counter()
        try:
            transform(tile)
        except Exception:
            failures += 1
        else:
            seconds.append(time.perf_counter() - start)
    published = images["published"]
    median = f"{statistics.median(seconds):.3f}" if seconds else "failed"
    return [
        method.name,
        _version(method.package),
        method.sparse,
        median + (f" ({failures} failed)" if failures else ""),
        f"{np.abs(result.astype(int) - published).mean():.2f}",
        f"{structural_similarity(result, published, channel_axis=2):.4f}",
        str(int(np.abs(result.astype(int) - again).max())),
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source"


def report(rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    header = ["method", "version", "sparse", "s a tile", "MAD", "SSIM", "repeated"]
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print(
        "\nMAD: mean absolute difference to the published result, grey levels. SSIM: to the same."
        "\nrepeated: largest difference between two runs, grey levels."
    )


def main() -> None:
    """Measure all installed methods and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, help="image to normalise")
    parser.add_argument("--target", type=Path, required=True, help="image to look like")
    parser.add_argument("--published", type=Path, required=True, help="its published result")
    parser.add_argument("--tiles", type=Path, help="folder of images to time; else the source")
    parser.add_argument("--count", type=int, default=5, help="most tiles to time (5)")
    parser.add_argument("--repeats", type=int, default=1, help="timed runs of every tile (1)")
    parser.add_argument("--skip", nargs="*", default=[], help="methods whose name holds this")
    parser.add_argument("--threads", type=int, default=1, help="threads of every method (1)")
    options = parser.parse_args()

    limits = dict.fromkeys(THREADS, str(options.threads))
    if not limits.items() <= os.environ.items():
        # NumPy has read them already.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | limits)
    images = {name: read(getattr(options, name)) for name in ("source", "target", "published")}
    tiles = []
    if options.tiles:
        paths = sorted(path for path in options.tiles.iterdir() if path.suffix.lower() in ENDINGS)
        tiles = [read(path) for path in paths[: options.count]]
    timed = tiles or [images["source"]]
    shapes = sorted({tile.shape[:2] for tile in timed})
    print(
        f"{len(timed)} tile(s) of {shapes} pixels, {options.repeats} run(s) each, "
        f"{options.threads} thread(s)"
    )
    rows = []
    for method in installed():
        if any(text in method.name for text in options.skip):
            continue
        try:
            rows.append(measure(method, images, tiles, options.repeats))
        except Exception as error:
            print(f"failed: {method.name}: {error!r}")
        else:
            print(f"measured: {method.name}, {rows[-1][3]} s a tile", flush=True)
    report(rows)


if __name__ == "__main__":
    main()
