"""Distances between sets of images, by features that need no download.

The extractor, ``random-convolutions-1``, is three strided convolutions with fixed random weights;
mean and standard deviation of every channel at every level are the features. Random features tell
textures and colours apart, though not what they mean: distances compare within this package, never
with figures of other extractors.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nucleigan.progress import progress
from nucleigan.randomness import torch_seed
from nucleigan.training.data import to_network

EXTRACTOR = "random-convolutions-1"
CHANNELS = (32, 64, 128)
KERNELS = (5, 3, 3)
# Of the kernel inception distance: subsets, and images in each.
SUBSETS, SUBSET_SIZE = 20, 100
# Of the median spread of all features. Some are 0 but for a few windows: in units of such a spread
# they would outweigh all others.
LEAST_SPREAD = 0.01


@torch.inference_mode()
def features(images: np.ndarray) -> np.ndarray:
    """Features of images.

    Parameters
    ----------
    images
        (N, H, W, 3) uint8, at least 16×16 pixels.

    Returns
    -------
    (N, 448) float64.
    """
    layers = _layers()
    found = []
    for image in progress(images, len(images), "windows"):
        x = torch.from_numpy(to_network(image))[None]
        parts = []
        for layer in layers:
            x = functional.relu(layer(x))
            parts += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
        found.append(torch.cat(parts, dim=1)[0].double().numpy())
    return np.stack(found)


def _layers() -> list[nn.Conv2d]:
    generator = torch.Generator().manual_seed(torch_seed(0, EXTRACTOR))
    layers = []
    given = 3
    for wide, kernel in zip(CHANNELS, KERNELS, strict=True):
        layer = nn.Conv2d(given, wide, kernel, stride=2, padding=kernel // 2, bias=False)
        std = (2 / (given * kernel**2)) ** 0.5
        layer.weight.data.normal_(0.0, std, generator=generator)
        layers.append(layer.requires_grad_(False))
        given = wide
    return layers


def standardise(reference: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All sets of features in units of the reference's spread; (N, D) each.

    Features that hardly vary there count as if they did by :data:`LEAST_SPREAD`.
    """
    middle, spread = reference.mean(axis=0), reference.std(axis=0)
    # Windows that are all alike have no spread at all.
    spread = np.maximum(spread, LEAST_SPREAD * np.median(spread) + 1e-9)
    return [(one - middle) / spread for one in (reference, *others)]


def kernel_distance(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Kernel inception distance (Bińkowski et al. 2018): 0 for sets of the same distribution.

    The unbiased estimate of the squared maximum mean discrepancy under the kernel
    (x·y / D + 1)³, which may come out slightly negative.

    Parameters
    ----------
    a, b
        (N, D) and (M, D) features.
    rng
        For the subsets.

    Returns
    -------
    Mean over random subsets, and its standard error over subsets of these windows: other windows,
    of other slides above all, give values that lie further apart.
    """
    size = min(SUBSET_SIZE, len(a), len(b))
    values = [
        _discrepancy(
            a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)]
        )
        for _ in range(SUBSETS)
    ]
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(SUBSETS))


def _discrepancy(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        result: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
        return result

    size = len(a)
    within = [(k.sum() - np.trace(k)) / (size * (size - 1)) for k in (kernel(a, a), kernel(b, b))]
    return float(sum(within) - 2 * kernel(a, b).mean())


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distance of each row of ``a`` (N, D) to the nearest row of ``b``; (N,)."""
    from scipy.spatial.distance import cdist

    distances: np.ndarray = cdist(a, b).min(axis=1)
    return distances


def spread(a: np.ndarray) -> float:
    """Mean Euclidean distance between different rows of (N, D); NaN of fewer than two."""
    from scipy.spatial.distance import pdist

    return float(pdist(a).mean()) if len(a) > 1 else float("nan")
