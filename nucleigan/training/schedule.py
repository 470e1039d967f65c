"""The learning rate over the epochs."""


def rate_factor(epoch: int, epochs: int, decay_from: int) -> float:
    """Factor of the learning rate in an epoch, counted from 0.

    1 until ``decay_from``, then linear; positive in the last epoch and zero only after it, so that
    no epoch is spent without learning.

    >>> [rate_factor(epoch, 4, 2) for epoch in range(5)]
    [1.0, 1.0, 0.6666666666666667, 0.33333333333333337, 0.0]
    """
    return 1.0 - max(0, epoch - decay_from + 1) / (epochs - decay_from + 1)
