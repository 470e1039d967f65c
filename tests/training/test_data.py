"""What each step sees."""

import threading
import time

import numpy as np
import pytest
import torch

from nucleigan.artifacts import write_stack
from nucleigan.errors import NucleiganError
from nucleigan.training.data import Pairs, Patches, from_network, order, prefetch, to_network


def test_order_is_a_permutation_a_pass_and_a_function_of_the_number():
    draw = order(10, 0, "x")
    first = [draw(n) for n in range(30)]
    for turn in range(3):
        assert sorted(first[turn * 10 : turn * 10 + 10]) == list(range(10))
    assert first[:10] != first[10:20]
    again = order(10, 0, "x")
    assert [again(n) for n in (25, 3, 17)] == [first[25], first[3], first[17]]


def test_stacks_count_as_one(tmp_path):
    data = np.arange(5 * 4 * 4, dtype=np.int32).reshape(5, 4, 4)
    write_stack(tmp_path / "a.tif", (2, 4, 4), np.int32, data[:2])
    write_stack(tmp_path / "b.tif", (3, 4, 4), np.int32, data[2:])
    patches = Patches.open([tmp_path / "a.tif", tmp_path / "b.tif"])
    assert len(patches) == 5
    assert all(np.array_equal(patches[n], data[n]) for n in range(5))
    assert all(isinstance(stack.pixels, np.memmap) for stack in patches.stacks)
    for outside in (5, -1):
        with pytest.raises(IndexError):
            patches[outside]


def test_no_stacks_hold_no_patches():
    assert len(Patches(())) == 0


def test_pairs_must_match(tmp_path):
    write_stack(tmp_path / "i.tif", (2, 4, 4, 3), np.uint8, np.zeros((2, 4, 4, 3), np.uint8))
    write_stack(tmp_path / "l.tif", (3, 4, 4), np.int32, np.zeros((3, 4, 4), np.int32))
    with pytest.raises(NucleiganError, match=r"2 images but .* 3 label maps"):
        Pairs.open([tmp_path / "i.tif"], [tmp_path / "l.tif"])


@pytest.mark.parametrize("threads", [1, 4])
def test_prefetch_keeps_order_and_passes_errors_on(threads):
    def square(n):
        # The later, the faster.
        time.sleep((7 - n) / 200)
        return n * n

    assert list(prefetch(square, 2, 7, threads)) == [4, 9, 16, 25, 36]
    assert list(prefetch(square, 7, 7, threads)) == []

    def fail(n):
        if n == 3:
            raise ValueError("three")
        return n

    with pytest.raises(ValueError, match="three"):
        list(prefetch(fail, 0, 5, threads))
    # Who stops early waits for no more than what is being made.
    made = []
    for _ in prefetch(made.append, 0, 10**6, threads):
        break
    assert len(made) <= 2 * threads + 2


def test_what_is_made_ahead_leaves_the_other_cores_to_the_networks():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        used = list(prefetch(lambda _: torch.get_num_threads(), 0, 6, threads=2))
        assert used == [1] * 6 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_steps_are_made_side_by_side():
    """Two that wait for each other are both begun."""
    meeting = threading.Barrier(2, timeout=20)
    assert len(list(prefetch(lambda _: meeting.wait(), 0, 4, threads=2))) == 4


def test_orders_are_drawn_from_by_several_threads():
    draw = order(7, 0, "x")
    expected = [draw(n) for n in range(70)]
    again = order(7, 0, "x")
    assert list(prefetch(again, 0, 70, threads=4)) == expected


def test_pixels_survive_the_way_to_the_network_and_back():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(from_network(to_network(image)), image)
