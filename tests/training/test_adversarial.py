"""The optimiser of both GANs, held to its definition."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from nucleigan.config import OptimiserSettings
from nucleigan.training.adversarial import adam, set_rate


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_adam_moves_weights_of_any_layout_as_published(layout):
    """Kingma & Ba 2015, algorithm 1, in double precision."""
    drawn = torch.Generator().manual_seed(0)
    network = nn.Conv2d(5, 7, 3).to(memory_format=layout)
    settings = OptimiserSettings(learning_rate=0.1, beta1=0.5, beta2=0.9)
    optimiser = adam([network], settings)
    known = {name: weight.detach().double() for name, weight in network.named_parameters()}
    first, second = (dict.fromkeys(known, 0.0) for _ in range(2))
    for step in range(1, 5):
        rate = 0.1 / step
        set_rate(optimiser, rate)
        optimiser.zero_grad(set_to_none=True)
        image = torch.randn(2, 5, 9, 8, generator=drawn).to(memory_format=torch.channels_last)
        network(image).square().sum().backward()
        for name, weight in network.named_parameters():
            slope = weight.grad.double()
            first[name] = 0.5 * first[name] + 0.5 * slope
            second[name] = 0.9 * second[name] + 0.1 * slope.square()
            mean, square = first[name] / (1 - 0.5**step), second[name] / (1 - 0.9**step)
            known[name] = known[name] - rate * mean / (square.sqrt() + 1e-8)
        optimiser.step()
        # What is saved and loaded goes on as it was, though a checkpoint knows but one layout.
        saved = optimiser.state_dict()
        moments = [(of, name) for of in saved["state"].values() for name in of]
        for of, name in moments:
            of[name] = of[name].contiguous()
        optimiser.load_state_dict(saved)
        for name, weight in network.named_parameters():
            torch.testing.assert_close(weight.detach().double(), known[name], rtol=1e-4, atol=1e-6)


# A whole step, and what checkpoints ask for.
USED = """
import sys
import torch
from nucleigan.config import OptimiserSettings
from nucleigan.training.adversarial import adam

network = torch.nn.Conv2d(3, 4, 3)
optimiser = adam([network], OptimiserSettings())
optimiser.zero_grad(set_to_none=True)
network(torch.ones(1, 3, 8, 8)).sum().backward()
optimiser.step()
optimiser.load_state_dict(optimiser.state_dict())
print("torch._dynamo" in sys.modules)
"""


def test_the_optimiser_does_not_wait_for_a_compiler():
    """PyTorch's own imports it, which takes nearly as long as all else at a training's start."""
    done = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
