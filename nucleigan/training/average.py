"""Moving average of a network's weights, which wanders less than the last step's."""

import copy

import torch
from torch import nn


class AveragedNetwork:
    """Exponential moving average of a network, corrected for its start.

    Parameters
    ----------
    network
        The network that is trained; the average begins as its copy.
    decay
        Part of the average that a step keeps; early steps keep less, (1 + n) / (10 + n), so that
        the random start is soon forgotten. 0 follows the network.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's present weights; counters and power vectors are copied."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        ours = dict(self.network.named_parameters())
        theirs = dict(network.named_parameters())
        torch._foreach_lerp_(
            list(ours.values()), [theirs[name].detach() for name in ours], 1.0 - decay
        )
        fresh = dict(network.named_buffers())
        for name, buffer in self.network.named_buffers():
            # Running statistics are averages already: they follow the averaged weights.
            if buffer.is_floating_point() and "running_" in name:
                buffer.lerp_(fresh[name], 1.0 - decay)
            else:
                buffer.copy_(fresh[name])

    def state(self) -> dict[str, object]:
        """Weights and the number of updates, for a checkpoint."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load(self, state: dict) -> None:
        """Take over a checkpoint's average."""
        self.network.load_state_dict(state["network"])
        self.updates = int(state["updates"])
