"""Means that forget, with the gradient of the last step."""

import pytest
import torch

from nucleigan.models.running_means import DECAY, RunningMeans


def test_a_mean_of_one_step_is_that_of_its_windows():
    (mean,) = RunningMeans().take("x", [torch.tensor([6.0, 9.0])], torch.tensor(3.0))
    assert mean.tolist() == [2.0, 3.0]


def test_earlier_windows_count_less_and_less():
    means = RunningMeans()
    means.take("x", [torch.tensor(10.0)], torch.tensor(2.0))
    (mean,) = means.take("x", [torch.tensor(3.0)], torch.tensor(1.0))
    assert mean.item() == pytest.approx((3 + DECAY * 10) / (1 + DECAY * 2))
    assert means.count("x").item() == pytest.approx(1 + DECAY * 2)


def test_the_gradient_is_that_of_the_mean_of_this_step():
    means = RunningMeans()
    means.take("x", [torch.tensor(100.0)], torch.tensor(50.0))
    values = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    (mean,) = means.take("x", [values.sum()], torch.tensor(4.0))
    mean.backward()
    assert values.grad.tolist() == [0.25] * 4


def test_kinds_are_apart_and_nothing_is_zero():
    means = RunningMeans()
    means.take("x", [torch.tensor(5.0)], torch.tensor(1.0))
    (mean,) = means.take("y", [torch.tensor(0.0)], torch.tensor(0.0))
    assert mean.item() == 0 and means.count("y").item() == 0
