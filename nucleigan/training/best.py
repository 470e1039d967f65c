"""The weights of a run's best look."""

import math
from typing import Any

import torch
from torch import nn

from nucleigan.networks import effective_state


class BestWeights:
    """The weights of a run's best look.

    They are part of the run's checkpoints: one that falls back to an earlier step forgets the looks
    after it, and looks again.

    Parameters
    ----------
    measure
        What the looks measure.
    lowest
        Whether the lowest value is the best.
    """

    def __init__(self, measure: str, lowest: bool = False) -> None:
        self.measure, self.lowest = measure, lowest
        self.best: dict[str, Any] | None = None

    def offer(self, network: nn.Module, epoch: int, value: float) -> None:
        """Keep these weights if they are better than all before."""
        sign = -1 if self.lowest else 1
        if (
            self.best is None
            or math.isnan(self.best["value"])
            or sign * value > sign * self.best["value"]
        ):
            tensors = {name: one.cpu() for name, one in effective_state(network).items()}
            self.best = {"epoch": epoch, "value": value, "tensors": tensors}

    def state(self) -> dict[str, Any]:
        """The best look, for a checkpoint."""
        return {"best": self.best}

    def load(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's best look."""
        self.best = state["best"]

    def chosen(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The weights that are kept, and ``epoch`` and measure of their look."""
        assert self.best is not None, "nobody looked"
        facts = {"epoch": self.best["epoch"], self.measure: round(self.best["value"], 6)}
        return self.best["tensors"], facts
