"""Artifacts on disk: complete or absent, and damage that is noticed."""

import errno
import hashlib
import os

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleigan.artifacts import (
    digest_file,
    open_stack,
    read_json,
    read_table,
    read_tiff,
    stored_digest,
    write_image,
    write_json,
    write_stack,
    write_table,
)
from nucleigan.errors import NucleiganError
from nucleigan.models.weights import read_weights, write_weights

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 40, 30, 3), dtype=np.uint8)
FACTS = {"kind": "test", "foreground": 0.5}
TABLE = pd.DataFrame({"slide": [1.0, 2.0], "aji": [0.625, 0.25]})
LABELS = np.arange(5 * 40 * 30, dtype=np.int32).reshape(5, 40, 30)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    write_image(folder / "image.tif", PIXELS[0], mpp=0.25)
    write_image(folder / "labels.tif", LABELS[0], mpp=0.25)
    write_stack(folder / "images.tif", PIXELS.shape, np.uint8, PIXELS)
    write_stack(folder / "maps.tif", LABELS.shape, np.int32, LABELS)
    write_json(folder / "facts.json", FACTS)
    write_table(folder / "table.csv", TABLE)
    write_weights(folder / "w.safetensors", {"a": torch.arange(600.0)}, FACTS)
    return folder


def read(path):
    """What an artifact holds, as arrays."""
    if path.suffix == ".safetensors":
        tensors, facts = read_weights(path)
        assert facts == FACTS
        return [tensors["a"].numpy()]
    if path.suffix == ".json":
        return [np.array([read_json(path)])]
    if path.suffix == ".csv":
        return [read_table(path).to_numpy()]
    return [read_tiff(path) if path.stem in ("image", "labels") else np.asarray(open_stack(path))]


CONTENTS = {
    "image.tif": PIXELS[0],
    "labels.tif": LABELS[0],
    "images.tif": PIXELS,
    "maps.tif": LABELS,
    "w.safetensors": np.arange(600.0),
    "facts.json": np.array([FACTS]),
    "table.csv": TABLE.to_numpy(),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_written_is_read(files, name):
    np.testing.assert_array_equal(read(files / name)[0], CONTENTS[name])


def damaged_file(original, kind, content):
    """A file of the same name, with other content."""
    path = original.parent / kind / original.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    if digest_file(original).exists():
        digest_file(path).write_bytes(digest_file(original).read_bytes())
    return path


def refused(path, original):
    """What is said of a damaged file; nothing where it holds what it held before."""
    try:
        (found,) = read(path)
    except NucleiganError as error:
        return str(error)
    np.testing.assert_array_equal(found, read(original)[0])
    return None


@settings(max_examples=150)
@given(data=st.data())
@pytest.mark.parametrize("name", CONTENTS)
def test_no_flipped_bit_changes_what_is_read_unnoticed(files, name, data):
    content = bytearray((files / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1), label="byte")
    content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path = damaged_file(files / name, "flipped", content)
    said = refused(path, files / name)
    assert said is None or (str(path) in said and "again" in said)


@settings(max_examples=40)
@given(part=st.floats(0, 0.999))
@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_cut_short_is_refused(files, name, part):
    content = (files / name).read_bytes()
    path = damaged_file(files / name, "cut", content[: int(len(content) * part)])
    said = refused(path, files / name)
    # The last bytes of a stack may be those that pad its tags.
    assert (said is None and part > 0.9) or str(path) in said


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.EIO, "broken"), OSError(errno.EMFILE, "too many")]
)
@pytest.mark.parametrize("name", CONTENTS)
def test_what_fails_of_the_machine_is_no_damage_of_the_file(files, monkeypatch, name, error):
    """Which would be deleted, though another try may go well."""

    def fail(*_, **__):
        raise error

    for opener in ("tifffile.TiffFile", "pathlib.Path.open", "pathlib.Path.read_text"):
        monkeypatch.setattr(opener, fail)
    with pytest.raises(type(error)) as raised:
        read(files / name)
    assert raised.value is error


def flipped(path, array, damaged):
    """A copy of a file of pixels with one bit of an array changed in it."""
    content = path.read_bytes()
    place = content.index(array.tobytes())
    damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    return damaged


def test_only_what_is_read_of_a_stack_is_checked(files, tmp_path):
    path = flipped(files / "images.tif", PIXELS[3], tmp_path / "images.tif")
    stack = open_stack(path)
    for place in (0, 1, 2, 4, -1):
        np.testing.assert_array_equal(stack[place], PIXELS[place])
    for _ in range(2):
        with pytest.raises(NucleiganError, match=r"images\.tif: .* item 3 .* again"):
            stack[3]
    with pytest.raises(NucleiganError, match="item 3"):
        np.asarray(stack)


def test_an_item_is_checked_once(files, monkeypatch):
    stack, taken = open_stack(files / "maps.tif"), []
    monkeypatch.setattr(
        "nucleigan.artifacts._item_digest",
        lambda item: taken.append(1) or hashlib.sha256(item.tobytes()).digest(),
    )
    for place in (1, 1, 4, 1):
        stack[place]
    assert len(taken) == 2


def test_stored_digests_tell_pixels_apart(files, tmp_path):
    def digest_of(write, name, *arguments):
        write(tmp_path / name, *arguments)
        return stored_digest(tmp_path / name)

    def stack(pixels):
        return digest_of(write_stack, "stack.tif", pixels.shape, pixels.dtype, pixels)

    assert stack(PIXELS) == stored_digest(files / "images.tif")
    others = [PIXELS[::-1], PIXELS[:4], PIXELS.transpose(0, 2, 1, 3), PIXELS[..., 0], LABELS]
    found = {stack(other) for other in [PIXELS, *others]}
    assert len(found) == 6
    assert digest_of(write_image, "a.tif", PIXELS[0]) == stored_digest(files / "image.tif")
    assert digest_of(write_image, "a.tif", PIXELS[1]) != stored_digest(files / "image.tif")


def test_a_file_without_a_digest_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "foreign.tif", PIXELS[0])
    for path in (tmp_path / "foreign.tif", tmp_path / "none.tif"):
        with pytest.raises(NucleiganError, match=r"cannot be read as a TIFF .* again"):
            stored_digest(path)


def test_a_header_that_announces_too_much_is_refused_before_memory_is_taken(files, tmp_path):
    path = tmp_path / "image.tif"
    path.write_bytes((files / "image.tif").read_bytes())
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in ("ImageWidth", "ImageLength"):
            file.pages.first.tags[tag].overwrite(2**30)
    with pytest.raises(NucleiganError, match=r"announces more pixels than it can hold.* again"):
        read_tiff(path)


def test_json_nested_without_end_is_refused(tmp_path):
    (tmp_path / "facts.json").write_text("[" * 100_000)
    with pytest.raises(NucleiganError, match=r"facts\.json: cannot be read as JSON .* again"):
        read_json(tmp_path / "facts.json")


def test_an_edited_table_is_taken_without_its_digest(tmp_path):
    path = tmp_path / "table.csv"
    write_table(path, TABLE)
    assert digest_file(path).read_text().endswith("  table.csv\n")
    path.write_text(path.read_text().replace("0.25", "0.75"))
    with pytest.raises(NucleiganError, match=r"not what was written; .* delete .*sha256 to take"):
        read_table(path)
    digest_file(path).unlink()
    assert read_table(path)["aji"].tolist() == [0.625, 0.75]


@pytest.mark.parametrize("shape", [(10, 1), (1, 10), (300, 1), (1, 1), (5, 257), (7, 1, 3)])
def test_the_narrowest_images_are_read_as_written(shape, tmp_path):
    kind = np.uint8 if len(shape) == 3 else np.int32
    image = np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(kind)
    write_image(tmp_path / "image.tif", image)
    np.testing.assert_array_equal(read_tiff(tmp_path / "image.tif"), image)


def test_the_most_shrunk_picture_is_read(tmp_path):
    write_image(tmp_path / "black.tif", np.zeros((4096, 4096), np.int32))
    assert not read_tiff(tmp_path / "black.tif").any()


def test_a_stack_that_finds_no_space_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write_stack(tmp_path / "stack.tif", PIXELS.shape, np.uint8, PIXELS)
    assert list(tmp_path.iterdir()) == []


def test_a_stack_of_too_few_items_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="5 items announced, 3 given"):
        write_stack(tmp_path / "stack.tif", PIXELS.shape, np.uint8, PIXELS[:3])
    assert list(tmp_path.iterdir()) == []
