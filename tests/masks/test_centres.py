import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucleigan.masks.centres import to_centres


def test_ways_lead_to_the_centre_of_mass_and_nuclei_that_touch_point_apart():
    labels = np.zeros((9, 12), np.int32)
    labels[2:5, 1:6] = 7
    labels[2:5, 6:11] = 2**31 - 1
    down, right = to_centres(labels)
    assert right[3].tolist()[1:11] == [2, 1, 0, -1, -2, 2, 1, 0, -1, -2]
    assert down[2:5, 4].tolist() == [1, 0, -1]
    assert np.isnan(down[labels == 0]).all() and np.isnan(right[labels == 0]).all()


def test_no_nuclei_have_no_ways():
    assert np.isnan(to_centres(np.zeros((4, 5), np.int32))).all()


@given(
    arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4))
)
def test_the_ways_of_a_nucleus_cancel_and_turn_with_it(labels):
    ways = to_centres(labels)
    for number in np.unique(labels[labels > 0]):
        total = ways[:, labels == number].sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(total, 0, atol=1e-4)
    down, right = to_centres(np.rot90(labels))
    np.testing.assert_allclose(down, -np.rot90(ways[1]), atol=1e-5)
    np.testing.assert_allclose(right, np.rot90(ways[0]), atol=1e-5)
