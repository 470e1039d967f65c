"""Synthetic pairs do not depend on shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleigan.artifacts import open_stack, write_stack
from nucleigan.config import ComputeSettings, GeneratorSettings, MaskSettings, SynthesisSettings
from nucleigan.errors import NucleiganError
from nucleigan.models.header import PAINTER
from nucleigan.models.weights import write_weights
from nucleigan.networks import build_generator
from nucleigan.shards import overlapping, shard_bounds
from nucleigan.synthesis import synthesize

COMPUTE = ComputeSettings(device="cpu", threads=1)


@given(st.integers(1, 500), st.integers(1, 12), st.integers(1, 16))
def test_bounds_cover_everything_once_and_never_cut_a_batch(count, shards, batch_size):
    bounds = shard_bounds(count, shards, batch_size)
    assert [n for start, stop in bounds for n in range(start, stop)] == list(range(count))
    assert all(start % batch_size == 0 and stop > start for start, stop in bounds)
    assert len(bounds) <= shards


@given(st.integers(1, 60), st.integers(1, 12), st.data())
def test_overlapping_shards_hold_all_units_and_none_in_vain(count, shards, data):
    bounds = shard_bounds(count, shards, 1)
    start = data.draw(st.integers(0, count - 1))
    units = set(range(start, data.draw(st.integers(start + 1, count))))
    found = overlapping(bounds, min(units), max(units) + 1)
    assert [number for number, edges in enumerate(bounds) if units & set(range(*edges))] == found


@pytest.fixture
def inputs(tmp_path):
    generator = GeneratorSettings(width=4, depth=1)
    facts = {
        "kind": PAINTER,
        "generator": generator.model_dump(),
        "masks": MaskSettings().model_dump(),
    }
    facts["latent_channels"] = 2
    network = build_generator(generator, 4, 3, init_std=0.2, seed=1)
    write_weights(tmp_path / "generator.safetensors", network.state_dict(), facts)
    maps = np.zeros((10, 32, 32), np.int32)
    for number, one in enumerate(maps):
        one[number : number + 12, 5:20] = 1
    for name, part in {"maps": maps, "first": maps[:5], "second": maps[5:]}.items():
        write_stack(tmp_path / f"{name}.tif", part.shape, np.int32, part)
    return tmp_path


def make(inputs, name, start, stop, polygons=("maps",), first_map=0):
    synthesize(
        inputs / "generator.safetensors",
        [str(inputs / f"{part}.tif") for part in polygons],
        first_map,
        start,
        stop,
        inputs / f"{name}.images.tif",
        inputs / f"{name}.labels.tif",
        inputs / f"{name}.csv",
        SynthesisSettings(batch_size=4),
        COMPUTE,
        seed=5,
    )
    return tuple(
        np.asarray(open_stack(inputs / f"{name}.{kind}.tif")) for kind in ("images", "labels")
    )


def test_one_or_three_shards_give_the_same_pairs(inputs):
    images, labels = make(inputs, "whole", 0, 10)
    parts = [make(inputs, f"part{n}", *bounds) for n, bounds in enumerate(shard_bounds(10, 3, 4))]
    assert np.array_equal(images, np.concatenate([part[0] for part in parts]))
    assert np.array_equal(labels, np.concatenate([part[1] for part in parts]))
    assert images.std() > 1 and labels.max() == 1


@pytest.mark.parametrize("bounds", [(0, 4), (4, 8), (8, 10)])
def test_a_shard_needs_only_the_maps_that_it_paints(inputs, bounds):
    whole = make(inputs, "whole", *bounds)
    halves = [(0, 5), (5, 10)]
    parts = overlapping(halves, *bounds)
    polygons = [("first", "second")[part] for part in parts]
    few = make(inputs, "few", *bounds, polygons, halves[parts[0]][0])
    assert all(np.array_equal(one, other) for one, other in zip(few, whole, strict=True))
    assert (inputs / "few.csv").read_bytes() == (inputs / "whole.csv").read_bytes()


def test_too_few_maps_is_said(inputs):
    with pytest.raises(NucleiganError, match=r"asks for map 11, but the polygon files hold 10"):
        make(inputs, "more", 0, 11)
