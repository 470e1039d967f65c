"""Model files made to harm: only tensors and JSON are read, and both are checked."""

import json
import pickle
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from nucleigan import masks
from nucleigan.config import ComputeSettings, GeneratorSettings, MaskSettings, StainSettings
from nucleigan.errors import NucleiganError
from nucleigan.models.header import PAINTER, SEGMENTER
from nucleigan.models.painter import Painter
from nucleigan.models.weights import FORMAT, read_weights, write_weights
from nucleigan.networks import IMAGE_CHANNELS, build_generator
from nucleigan.segmentation import Segmenter
from nucleigan.training.checkpoint import checksum
from nucleigan.training.compute import prepare

GENERATOR = GeneratorSettings(kind="unet", width=4, depth=2)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


def refused(read, path) -> str:
    with pytest.raises(NucleiganError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < 700
    return message


def with_header(path: Path, header: str | dict, data: bytes = b"") -> None:
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)


def facts(text: str) -> dict:
    told = {"format": FORMAT, "nucleigan": text}
    return {"__metadata__": {**told, "checksum": checksum({}, told)}}


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "5", "null", '"x"', "", "{", "{'a': 1}", "[" * 200_000),
        '{"a": ' * 200_000,
        '{"a": ' + "9" * 10_000 + "}",
    ],
)
def test_facts_that_are_none(path, text):
    with_header(path, facts(text))
    refused(read_weights, path)


@pytest.mark.parametrize(
    ("kind", "shape", "offsets"),
    [
        ("F32", [2**31, 2**31], [0, 4]),
        ("F32", [1], [0, 2**40]),
        ("F32", [1], [4, 0]),
        ("F32", [-1], [0, 4]),
        ("F32", [2**63], [0, 4]),
        ("OBJECT", [1], [0, 4]),
        ("F32", [2], [0, 4]),
    ],
)
def test_tensors_that_are_not_there(path, kind, shape, offsets, memory_growth):
    tensor = {"dtype": kind, "shape": shape, "data_offsets": offsets}
    with_header(path, {**facts("{}"), "a": tensor}, bytes(4))
    refused(read_weights, path)
    assert memory_growth() < 50 << 20


@pytest.mark.parametrize("length", [0, 7, 2**31, 2**63, 2**64 - 1])
def test_lengths_of_the_header(path, length):
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    refused(read_weights, path)


def test_pickles_are_not_loaded(tmp_path, path):
    class Bait:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    for write in (lambda: torch.save(Bait(), path), lambda: path.write_bytes(pickle.dumps(Bait()))):
        write()
        refused(read_weights, path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(path, value):
    write_weights(path, {"a": torch.ones(3), "b.weight": torch.tensor([1.0, value])}, {})
    assert "b.weight" in refused(read_weights, path)


def segmenter(path: Path, **changes: object) -> None:
    """A model file of a small network, with other facts."""
    network = build_generator(GENERATOR, 3, masks.channels(MaskSettings()))
    facts = {
        "kind": "segmenter",
        "method": "cgan",
        "masks": MaskSettings().model_dump(mode="json"),
        "generator": GENERATOR.model_dump(mode="json"),
        "stain": StainSettings().model_dump(mode="json"),
        "stain_reference": None,
        "mpp": 0.25,
    }
    write_weights(path, network.state_dict(), {**facts, **changes})


def load(path: Path) -> Segmenter:
    return Segmenter.load(path, ComputeSettings(device="cpu", threads=1))


def test_the_small_model_itself_is_sound(path):
    segmenter(path)
    image = np.full((40, 40, 3), 200, np.uint8)
    assert load(path).segment(image).shape == (40, 40)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": ["x" * 10_000]},
        {"method": "os.system"},
        {"method": ["cgan"]},
        {"method": "unet", "generator": 5},
        {"method": "mask_rcnn", "backbone": "load_state_dict_from_url"},
        {"method": "x" * 10_000},
        {"masks": 5},
        {"stain": 5},
        {"masks": {"encoding": "x" * 10_000}},
        {"generator": None},
        {"generator": {"width": 4096, "depth": 64}},
        {"generator": {"width": 10**9}},
        {"generator": {"kind": "unet", "width": 4, "depth": 10**9}},
        {"prediction": {"tile": 10**9, "tile_overlap": 0}},
        {"prediction": [1]},
        {"mpp": 1e-9},
        {"mpp": 1e9},
        {"mpp": "NaN"},
        {"mpp": [0.25]},
        {"stain_reference": 1},
        {"stain_reference": {"matrix": [[1e999] * 3] * 2, "percentiles": [1, 1]}},
        {"stain_reference": {"matrix": [[1] * 3], "percentiles": [1, 1]}},
        {"stain_reference": {}, "stain": {"iterations": 10**12}},
    ],
)
def test_facts_that_ask_for_the_impossible(path, changes, memory_growth):
    segmenter(path, **changes)
    memory_growth()
    start = time.process_time()
    refused(load, path)
    assert time.process_time() - start < 10
    assert memory_growth() < 200 << 20


CPU = prepare(ComputeSettings(device="cpu", threads=1))


def painted(
    path: Path, settings: GeneratorSettings, latent: int, prefix: str = "", **changes
) -> np.ndarray:
    """What a generator of random weights paints, which a file holds under the prefixed names."""
    network = build_generator(settings, masks.channels(MaskSettings()) + latent, IMAGE_CHANNELS)
    facts = {
        "kind": PAINTER,
        "generator": settings.model_dump(mode="json"),
        "latent_channels": latent,
        "masks": MaskSettings().model_dump(mode="json"),
    } | changes
    write_weights(path, {prefix + name: t for name, t in network.state_dict().items()}, facts)
    return Painter(path, CPU).paint([np.zeros((32, 32), np.int32)], [0])


@pytest.mark.parametrize("latent", [0, 3])
def test_a_generator_that_folds_pixels_into_channels_paints(path, latent):
    """Its first layer has more channels than what it is given."""
    settings = GeneratorSettings(kind="unet", width=4, depth=2, reduction=2)
    assert painted(path, settings, latent).shape == (1, 32, 32, 3)


def test_a_generator_with_other_weights_than_it_names(path):
    """As one that an older version wrote, whose layers had other names."""
    settings = GeneratorSettings(kind="resnet", width=4, depth=1, upsampling="resize")
    assert painted(path, settings, latent=0).shape == (1, 32, 32, 3)
    message = refused(lambda path: painted(path, settings, latent=0, prefix="older."), path)
    assert "train it again" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": SEGMENTER},
        {"latent_channels": None},
        {"latent_channels": -5},
        {"masks": {"encoding": "odd"}},
        {"masks": None},
        {"generator": {"width": 0}},
        {"generator": []},
    ],
)
def test_a_generator_that_says_other_things_of_itself(path, changes):
    settings = GeneratorSettings(kind="resnet", width=4, depth=1, upsampling="resize")
    refused(lambda path: painted(path, settings, 0, **changes), path)
