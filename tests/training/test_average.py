"""Moving average of weights."""

import torch
from torch import nn

from nucleigan.training.average import AveragedNetwork


def test_average_equals_the_recursion_by_hand():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = AveragedNetwork(network, 0.5)
    expected = 0.0
    for n, value in enumerate([1.0, 2.0, -3.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 9.0]):
        network.weight.data.fill_(value)
        average.update(network)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert abs(average.network.weight.item() - expected) < 1e-6


def test_running_statistics_are_averaged_and_counters_copied():
    network = nn.BatchNorm2d(2)
    average = AveragedNetwork(network, 0.9)
    network(torch.randn(4, 2, 8, 8) + 5)
    average.update(network)
    assert average.network.num_batches_tracked == 1
    assert 0 < average.network.running_mean[0] < network.running_mean[0] + 1e-6
