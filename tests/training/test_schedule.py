"""The learning rate: constant, then linear, positive to the end."""

import itertools

import pytest

from nucleigan.training.schedule import rate_factor


def test_published_schedule_of_300_epochs():
    factors = [rate_factor(epoch, 300, 150) for epoch in range(301)]
    assert factors[:150] == [1.0] * 150
    assert 0 < factors[299] < 0.01
    assert factors[300] == 0
    falls = [a - b for a, b in itertools.pairwise(factors[149:])]
    assert falls == pytest.approx([1 / 151] * 151)


def test_without_decay_the_rate_stays():
    assert [rate_factor(epoch, 5, 5) for epoch in range(5)] == [1.0] * 5
