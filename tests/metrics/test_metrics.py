"""All metrics against slow ones, under changes that must not matter, and in every corner."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucleigan.errors import NucleiganError
from nucleigan.metrics import (
    aggregated_jaccard,
    aggregated_jaccard_plus,
    contingency,
    detection_f1,
    hausdorff,
    measure_all,
    object_f1,
    object_f1_mean,
    panoptic_quality,
    pixel_dice,
    pixel_f1,
)
from nucleigan.metrics.contours import contour_distances
from nucleigan.metrics.matching import pairs_above, pairs_of_greatest_iou
from nucleigan.metrics.measures import VARIANTS, distance_measures_of, overlap_measures_of

_spec = importlib.util.spec_from_file_location(
    "slow_metrics", Path(__file__).with_name("slow_metrics.py")
)
slow = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(slow)

MAPS = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(
        arrays(np.int32, shape, elements=st.integers(0, 3)),
        arrays(np.int32, shape, elements=st.integers(0, 3)),
    )
)
CHECKS = settings(max_examples=100, deadline=None)
EMPTY = np.zeros((8, 9), np.int32)

OVERLAP_METRICS = (
    aggregated_jaccard,
    aggregated_jaccard_plus,
    lambda t, p: panoptic_quality(t, p).pq,
    object_f1,
    object_f1_mean,
    detection_f1,
    pixel_dice,
)


def box(*boxes, shape=(20, 20)):
    """A label map of (top, left, bottom, right) boxes, numbered from 1."""
    labels = np.zeros(shape, np.int32)
    for i, (top, left, bottom, right) in enumerate(boxes, 1):
        labels[top:bottom, left:right] = i
    return labels


def blobs(seed, count=40, size=96):
    """Discs of random places and radii, later ones over earlier ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for i in range(1, count + 1):
        centre, radius = rng.uniform(0, size, 2), rng.uniform(2.5, 7)
        labels[np.hypot(y - centre[0], x - centre[1]) < radius] = i
    return labels


def has_ties(table):
    """Whether a true nucleus has two partners that no overlap metric tells apart."""
    keys = zip(table.row, table.overlap, table.iou, strict=True)
    return len(set(keys)) < len(table.row)


# Against independent implementations


@CHECKS
@given(MAPS)
def test_aggregated_jaccard_is_its_definition(maps):
    assert aggregated_jaccard(*maps) == pytest.approx(slow.aji(*maps), abs=1e-9)


@CHECKS
@given(MAPS)
def test_aggregated_jaccard_plus_is_its_definition(maps):
    # Several assignments can be equally good.
    value = aggregated_jaccard_plus(*maps)
    assert any(abs(value - allowed) < 1e-9 for allowed in slow.aji_plus_values(*maps))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_rounded_nuclei_that_compete_are_judged_by_the_definitions(seed):
    truth, prediction = blobs(seed, 7, 28), blobs(seed + 1, 7, 28)
    measures = {name: measure.value for name, measure in measure_all(truth, prediction).items()}
    assert measures["aji"] == pytest.approx(slow.aji(truth, prediction), abs=1e-9)
    allowed = slow.aji_plus_values(truth, prediction)
    assert any(abs(measures["aji_plus"] - value) < 1e-9 for value in allowed)
    assert measures["pq"] == pytest.approx(slow.panoptic(truth, prediction), abs=1e-9)
    assert measures["f1"] == pytest.approx(slow.f1(truth, prediction, 0.5), abs=1e-9)
    assert measures["dice"] == pytest.approx(slow.dice(truth, prediction), abs=1e-9)
    for name, variant in VARIANTS.items():
        expected = slow.hausdorff(truth, prediction, *variant)[0]
        assert measures[name] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@CHECKS
@given(MAPS, st.sampled_from([0.0, 0.2, 0.5, 0.7]))
def test_object_scores_are_their_definitions(maps, threshold):
    expected = slow.f1(*maps, threshold)
    assert object_f1(*maps, threshold) == pytest.approx(expected, abs=1e-9)
    quality = panoptic_quality(*maps)
    assert quality.pq == pytest.approx(slow.panoptic(*maps), abs=1e-9)
    assert quality.pq == pytest.approx(quality.sq * quality.dq, abs=1e-12)
    assert quality.dq == object_f1(*maps)
    assert pixel_dice(*maps) == pytest.approx(slow.dice(*maps), abs=1e-9)


@CHECKS
@given(MAPS, st.floats(0.1, 4))
def test_detection_f1_is_its_definition(maps, radius):
    radius = round(radius, 3) + 1e-6
    assert detection_f1(*maps, radius) == pytest.approx(slow.detection(*maps, radius), abs=1e-9)


@CHECKS
@given(
    MAPS,
    st.sampled_from(["maximum", "percentile95", "mean"]),
    st.sampled_from(["symmetric", "truth_to_prediction", "prediction_to_truth"]),
    st.sampled_from(["ignore", "diameter"]),
)
def test_hausdorff_is_its_definition(maps, statistic, direction, misses):
    measured = hausdorff(*maps, statistic=statistic, direction=direction, misses=misses)
    expected = slow.hausdorff(*maps, statistic, direction, misses)
    assert measured == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_mean_f1_averages_ten_thresholds():
    truth, prediction = blobs(1), np.roll(blobs(1), 1, 0)
    expected = np.mean([object_f1(truth, prediction, t / 100) for t in range(50, 100, 5)])
    assert object_f1_mean(truth, prediction) == pytest.approx(expected, abs=1e-12)


# Changes that must not matter


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_ids_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = blobs(seed), blobs(seed + 1)
    ids = np.r_[0, rng.permutation(2**62 + np.arange(40, dtype=np.int64) * 977)]
    gaps = np.r_[0, rng.choice(np.arange(1, 60000), 40, replace=False)].astype(np.uint16)
    for metric in (*OVERLAP_METRICS, hausdorff):
        assert metric(truth, prediction) == metric(ids[truth], gaps[prediction])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(0, 5))
def test_transposition_and_padding_do_not_matter(seed, above, left):
    truth, prediction = blobs(seed), blobs(seed + 1)
    # Reading order, which settles ties, is another after transposition.
    assume(not has_ties(contingency(truth, prediction)))
    padding = ((above, 3), (left, 0))
    for metric in (*OVERLAP_METRICS, hausdorff):
        expected = tuple(np.atleast_1d(metric(truth, prediction)))
        transposed = metric(truth.T, prediction.T)
        padded = metric(np.pad(truth, padding), np.pad(prediction, padding))
        assert tuple(np.atleast_1d(transposed)) == pytest.approx(expected, abs=1e-9)
        assert tuple(np.atleast_1d(padded)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(MAPS)
def test_ids_do_not_matter_in_ties(maps):
    ids = np.array([0, 30, 10, 20])
    for metric in (*OVERLAP_METRICS, hausdorff):
        renamed = metric(ids[maps[0]], ids[maps[1]])
        assert renamed == pytest.approx(metric(*maps), nan_ok=True)


# Corners


def test_identical_maps_are_perfect():
    labels = blobs(3)
    assert [metric(labels, labels) for metric in OVERLAP_METRICS] == [1.0] * len(OVERLAP_METRICS)
    assert hausdorff(labels, labels) == (0.0, 1.0)


def test_two_empty_maps_agree():
    assert [metric(EMPTY, EMPTY) for metric in OVERLAP_METRICS] == [1.0] * len(OVERLAP_METRICS)
    assert np.isnan(hausdorff(EMPTY, EMPTY)).all()


def test_one_empty_map_scores_nothing():
    full = box((1, 1, 4, 4), shape=EMPTY.shape)
    for metric in OVERLAP_METRICS:
        assert metric(full, EMPTY) == 0
        assert metric(EMPTY, full) == 0
    missed = hausdorff(full, EMPTY)
    assert np.isnan(missed.distance) and missed.match_rate == 0
    charged = hausdorff(full, EMPTY, misses="diameter")
    assert charged.distance == pytest.approx(2 * np.sqrt(9 / np.pi))
    assert np.isnan(hausdorff(EMPTY, full)).all()


def test_maps_without_background():
    truth = np.repeat([[1, 1, 2, 2]], 4, axis=0)
    prediction = np.repeat([[1, 1, 1, 2]], 4, axis=0)
    # 8 of 12 shared with the first, 4 of 8 with the second.
    assert aggregated_jaccard(truth, prediction) == pytest.approx((8 + 4) / (12 + 8))
    assert pixel_dice(truth, prediction) == 1
    assert object_f1(truth, prediction) == pytest.approx(2 * 1 / 4)


def test_one_nucleus_with_known_values():
    truth, prediction = box((2, 2, 6, 8)), box((2, 2, 6, 6))
    assert aggregated_jaccard(truth, prediction) == pytest.approx(16 / 24)
    assert panoptic_quality(truth, prediction) == pytest.approx((16 / 24, 16 / 24, 1))
    assert pixel_dice(truth, prediction) == pytest.approx(32 / 40)
    assert hausdorff(truth, prediction) == (2.0, 1.0)
    assert hausdorff(truth, prediction, direction="prediction_to_truth").distance == 1.0


def test_iou_of_exactly_one_half_is_no_match():
    truth, prediction = box((0, 0, 4, 4)), box((0, 0, 4, 8))
    assert object_f1(truth, prediction) == 0
    assert panoptic_quality(truth, prediction) == (0, 0, 0)
    assert object_f1(truth, prediction, threshold=0.49) == 1


def test_one_prediction_over_many_nuclei():
    truth = box((0, 0, 4, 4), (0, 6, 4, 10), (0, 12, 4, 16))
    prediction = box((0, 0, 4, 16))
    # It serves all three: 3 · 16 over 3 · 64.
    assert aggregated_jaccard(truth, prediction) == pytest.approx(48 / 192)
    # It serves one: 16 over 64 and two missed nuclei.
    assert aggregated_jaccard_plus(truth, prediction) == pytest.approx(16 / (64 + 32))
    assert hausdorff(truth, prediction).match_rate == 1
    assert object_f1(truth, prediction, threshold=0) == pytest.approx(2 / 4)


def test_greatest_iou_sum_may_forgo_the_best_pair():
    # The middle pair is the best, but the two outer pairs add up to more.
    truth = np.array([[1] * 6 + [2] * 4])
    prediction = np.array([[1] * 2 + [2] * 6 + [0] * 2])
    table = contingency(truth, prediction)
    chosen = pairs_of_greatest_iou(table)
    total = table.iou[chosen].sum()
    assert total == pytest.approx(max(4 / 8, 2 / 6 + 2 / 8))


def test_the_assignment_of_nuclei_that_all_touch_is_the_best_one():
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :80]
    truth, prediction = (
        np.argmin([np.hypot(y - a, x - b) for a, b in rng.uniform(0, 80, (60, 2))], axis=0) + 1
        for _ in range(2)
    )
    table = contingency(truth, prediction)
    dense = np.zeros((table.truths, table.predictions))
    dense[table.row, table.column] = table.iou
    chosen = pairs_of_greatest_iou(table)
    most = dense[linear_sum_assignment(dense, maximize=True)].sum()
    assert table.iou[chosen].sum() == pytest.approx(most, abs=1e-9)
    assert len(set(table.row[chosen])) == len(set(table.column[chosen])) == len(chosen)


def test_groups_are_assigned_alike_one_by_one_and_together(monkeypatch):
    table = contingency(blobs(7), blobs(8))
    together = pairs_of_greatest_iou(table)
    monkeypatch.setattr("nucleigan.metrics.matching.AT_A_TIME", 1)
    np.testing.assert_array_equal(pairs_of_greatest_iou(table), together)


def test_each_measure_says_how_much_it_matched():
    truth = box((0, 0, 4, 4), (0, 6, 4, 10), (0, 12, 4, 16), (10, 0, 14, 4))
    prediction = box((0, 0, 4, 16))
    measures = measure_all(truth, prediction)
    rates = {name: measure.match_rate for name, measure in measures.items()}
    # The prediction touches three of four; one to one it serves one; no IoU is above a half.
    assert rates["aji"] == rates["hausdorff"] == rates["hausdorff_misses"] == 3 / 4
    assert rates["aji_plus"] == rates["detection_f1"] == 1 / 4
    assert rates["pq"] == rates["f1"] == rates["f1_mean"] == 0
    assert np.isnan(rates["dice"])
    assert {name for name, measure in measures.items() if measure.unit == "pixels"} == {*VARIANTS}
    assert all(measure.matching for measure in measures.values())
    assert "IoU above 0.5" in measures["pq"].matching


def test_measures_of_empty_maps():
    full = box((1, 1, 4, 4), shape=EMPTY.shape)
    for truth, prediction, value, rate in (
        (EMPTY, EMPTY, 1, np.nan),
        (EMPTY, full, 0, np.nan),
        (full, EMPTY, 0, 0),
    ):
        for name, measure in measure_all(truth, prediction).items():
            if name not in VARIANTS:
                assert measure.value == value
            if name != "dice":
                assert measure.match_rate == pytest.approx(rate, nan_ok=True)


def test_greatest_ids_are_ids_like_others():
    truth, prediction = blobs(3), blobs(4)
    huge = np.where(truth, np.uint64(2**64 - 1) - truth.astype(np.uint64), np.uint64(0))
    assert measure_all(huge, prediction)["aji"] == measure_all(truth, prediction)["aji"]
    assert hausdorff(huge, prediction) == hausdorff(truth, prediction)


def test_a_nucleus_in_two_pieces_is_one():
    truth = box((0, 0, 4, 4), (0, 8, 4, 12))
    truth[truth == 2] = 1
    # One of its pieces is half of it.
    assert aggregated_jaccard(truth, box((0, 0, 4, 4))) == 0.5
    assert object_f1(truth, box((0, 0, 4, 4)), threshold=0.4) == 1


def test_search_trees_find_what_is_compared_point_by_point(monkeypatch):
    truth, prediction = blobs(5), blobs(6)
    expected = measure_all(truth, prediction)
    monkeypatch.setattr("nucleigan.metrics.contours.POINT_BY_POINT", 0)
    for name, measure in measure_all(truth, prediction).items():
        assert measure.value == pytest.approx(expected[name].value, abs=1e-9)


def test_runs_are_cut_alike_in_blocks(monkeypatch):
    truth, prediction = blobs(1), blobs(2)
    whole = contingency(truth, prediction)
    monkeypatch.setattr("nucleigan.metrics.table.BLOCK", 1)
    for name, value in vars(contingency(truth, prediction)).items():
        np.testing.assert_array_equal(value, getattr(whole, name))


def test_nearest_contour_belongs_to_the_partner():
    truth = box((0, 0, 4, 4), (0, 5, 4, 9))
    prediction = box((0, 0, 4, 2), (0, 5, 4, 9))
    # The first true nucleus ends at column 3; the second prediction, at column 5, is no partner.
    assert hausdorff(truth, prediction, direction="truth_to_prediction").distance == 1.0


def test_centroids_decide_detection():
    truth, prediction = box((0, 0, 5, 5)), box((0, 13, 5, 18))
    assert detection_f1(truth, prediction, radius=12.9) == 0
    assert detection_f1(truth, prediction, radius=13) == 1


def test_pixel_f1_is_dice():
    assert pixel_f1 is pixel_dice


@pytest.mark.parametrize(
    ("truth", "prediction", "words"),
    [
        (EMPTY, EMPTY[1:], "8×9 pixels but the predicted one 7×9"),
        (EMPTY.astype(float), EMPTY, "float64"),
        (EMPTY > 0, EMPTY, "bool"),
        (EMPTY, EMPTY - 3, "the id -3"),
        (EMPTY[None], EMPTY[None], r"\(1, 8, 9\)"),
    ],
)
def test_maps_that_cannot_be_compared(truth, prediction, words):
    for metric in (*OVERLAP_METRICS, hausdorff):
        with pytest.raises(NucleiganError, match=words):
            metric(truth, prediction)


def test_threshold_outside_its_range():
    with pytest.raises(NucleiganError, match=r"1\.5"):
        object_f1(EMPTY, EMPTY, threshold=1.5)


def test_variants_that_do_not_exist():
    for argument in ("statistic", "direction", "misses"):
        with pytest.raises(NucleiganError, match=f"The {argument} .* is 'median'; expected one"):
            hausdorff(EMPTY, EMPTY, **{argument: "median"})
    with pytest.raises(NucleiganError, match="radius of detection is -1"):
        detection_f1(EMPTY, EMPTY, radius=-1)


def test_a_map_of_no_pixels():
    nothing = np.zeros((0, 5), np.int32)
    assert [metric(nothing, nothing) for metric in OVERLAP_METRICS] == [1.0] * len(OVERLAP_METRICS)


def test_table_holds_every_pixel():
    truth, prediction = blobs(5), blobs(6)
    table = contingency(truth, prediction)
    assert table.overlap.sum() == ((truth > 0) & (prediction > 0)).sum()
    assert table.truth_area.sum() == (truth > 0).sum()
    assert len(pairs_above(table, 0.0)) <= min(table.truths, table.predictions)


def grid_of_disks(size=1000, pitch=25, radius=10):
    """As many disks as fit, and their ids as squares that touch; (size, size) int32 each."""
    y, x = np.mgrid[:size, :size]
    ids = (y // pitch * (size // pitch) + x // pitch + 1).astype(np.int32)
    inside = np.hypot(y % pitch - pitch // 2, x % pitch - pitch // 2) < radius
    return np.where(inside, ids, 0).astype(np.int32), ids


def fastest(work, tries=5):
    """Seconds of processor time: other processes do not add to it."""
    work()
    seconds = []
    for _ in range(tries):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def test_fifteen_hundred_nuclei_are_quick():
    truth, _ = grid_of_disks()
    prediction = np.roll(truth, (1, 2), axis=(0, 1))
    assert truth.max() == 1600
    assert fastest(lambda: overlap_measures_of(contingency(truth, prediction))) < 0.1
    table = contingency(truth, prediction)
    assert (
        fastest(lambda: distance_measures_of(table, contour_distances(truth, prediction, table)), 2)
        < 1
    )


def test_nuclei_that_all_touch_are_quick():
    _, truth = grid_of_disks(2000)
    prediction = np.roll(truth, (8, 9), axis=(0, 1))
    assert len(np.unique(truth)) == 6400
    assert fastest(lambda: overlap_measures_of(contingency(truth, prediction)), 1) < 2
