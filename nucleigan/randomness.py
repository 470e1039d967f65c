"""Random numbers that depend on ``(seed, unit)`` alone, never on global state, order or shards."""

import hashlib

import numpy as np


def entropy(seed: int, *unit: object) -> int:
    """128 bits that are a function of the seed and the unit's name.

    Parameters
    ----------
    seed
        The experiment's seed.
    unit
        What the numbers are for, for example ``("polygon", 17)``. Parts are told apart by their
        position and their text.
    """
    text = "\x1f".join(str(part) for part in (seed, *unit))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(seed: int, *unit: object) -> np.random.Generator:
    """A NumPy generator for one unit of work; see :func:`entropy`."""
    return np.random.default_rng(entropy(seed, *unit))


def torch_seed(seed: int, *unit: object) -> int:
    """A seed for ``torch.Generator.manual_seed`` (63 bits) for one unit of work."""
    return entropy(seed, *unit) >> 65
