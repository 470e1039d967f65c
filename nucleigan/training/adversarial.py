"""The adversarial loss and the optimiser that all models here share."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import unwrap
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nucleigan.config import OptimiserSettings


def adversarial_loss(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Binary cross-entropy of a discriminator's logits against one answer (Goodfellow 2014).

    Parameters
    ----------
    logits
        Any shape.
    real
        The answer that lowers the loss.
    """
    target = torch.full_like(logits, float(real), dtype=torch.float32)
    return functional.binary_cross_entropy_with_logits(logits.float(), target)


def judge_loss(judge: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Half the sum of the two adversarial losses of a discriminator, as in CycleGAN."""
    both = judge(torch.cat([real, fake]))
    logits_real, logits_fake = both[: len(real)], both[len(real) :]
    return 0.5 * (adversarial_loss(logits_real, True) + adversarial_loss(logits_fake, False))


def slope_penalty(judge: nn.Module, real: torch.Tensor) -> torch.Tensor:
    """How steep a discriminator is at real pictures (R1 of Mescheder et al. 2018).

    Parameters
    ----------
    judge
        Gives any number of logits a picture.
    real
        (B, C, H, W).

    Returns
    -------
    The squared slope of the sum of a picture's logits, summed over the channels and averaged over
    pixels and pictures.
    """
    real = real.detach().clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(judge(real).float().sum(), real, create_graph=True)
    return slope.float().square().sum(dim=1).mean()


def adam(networks: Iterable[nn.Module], settings: OptimiserSettings) -> torch.optim.Adam:
    """Adam over the weights of several networks; the schedule sets its rate every step."""
    weights = [weight for network in networks for weight in network.parameters()]
    return _FusedAdam(weights, settings.learning_rate, (settings.beta1, settings.beta2), fused=True)


class _FusedAdam(torch.optim.Adam):
    """PyTorch's, in one pass over the weights, which must lie in memory as their moments do.

    Its methods are taken without what prepares them for the compiler, which nothing here uses: each
    would import it, nearly as long as PyTorch itself.
    """

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))
    zero_grad = unwrap(torch.optim.Adam.zero_grad)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state whose tensors may be in another layout: checkpoints know but one."""
        unwrap(torch.optim.Adam.load_state_dict)(self, state_dict)
        for weight, moments in self.state.items():
            for name, moment in moments.items():
                if moment.shape == weight.shape:
                    moments[name] = torch.empty_like(weight).copy_(moment)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Networks that pass gradients on but collect none: half of their backward work is saved."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)
