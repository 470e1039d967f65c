"""How validation slides are looked at."""

import numpy as np
import pytest

from nucleigan.artifacts import write_image
from nucleigan.config import MaskSettings
from nucleigan.models.methods import load_method
from nucleigan.models.validation import Validation, has_nuclei, looked_at, telling

KINDS = ("image", "labels")


def test_slides_without_nuclei_have_no_say(tmp_path):
    """With nothing to find, finding nothing would be right."""
    found = np.full((2, 40, 40), -1.0)
    found[:, 10:20, 10:20] = 1
    for name, labels in (("full", (found[0] > 0).astype(np.int32)), ("none", np.zeros((40, 40)))):
        write_image(tmp_path / f"{name}.image.tif", np.full((40, 40, 3), 200, np.uint8))
        write_image(tmp_path / f"{name}.labels.tif", labels.astype(np.int32))

    def look(*names):
        files = ([tmp_path / f"{name}.{kind}.tif" for name in names] for kind in KINDS)
        return Validation(*files, load_method("cgan"), MaskSettings()).look(lambda _: found)

    assert look("full") == look("full", "none") == 1
    assert look("none") == 0
    # Of two equal squares one is found.
    two = (found[0] > 0).astype(np.int32)
    two[25:35, 25:35] = 2
    write_image(tmp_path / "two.image.tif", np.full((40, 40, 3), 200, np.uint8))
    write_image(tmp_path / "two.labels.tif", two)
    assert look("two") == 0.5 and look("full", "two") == 0.75


def test_parts_count_by_their_nuclei(tmp_path, monkeypatch):
    """Of three equal squares the two in the upper part are found; the middle is empty."""
    monkeypatch.setattr("nucleigan.models.validation.SIDE", 40)
    monkeypatch.setattr("nucleigan.models.validation.FIELDS", 2)
    labels = np.zeros((120, 40), np.int32)
    for number, (row, column) in enumerate([(5, 5), (20, 25), (90, 10)], 1):
        labels[row : row + 8, column : column + 8] = number
    image = np.full((120, 40, 3), 200, np.uint8)
    image[:40] = 100
    paths = tmp_path / "image.tif", tmp_path / "labels.tif"
    for path, pixels in zip(paths, (image, labels), strict=True):
        write_image(path, pixels)

    def guess(part):
        seen = (labels[:40] > 0) & (part[..., 0] == 100)
        return np.repeat(np.where(seen, 1.0, -1.0)[None], 2, axis=0)

    look = Validation([paths[0]], [paths[1]], load_method("cgan"), MaskSettings()).look
    assert look(guess) == pytest.approx(2 / 3)


def test_large_slides_are_looked_at_in_parts_with_nuclei(tmp_path, monkeypatch):
    """Squares of 32 pixels: of 100 by 70 pixels four by three parts, and nuclei in five of them."""
    monkeypatch.setattr("nucleigan.models.validation.SIDE", 32)
    monkeypatch.setattr("nucleigan.models.validation.FIELDS", 2)
    image = np.random.default_rng(0).integers(0, 256, (100, 70, 3)).astype(np.uint8)
    labels = np.zeros((100, 70), np.int32)
    for number, (row, column) in enumerate([(5, 5), (30, 60), (60, 30), (60, 60), (90, 10)], 1):
        labels[row : row + 4, column : column + 4] = number
    labels[10:14, 2:14] = 6
    paths = tmp_path / "image.tif", tmp_path / "labels.tif"
    for path, pixels in zip(paths, (image, labels), strict=True):
        write_image(path, pixels)
    (first, first_truth, share), (last, last_truth, rest) = looked_at(*paths)
    assert (share, rest) == (4 / 5, 1 / 5)
    np.testing.assert_array_equal(first, image[:25, :23])
    np.testing.assert_array_equal(first_truth, labels[:25, :23])
    np.testing.assert_array_equal(last, image[75:, :23])
    np.testing.assert_array_equal(last_truth, labels[75:, :23])
    write_image(tmp_path / "none.tif", 0 * labels)
    empty = looked_at(paths[0], tmp_path / "none.tif")
    assert [part.truth.shape for part in empty] == [(25, 23)]
    assert not has_nuclei(empty) and has_nuclei(looked_at(*paths))
    assert telling([(False, "a"), (True, "b")]) == ["b"] and telling([(False, "a")]) == ["a"]
    monkeypatch.setattr("nucleigan.models.validation.FIELDS", 7)
    ((whole, _, _),) = looked_at(*paths)
    np.testing.assert_array_equal(whole, image)
