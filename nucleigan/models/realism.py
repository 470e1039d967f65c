"""How close painted images are to tissue while a CycleGAN learns."""

from collections.abc import Callable

import numpy as np
import torch

from nucleigan.models.features import features, kernel_distance, standardise
from nucleigan.randomness import generator

# Windows that are looked at: painted ones at every look, real ones once.
PAINTED, REAL = 64, 200
# Painted at once.
TOGETHER = 8


class Realism:
    """The same masks at every look, and the same real windows.

    Parameters
    ----------
    given
        What the generator is given: masks with random numbers beside them, (N, C, S, S) in [-1, 1].
    windows
        Real ones of the same side, at least 16 pixels, (M, S, S, 3) uint8.
    seed
        Of the windows that are compared at a time.
    """

    def __init__(self, given: torch.Tensor, windows: np.ndarray, seed: int) -> None:
        self._given, self._seed = given, seed
        self._real = features(windows)

    def look(self, paint: Callable[[torch.Tensor], np.ndarray]) -> float:
        """Kernel distance to the real windows of what is painted, 0 where it is like them.

        Parameters
        ----------
        paint
            From what the generator is given to images (B, S, S, 3) uint8.
        """
        painted = [paint(part) for part in self._given.split(TOGETHER)]
        real, made = standardise(self._real, features(np.concatenate(painted)))
        distance, _ = kernel_distance(made, real, generator(self._seed, "realism"))
        return distance
