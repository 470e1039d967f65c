"""Patches are the windows of the slides, all of them, in the order of the table."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nucleigan.artifacts import open_stack, write_image
from nucleigan.config import PatchSettings
from nucleigan.errors import NucleiganError
from nucleigan.patches import cut_patches, cut_unannotated, grid

SETTINGS = PatchSettings(size=16, stride=12)
OUTPUTS = ("images.tif", "labels.tif", "patches.csv", "patches.png")


@st.composite
def windows(draw):
    """A length, a window within it, and a stride that leaves no gap."""
    length = draw(st.integers(1, 3000))
    size = draw(st.integers(1, length))
    return length, size, draw(st.integers(1, size))


@given(windows())
def test_grid_covers_the_length_evenly(window):
    length, size, stride = window
    starts = grid(length, size, stride)
    assert starts[0] == 0
    assert starts[-1] == length - size
    steps = np.diff(starts)
    assert len(steps) == -(-(length - size) // stride)
    if len(steps):
        assert steps.min() >= 1
        assert steps.max() <= stride
        assert steps.max() - steps.min() <= 1


def test_grid_of_a_published_tile():
    assert grid(1000, 256, 248) == [0, 248, 496, 744]
    assert grid(256, 256, 248) == [0]
    assert grid(257, 256, 248) == [0, 1]


def written(folder, name, height, width, first_id=1):
    """A slide whose pixels say where they are, with nuclei of 4×4 pixels every 10."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.full_like(rows, len(name))], axis=-1).astype(np.uint8)
    labels = np.zeros((height, width), np.int32)
    corners = [(y, x) for y in range(0, height - 4, 10) for x in range(0, width - 4, 10)]
    for number, (y, x) in enumerate(corners, first_id):
        labels[y : y + 4, x : x + 4] = number
    write_image(folder / f"{name}.tif", image)
    write_image(folder / f"{name} labels.tif", labels)
    row = {
        "slide": name,
        "organ": f"organ of {name}",
        "image": str(folder / f"{name}.tif"),
        "labels": str(folder / f"{name} labels.tif"),
    }
    return row, image, labels


def cut(folder, rows, settings=SETTINGS):
    images, labels, table, picture = (folder / "out" / name for name in OUTPUTS)
    cut_patches(rows, images, labels, table, picture, settings)
    return (
        np.asarray(open_stack(images)),
        np.asarray(open_stack(labels)),
        pd.read_csv(table),
        np.asarray(Image.open(picture)),
    )


def test_stacks_hold_the_windows_of_the_table(tmp_path):
    slides = {
        name: written(tmp_path, name, height, width)
        for name, height, width in [("a", 16, 40), ("bb", 29, 16), ("ccc", 50, 43)]
    }
    images, labels, table, picture = cut(tmp_path, [row for row, _, _ in slides.values()])
    assert list(table.columns) == ["patch", "slide", "organ", "y", "x", "nuclei"]
    assert list(table["patch"]) == list(range(len(table)))
    assert len(table) == 3 + 3 + 4 * 4
    assert (images.shape, images.dtype) == ((len(table), 16, 16, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((len(table), 16, 16), np.int32)
    covered = {name: np.zeros(truth.shape, bool) for name, (_, _, truth) in slides.items()}
    for place in table.itertuples():
        _, image, truth = slides[place.slide]
        window = np.s_[place.y : place.y + 16, place.x : place.x + 16]
        np.testing.assert_array_equal(images[place.patch], image[window])
        np.testing.assert_array_equal(labels[place.patch], truth[window])
        assert place.nuclei == len(np.unique(truth[window][truth[window] > 0]))
        assert place.organ == f"organ of {place.slide}"
        covered[place.slide][window] = True
    assert all(mask.all() for mask in covered.values())
    assert picture.shape[2] == 3


def test_one_patch(tmp_path):
    row, image, truth = written(tmp_path, "a", 16, 16, first_id=2**31 - 10)
    images, labels, table, picture = cut(tmp_path, [row])
    np.testing.assert_array_equal(images, image[None])
    np.testing.assert_array_equal(labels, truth[None])
    assert table.to_dict("records") == [
        {"patch": 0, "slide": "a", "organ": "organ of a", "y": 0, "x": 0, "nuclei": 4}
    ]
    # The contact sheet is the patch with contours: the inner border of each nucleus in green.
    assert picture.shape == (16, 16, 3)
    border = (picture == (0, 255, 0)).all(axis=-1)
    assert not border[truth == 0].any()
    assert border[3, 3]
    assert not border[11, 11]


def test_same_files_from_the_same_slides(tmp_path):
    row, _, _ = written(tmp_path, "a", 40, 40)
    cut(tmp_path, [row])
    first = [(tmp_path / "out" / name).read_bytes() for name in OUTPUTS]
    cut(tmp_path, [row])
    assert first == [(tmp_path / "out" / name).read_bytes() for name in OUTPUTS]


@pytest.mark.parametrize(("height", "width"), [(15, 40), (40, 15)])
def test_slide_smaller_than_a_patch(tmp_path, height, width):
    good, _, _ = written(tmp_path, "good", 40, 40)
    small, _, _ = written(tmp_path, "small", height, width)
    with pytest.raises(NucleiganError, match=rf"small: is {height}×{width} .*patches\.size = 16"):
        cut(tmp_path, [good, small])
    assert not (tmp_path / "out").exists()


def test_image_and_label_map_of_different_sizes(tmp_path):
    first, _, _ = written(tmp_path, "first", 40, 40)
    second, _, _ = written(tmp_path, "second", 40, 41)
    with pytest.raises(NucleiganError, match=r"first: the image is 40×40, the label map 40×41"):
        cut(tmp_path, [first | {"labels": second["labels"]}])


def test_no_slides(tmp_path):
    with pytest.raises(NucleiganError, match="annotat"):
        cut(tmp_path, [])


def stained(folder, name, tissue):
    """A slide without annotation, grey where it holds tissue (H, W) and white elsewhere."""
    image = np.where(tissue, 120, 250).astype(np.uint8)
    write_image(folder / f"{name}.tif", np.repeat(image[..., None], 3, axis=-1))
    return {"slide": name, "organ": "liver", "image": str(folder / f"{name}.tif")}


def cut_bare(folder, row, seed=3, **settings):
    images, _, table, picture = (folder / "bare" / name for name in OUTPUTS)
    chosen = PatchSettings(size=16, stride=16, **settings)
    cut_unannotated(row, images, table, picture, chosen, seed)
    return np.asarray(open_stack(images)), pd.read_csv(table), np.asarray(Image.open(picture))


def test_without_annotation_tissue_alone_is_cut(tmp_path):
    tissue = np.zeros((64, 96), bool)
    tissue[:, :40] = True
    row = stained(tmp_path, "half", tissue)
    images, table, picture = cut_bare(tmp_path, row)
    assert list(table.columns) == ["patch", "slide", "organ", "y", "x"]
    # Of the third column of patches just half is tissue.
    places = [(y, x) for y in (0, 16, 32, 48) for x in (0, 16, 32)]
    assert list(table[["y", "x"]].itertuples(index=False, name=None)) == places
    assert list(table["patch"]) == list(range(12)) and set(table["slide"]) == {"half"}
    for image, (y, x) in zip(images, places, strict=True):
        np.testing.assert_array_equal(image[..., 0] == 120, tissue[y : y + 16, x : x + 16])
    assert picture.shape[2] == 3
    assert len(cut_bare(tmp_path, row, least_tissue=0.51)[1]) == 8
    assert len(cut_bare(tmp_path, row, least_tissue=0.0)[1]) == 24


def test_of_a_large_slide_some_patches_are_cut(tmp_path):
    def places(name, seed=3):
        row = stained(tmp_path, name, np.ones((160, 160), bool))
        table = cut_bare(tmp_path, row, seed, most_unannotated=10)[1]
        assert len(table) == 10
        return set(zip(table["y"], table["x"], strict=True))

    # Another choice for each slide and seed, and always the same one.
    assert len({frozenset(places(*which)) for which in [("a",), ("b",), ("a", 4), ("a",)]}) == 3


def test_glass_alone_is_refused(tmp_path):
    row = stained(tmp_path, "empty", np.zeros((32, 32), bool))
    with pytest.raises(NucleiganError, match=r"slide empty: .*50%.*patches\.least_tissue"):
        cut_bare(tmp_path, row)
    assert not (tmp_path / "bare").exists()
