"""Which weights a run chooses by its looks."""

import pytest
import torch

from nucleigan.training import checkpoint
from nucleigan.training.best import BestWeights

LOOKS = [(1, 0.25), (2, 0.5), (3, 0.5), (4, 0.4)]


def network(epoch):
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, epoch)
    return layer


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_the_best_look_is_kept_the_earliest_of_equals(tmp_path, killed_after, lowest):
    looks = [(epoch, 1 - value if lowest else value) for epoch, value in LOOKS]
    best = BestWeights("aji", lowest)
    for epoch, aji in looks[:killed_after]:
        best.offer(network(epoch), epoch, aji)
    checkpoint.save(tmp_path, best.state(), "a")
    again = BestWeights("aji", lowest)
    again.load(checkpoint.load(tmp_path, "a"))
    for epoch, aji in looks[killed_after:]:
        again.offer(network(epoch), epoch, aji)
    tensors, facts = again.chosen()
    assert facts == {"epoch": 2, "aji": 0.5}
    assert tensors["weight"] == 2


@pytest.mark.parametrize("lowest", [False, True])
def test_what_is_no_number_is_worse_than_any(lowest):
    best = BestWeights("aji", lowest)
    for epoch, value in [(1, float("nan")), (2, 0.1), (3, float("nan"))]:
        best.offer(network(epoch), epoch, value)
    assert best.chosen()[1] == {"epoch": 2, "aji": 0.1}
