"""What became of every nucleus, on drawn discs and on random maps."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.color import deltaE_ciede2000, rgb2lab

from nucleigan.errors import NucleiganError
from nucleigan.figures.errors import COLOURS, css_colours, draw_errors
from nucleigan.metrics import object_f1
from nucleigan.metrics.errors import CLASSES, classify
from nucleigan.metrics.table import contingency

SIZE = 80
# Linear RGB seen without one kind of cone (Machado, Oliveira & Fernandes 2009, severity 1).
VISION = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def discs(*places):
    """A label map of (row, column, radius) discs, numbered from 1; later ones lie above."""
    y, x = np.mgrid[:SIZE, :SIZE]
    labels = np.zeros((SIZE, SIZE), np.int32)
    for number, (row, column, radius) in enumerate(places, 1):
        labels[np.hypot(y - row, x - column) <= radius] = number
    return labels


def halves(labels, column):
    """Every nucleus cut in two at a column, which becomes background."""
    right = (np.arange(SIZE) > column)[None] & (labels > 0)
    return (labels + right * labels.max()) * (np.arange(SIZE) != column)


def names(truth, prediction):
    errors = classify(contingency(truth, prediction))
    return errors.truths.tolist(), errors.predictions.tolist()


TWO = discs((30, 20, 8), (30, 38, 8))
NOTHING = discs()


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (TWO, TWO, (["hit", "hit"], ["hit", "hit"])),
        (TWO, discs((31, 21, 8)), (["hit", "missed"], ["hit"])),
        (TWO, NOTHING, (["missed", "missed"], [])),
        (NOTHING, TWO, ([], ["invented", "invented"])),
        # Two halves of one disc: neither has an IoU above 0.5.
        (discs((30, 20, 8)), halves(discs((30, 20, 8)), 20), (["split"], ["split", "split"])),
        # One disc over both nuclei.
        (TWO, discs((30, 29, 18)), (["merged", "merged"], ["merged"])),
        # A quarter of the nucleus's area.
        (discs((30, 20, 8)), discs((30, 20, 4)), (["missed"], ["inexact"])),
        (discs((30, 20, 8)), discs((30, 20, 16)), (["missed"], ["inexact"])),
        # Discs that touch at their rims only.
        (discs((30, 20, 8)), discs((30, 34, 8)), (["missed"], ["invented"])),
        # A prediction that fits one nucleus and swallows a small one is a hit and a merger.
        (
            discs((30, 20, 10), (30, 33, 2)),
            discs((30, 23, 13)),
            (["hit", "merged"], ["hit"]),
        ),
        # A hit beside a crumb of the same nucleus.
        (
            discs((30, 20, 10)),
            discs((30, 20, 9)) * (np.arange(SIZE) < 24) + 5 * (discs((30, 26, 2)) > 0),
            (["hit"], ["hit", "split"]),
        ),
    ],
    ids=[
        "same",
        "one missed",
        "empty prediction",
        "empty truth",
        "split",
        "merged",
        "too small",
        "too large",
        "beside",
        "hit and merged",
        "hit and crumb",
    ],
)
def test_drawn_discs(truth, prediction, expected):
    assert names(truth, prediction) == expected


def test_merged_with_splits_of_a_neighbour():
    truth = discs((20, 15, 7), (20, 33, 7), (55, 40, 9))
    prediction = discs((20, 24, 18), (0, 0, 0)) + 3 * (halves(discs((55, 40, 9)), 40) == 1)
    prediction = prediction + 4 * (halves(discs((55, 40, 9)), 40) == 2)
    errors = classify(contingency(truth, prediction))
    assert errors.truths.tolist() == ["merged", "merged", "split"]
    assert sorted(errors.predictions) == ["invented", "merged", "split", "split"]
    assert errors.counts() == {
        "hit": 0,
        "missed": 0,
        "invented": 1,
        "split": 1,
        "merged": 2,
        "inexact": 0,
    }


def maps():
    return arrays.arrays(np.int32, (9, 9), elements=st.integers(0, 5))


@settings(max_examples=200, deadline=None)
@given(maps(), maps())
def test_hits_are_those_of_f1_and_ids_do_not_matter(truth, prediction):
    errors = classify(contingency(truth, prediction))
    assert set(errors.truths) <= {"hit", "missed", "split", "merged"}
    assert set(errors.predictions) <= set(CLASSES) - {"missed"}
    hits = errors.counts()["hit"]
    assert hits == np.sum(errors.predictions == "hit")
    total = len(errors.truths) + len(errors.predictions)
    assert object_f1(truth, prediction) == pytest.approx(2 * hits / total if total else 1.0)
    again = classify(contingency(truth * 1000, (6 - prediction) * (prediction > 0)))
    assert sorted(again.truths) == sorted(errors.truths)
    assert sorted(again.predictions) == sorted(errors.predictions)


def test_contours_have_the_colours_of_their_classes():
    truth = discs((15, 15, 8), (60, 15, 8))
    prediction = discs((15, 15, 8), (15, 60, 8))
    image = np.full((SIZE, SIZE, 3), 200, np.uint8)
    drawn, errors = draw_errors(image, truth, prediction)
    assert errors.counts() == dict.fromkeys(CLASSES, 0) | {"hit": 1, "missed": 1, "invented": 1}
    assert tuple(drawn[15, 7]) == COLOURS["hit"]
    assert tuple(drawn[60, 7]) == COLOURS["missed"]
    assert tuple(drawn[15, 52]) == COLOURS["invented"]
    assert (drawn[15, 15] == 200).all() and (image == 200).all()


@pytest.mark.parametrize("place", [np.s_[0:30, 0:200], np.s_[7:52, 10:60], np.s_[40:200, 53:54]])
def test_a_part_is_drawn_as_it_is_in_the_whole(place):
    truth = discs((15, 15, 8), (60, 15, 8), (40, 40, 9), (52, 55, 6))
    prediction = discs((15, 15, 8), (15, 60, 8), (40, 44, 12), (53, 59, 3))
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    whole, errors = draw_errors(image, truth, prediction)
    part, same = draw_errors(image, truth, prediction, place)
    np.testing.assert_array_equal(part, whole[place])
    assert same.counts() == errors.counts()


def test_image_of_another_size():
    with pytest.raises(NucleiganError, match="one size"):
        draw_errors(np.zeros((4, 5, 3), np.uint8), NOTHING, NOTHING)


def seen(colour, vision):
    """CIELAB of an sRGB colour, as seen with some kind of colour vision."""
    channel = np.array(colour) / 255
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(srgb)


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision):
    assert list(css_colours()) == list(CLASSES)
    # A difference of 10 in CIEDE2000 is seen at a glance.
    for one, other in itertools.combinations(CLASSES, 2):
        pair = seen(COLOURS[one], vision), seen(COLOURS[other], vision)
        assert deltaE_ciede2000(*pair) > 15, (one, other)
