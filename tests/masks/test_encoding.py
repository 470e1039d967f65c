"""Label maps to mask images."""

import time
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucleigan.config import Encoding, MaskSettings
from nucleigan.errors import NucleiganError
from nucleigan.masks import channels, encode
from nucleigan.masks.decoding import DECODERS
from nucleigan.masks.encoding import ENCODINGS, depth, interior

LABELS = arrays(
    np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)
)


def drawn(labels, encoding="interior_boundary", width=1.5):
    """What an encoding marks, as bool."""
    return encode(labels, MaskSettings(encoding=encoding, boundary_width=width)) > 0


def test_every_encoding_has_a_name_an_encoder_and_a_decoder():
    assert set(get_args(Encoding)) == set(ENCODINGS) == set(DECODERS)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_shape_type_and_range(encoding):
    choice = MaskSettings(encoding=encoding)
    labels = np.zeros((12, 17), np.int32)
    labels[2:9, 3:12] = 7
    mask = encode(labels, choice)
    assert mask.shape == (channels(choice), 12, 17)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {-1.0, 1.0}
    assert (encode(np.zeros((5, 6), np.uint16), choice) == -1).all()


def test_a_square_loses_its_boundary():
    labels = np.zeros((11, 11), np.int32)
    labels[2:9, 2:9] = 1
    nucleus, core = drawn(labels)
    assert np.array_equal(nucleus, labels > 0)
    expected = np.zeros_like(core)
    expected[3:8, 3:8] = True
    assert np.array_equal(core, expected)
    assert np.array_equal(drawn(labels, "filled")[0], nucleus)
    assert np.array_equal(drawn(labels, "outline")[0], nucleus & ~core)


def test_a_wider_boundary_leaves_a_smaller_core():
    labels = np.zeros((30, 30), np.int32)
    labels[5:25, 5:25] = 1
    sizes = [drawn(labels, width=width)[1].sum() for width in (1.5, 2.5, 3.5)]
    assert sizes == [18**2, 16**2, 14**2]


def test_touching_nuclei_are_parted():
    labels = np.repeat([[1] * 8 + [2] * 8], 16, axis=0)
    core = drawn(labels)[1]
    assert np.array_equal(~core, np.isin(np.arange(16), [7, 8])[None].repeat(16, 0))


def test_the_edge_of_the_image_is_no_boundary_but_closes_outlines():
    labels = np.ones((8, 8), np.int32)
    assert drawn(labels)[1].all()
    line = drawn(labels, "outline")[0]
    assert line[0].all() and line[-1].all() and line[:, 0].all() and line[:, -1].all()
    assert not line[1:-1, 1:-1].any()


@settings(max_examples=100, deadline=None)
@given(LABELS, st.floats(0.5, 4))
def test_every_nucleus_keeps_a_core(labels, width):
    core = interior(labels, width)
    assert set(np.unique(labels[core])) == set(np.unique(labels)) - {0}
    assert not core[labels == 0].any()


@settings(max_examples=100, deadline=None)
@given(LABELS, st.floats(1.1, 6))
def test_depth_is_the_distance_to_the_nearest_other_label(labels, limit):
    y, x = np.indices(labels.shape)
    expected = np.full(labels.shape, np.float32(limit))
    for place in np.ndindex(labels.shape):
        others = labels != labels[place]
        if others.any():
            nearest = np.hypot(y - place[0], x - place[1])[others].min()
            expected[place] = min(limit, nearest)
    np.testing.assert_allclose(depth(labels, limit), expected, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(LABELS, st.sampled_from(sorted(ENCODINGS)))
def test_ids_and_directions_do_not_matter(labels, encoding):
    expected = drawn(labels, encoding)
    ids = np.array([0, 2**40, 17, 2**31 + 5])
    assert np.array_equal(drawn(ids[labels], encoding), expected)
    assert np.array_equal(drawn(labels.T, encoding), expected.transpose(0, 2, 1))
    assert np.array_equal(drawn(labels[::-1], encoding), expected[:, ::-1])


@pytest.mark.parametrize("labels", [np.zeros((4, 4)), np.zeros((2, 4, 4), np.int32)])
def test_what_is_no_label_map_is_refused(labels):
    with pytest.raises(NucleiganError, match="integer type"):
        encode(labels, MaskSettings())


def test_a_training_patch_is_encoded_quickly():
    y, x = np.mgrid[:256, :256]
    labels = (((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2) < 120) * (y // 32 * 8 + x // 32 + 1)
    start = time.perf_counter()
    for _ in range(10):
        encode(labels.astype(np.int32), MaskSettings())
    # 2 ms each measured; the bound is loose for busy machines.
    assert time.perf_counter() - start < 0.3
