"""The history pool."""

import numpy as np
import torch

from nucleigan.training.pool import HistoryPool


def numbered(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)


def test_fills_then_trades_half():
    pool, rng = HistoryPool(4), np.random.default_rng(0)
    assert torch.equal(pool.query(numbered(1, 2, 3, 4), rng), numbered(1, 2, 3, 4))
    past = 0
    for value in range(100, 1100):
        given = pool.query(numbered(value), rng).item()
        past += given != value
    assert 450 < past < 550
    assert len(pool.pictures) == 4


def test_no_picture_is_lost_or_doubled():
    pool, rng = HistoryPool(3), np.random.default_rng(1)
    returned = [pool.query(numbered(n), rng).item() for n in range(50)]
    held = [picture.item() for picture in pool.pictures]
    # The first three are stored and returned as well; every other one is somewhere exactly once.
    assert sorted(returned + held) == sorted([*range(50), 0, 1, 2])


def test_size_zero_passes_through():
    pool = HistoryPool(0)
    assert torch.equal(pool.query(numbered(9), np.random.default_rng(0)), numbered(9))


def test_state_survives():
    pool = HistoryPool(4)
    pool.query(numbered(1, 2, 3), np.random.default_rng(0))
    other = HistoryPool(4)
    other.load(pool.state())
    assert [p.item() for p in other.pictures] == [1, 2, 3]
    other.load(HistoryPool(4).state())
    assert other.pictures == []


def test_pictures_of_a_checkpoint_go_where_the_new_ones_are():
    """As on a GPU, whose checkpoints are read into the processor's memory."""
    pool = HistoryPool(2)
    pool.load({"pictures": numbered(1, 2)})
    new = numbered(3, 4, 5, 6, 7, 8).to("meta")
    assert pool.query(new, np.random.default_rng(0)).device.type == "meta"
    # Whether traded or not, for they are saved together.
    assert pool.state()["pictures"].device.type == "meta"
