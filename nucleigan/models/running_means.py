"""Means over the windows of many steps, which a loss compares."""

from collections.abc import Sequence
from typing import Any

import torch

from nucleigan.training import processes

# What a step leaves of the sums before it; 50 steps are enough to know a spectrum or a colour by.
DECAY = 0.98


class RunningMeans:
    """Means over windows of the last steps and of all processes, by name.

    The images of one step say little, and all images must not get one and the same look, so that a
    loss compares means over many steps. Their gradient is that of the windows of this step.
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[torch.Tensor]] = {}

    def take(
        self, kind: str, totals: Sequence[torch.Tensor], windows: torch.Tensor
    ) -> list[torch.Tensor]:
        """Take sums over windows of this step in.

        Parameters
        ----------
        kind
            What they are sums of.
        totals
            Of any shapes, over the windows of this process.
        windows
            How many, ().

        Returns
        -------
        The means so far, shaped as ``totals``; zeros as long as there was no window.
        """
        now = [self._everywhere(part) for part in (*totals, windows)]
        sums = now
        if kind in self._sums:
            old = [part.to(new) for part, new in zip(self._sums[kind], now, strict=True)]
            sums = [new + DECAY * part for new, part in zip(now, old, strict=True)]
        self._sums[kind] = sums
        *whole, counted = sums
        means = []
        for total, whole_total in zip(totals, whole, strict=True):
            # The windows of all processes count alike; these average their gradients.
            mean = total * processes.count() / now[-1].clamp(min=1)
            known = whole_total / torch.where(counted > 0, counted, 1)
            means.append(known + mean - mean.detach())
        return means

    def count(self, kind: str) -> torch.Tensor:
        """How many windows such a mean is of, those of earlier steps in part."""
        return self._sums[kind][-1]

    def known(self) -> torch.Tensor:
        """Whether there were windows of every kind, after the first step."""
        return torch.stack([self.count(kind) > 0 for kind in self._sums]).all()

    @staticmethod
    def _everywhere(part: torch.Tensor) -> torch.Tensor:
        return processes.gather(part.detach()[None]).sum(dim=0)

    def state(self) -> dict[str, Any]:
        """The sums so far."""
        return dict(self._sums)

    def load(self, state: dict[str, Any]) -> None:
        """Take over such a state."""
        self._sums = {kind: list(sums) for kind, sums in state.items()}
