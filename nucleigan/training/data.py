"""Training patches: which ones each step sees, changed at random, prepared beside the step.

What step ``n`` sees is a function of the seed and ``n``, so a resumed run sees what it would have.
"""

import itertools
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from nucleigan.artifacts import Stack, open_stack
from nucleigan.errors import NucleiganError
from nucleigan.randomness import generator

# Batches prepared ahead of those that threads work on; two hide an uneven one.
AHEAD = 2


@dataclass(frozen=True)
class Patches:
    """Memory-mapped patches, possibly from several files that count as one.

    Attributes
    ----------
    stacks
        Each (N, H, W, 3) uint8 or (N, H, W) integer.
    """

    stacks: tuple[Stack | np.ndarray, ...]

    @classmethod
    def open(cls, paths: Sequence[str | Path]) -> "Patches":
        """Map files written by :func:`nucleigan.artifacts.write_stack`, in this order."""
        return cls(tuple(open_stack(path) for path in paths))

    @cached_property
    def _ends(self) -> list[int]:
        """Number of patches up to the end of each stack."""
        return list(accumulate(len(stack) for stack in self.stacks))

    def __len__(self) -> int:
        return self._ends[-1] if self.stacks else 0

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = bisect_right(self._ends, index)
        return np.asarray(self.stacks[place][index - self._ends[place]])


@dataclass(frozen=True)
class Pairs:
    """Images (N, H, W, 3) with their label maps (N, H, W)."""

    images: Patches
    labels: Patches

    @classmethod
    def open(cls, images: Sequence[str | Path], labels: Sequence[str | Path]) -> "Pairs":
        """Map the stacks of both; they must be equally long."""
        pairs = cls(Patches.open(images), Patches.open(labels))
        if len(pairs.images) != len(pairs.labels):
            raise NucleiganError(
                f"{images[0]} and its companions hold {len(pairs.images)} images but "
                f"{labels[0]} and its companions {len(pairs.labels)} label maps; delete both and "
                "run the same command again."
            )
        return pairs

    def __len__(self) -> int:
        return len(self.images)


def order(count: int, seed: int, *unit: object) -> Callable[[int], int]:
    """The index of the ``n``-th patch drawn: pass after pass, each in its own random order."""

    # Threads that make batches ahead may be in two turns at once.
    @lru_cache(maxsize=2)
    def shuffled(turn: int) -> np.ndarray:
        return generator(seed, *unit, "order", turn).permutation(count)

    def draw(n: int) -> int:
        turn, place = divmod(n, count)
        return int(shuffled(turn)[place])

    return draw


Batch = TypeVar("Batch")


def prefetch(
    make: Callable[[int], Batch], start: int, stop: int, threads: int = 1
) -> Iterator[Batch]:
    """Yield ``make(n)`` for the steps from start to stop in their order, made ahead by threads.

    Each of these uses one core, also for what PyTorch does in it.

    Parameters
    ----------
    make
        A function of the step alone, which spends its time in libraries that release the
        interpreter's lock.
    start, stop
        The first step, and the one after the last.
    threads
        How many steps are made at a time.
    """
    steps = iter(range(start, stop))
    ahead: deque[Future[Batch]] = deque()
    # Threads of theirs would wait for more work by keeping busy the cores that the networks use: a
    # third of a step's time on two cores.
    alone = partial(torch.set_num_threads, 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="patches", initializer=alone) as pool:
        try:
            for step in itertools.islice(steps, threads + AHEAD):
                ahead.append(pool.submit(make, step))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(make, step) for step in itertools.islice(steps, 1))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
            # Theirs has become that of all threads to come.
            torch.set_num_threads(torch.get_num_threads())


def to_network(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to (3, H, W) float32 in [-1, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1.0


def from_network(image: np.ndarray) -> np.ndarray:
    """(3, H, W) float in [-1, 1] to (H, W, 3) uint8."""
    return np.clip(np.rint((image + 1.0) * 127.5), 0, 255).astype(np.uint8).transpose(1, 2, 0)
