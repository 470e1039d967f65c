"""F1 over IoU thresholds, and detection over size, on tables whose result is known."""

import math

import numpy as np
import pandas as pd
import pytest

from nucleigan.artifacts import digest_file, write_image
from nucleigan.errors import NucleiganError
from nucleigan.evaluation import compare, gather, judge_slide
from nucleigan.evaluation.curves import (
    SIZES,
    detection_by_size,
    draw_curves,
    f1_over_thresholds,
)
from nucleigan.metrics.objects import THRESHOLDS

SHAPE = (120, 160)


def slide(name, organ, true, predicted, seed=0):
    model = {"method": "cgan", "data": "both", "seed": seed}
    counts = {"true_nuclei": true, "predicted_nuclei": predicted}
    return model | {"slide": name, "organ": organ, "split": "test", "patient": ""} | counts


def nuclei(name, organ, ious, areas=None, seed=0):
    row = {
        key: value for key, value in slide(name, organ, 0, 0, seed).items() if "nuclei" not in key
    }
    areas = areas or [100] * len(ious)
    return [
        row | {"area": area, "best_iou": iou, "matched": int(iou > 0.5)}
        for iou, area in zip(ious, areas, strict=True)
    ]


def test_f1_counts_what_exceeds_the_threshold():
    slides = pd.DataFrame([slide("a", "liver", 3, 2), slide("b", "colon", 2, 4)])
    rows = nuclei("a", "liver", [0.6, 0.8, 0.0]) + nuclei("b", "colon", [0.6, 0.96])
    table = f1_over_thresholds(slides, pd.DataFrame(rows)).set_index("threshold")["f1"]
    assert table.index.tolist() == list(THRESHOLDS)
    assert table[0.5] == pytest.approx((4 / 5 + 4 / 6) / 2)
    # An IoU of exactly the threshold does not exceed it.
    assert table[0.6] == pytest.approx((2 / 5 + 2 / 6) / 2)
    assert table[0.95] == pytest.approx((0 + 2 / 6) / 2)


def test_organs_count_alike_and_so_do_seeds():
    slides, rows = [], []
    for seed, iou in ((0, 0.9), (1, 0.4)):
        for name, organ in (("a", "liver"), ("b", "liver"), ("c", "kidney")):
            slides.append(slide(name, organ, 1, 1, seed))
            rows += nuclei(name, organ, [iou if name == "c" else 0.9], seed=seed)
    table = f1_over_thresholds(pd.DataFrame(slides), pd.DataFrame(rows))
    assert table["f1"].iloc[0] == pytest.approx(((1 + 1) / 2 + (1 + 0) / 2) / 2)


def test_a_slide_without_nuclei():
    rows = pd.DataFrame(nuclei("a", "liver", [0.9]))
    slides = pd.DataFrame([slide("a", "liver", 1, 1), slide("b", "liver", 0, 0)])
    assert f1_over_thresholds(slides, rows)["f1"].iloc[0] == 1
    slides = pd.DataFrame([slide("a", "liver", 1, 1), slide("b", "liver", 0, 3)])
    assert f1_over_thresholds(slides, rows)["f1"].iloc[0] == 0.5


def test_small_nuclei_are_missed():
    areas = np.arange(1, 81) * 10
    found = [0.9 if area > 400 else 0.1 for area in areas]
    rows = nuclei("a", "liver", found, areas.tolist()) + nuclei("b", "liver", found, areas.tolist())
    table = detection_by_size(pd.DataFrame(rows), mpp=0.25)
    assert len(table) == SIZES
    assert table["nuclei"].sum() == 160
    assert table["rate"].tolist() == [0] * 4 + [1] * 4
    # A disc of 10 and one of 800 pixels, µm.
    assert table["low"].iloc[0] == pytest.approx(0.25 * 2 * math.sqrt(10 / math.pi))
    assert table["high"].iloc[-1] == pytest.approx(0.25 * 2 * math.sqrt(800 / math.pi))
    assert (table["rate_low"] == table["rate"]).all()
    assert (table["rate_high"] == table["rate"]).all()


def test_nuclei_of_one_size_or_none():
    table = detection_by_size(pd.DataFrame(nuclei("a", "liver", [0.9, 0.1])), mpp=0.5)
    assert table["nuclei"].tolist() == [2] and table["rate"].tolist() == [0.5]
    assert math.isnan(table["rate_low"].iloc[0])
    assert detection_by_size(pd.DataFrame(nuclei("a", "liver", [0.9])).iloc[:0], 0.5).empty
    areas = [10] * 7 + [90] * 4
    table = detection_by_size(pd.DataFrame(nuclei("a", "liver", [0.9] * 11, areas)), mpp=1)
    assert table["nuclei"].tolist() == [7, 4] and table["rate"].tolist() == [1, 1]


def test_sizes_count_organs_alike_and_seeds_as_no_slides():
    """With seeds taken for slides the interval of liver would reach from .15 on."""
    rows = []
    for seed in (0, 1):
        for name, organ, iou in (("a", "liver", 0.9), ("b", "liver", 0.0), ("c", "kidney", 0.9)):
            rows += nuclei(name, organ, [iou], seed=seed)
    (found,) = detection_by_size(pd.DataFrame(rows), 0.25).to_dict("records")
    assert found["nuclei"] == 3 and found["rate"] == pytest.approx((0.5 + 1) / 2)
    assert (found["rate_low"], found["rate_high"]) == (0, 1)


def judged(folder):
    """Tables of a model on two random slides."""
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        truth = np.zeros(SHAPE, np.int32)
        prediction = np.zeros(SHAPE, np.int32)
        for number, (row, column) in enumerate(np.ndindex(6, 8), 1):
            side, shift = rng.integers(6, 15), rng.integers(0, 5)
            y, x = 20 * row, 20 * column
            truth[y : y + side, x : x + side] = number
            prediction[y + shift : y + side, x : x + side] = number
        for kind, labels in (("labels", truth), ("prediction", prediction)):
            write_image(folder / f"{name}.{kind}.tif", labels)
        judge_slide(
            {"slide": name, "organ": "liver", "split": "test", "patient": ""},
            {"method": "cgan", "data": "both", "seed": "0"},
            folder / f"{name}.labels.tif",
            folder / f"{name}.prediction.tif",
            folder / f"{name}.csv",
            folder / f"{name}.nuclei.csv",
        )
    gather([folder / "a.csv", folder / "b.csv"], folder / "one.csv")
    gather([folder / "a.nuclei.csv", folder / "b.nuclei.csv"], folder / "nuclei.csv")
    compare([folder / "one.csv"], folder)


def test_curves_agree_with_the_table_of_organs(tmp_path):
    judged(tmp_path)
    outputs = [tmp_path / name for name in ("f1.csv", "sizes.csv", "f1.png", "sizes.png")]
    draw_curves(tmp_path / "slides.csv", [tmp_path / "nuclei.csv"], 0.25, *outputs)
    organs = pd.read_csv(tmp_path / "organs.csv").set_index("organ").loc["overall"]
    f1, sizes = pd.read_csv(outputs[0]), pd.read_csv(outputs[1])
    assert 0.2 < organs["f1"] < 1
    assert f1["f1"].iloc[0] == pytest.approx(organs["f1"])
    assert f1["f1"].mean() == pytest.approx(organs["f1_mean"])
    assert sizes["nuclei"].sum() == 96
    assert all(output.stat().st_size > 5000 for output in outputs[2:])


def test_slides_without_a_nucleus(tmp_path):
    """As negative controls."""
    write_image(tmp_path / "none.tif", np.zeros(SHAPE, np.int32))
    found = np.zeros(SHAPE, np.int32)
    found[10:20, 10:20] = 1
    write_image(tmp_path / "one.tif", found)
    judge_slide(
        {"slide": "a", "organ": "liver", "split": "test", "patient": ""},
        {"method": "cgan", "data": "both", "seed": "0"},
        tmp_path / "none.tif",
        tmp_path / "one.tif",
        tmp_path / "a.csv",
        tmp_path / "a.nuclei.csv",
    )
    gather([tmp_path / "a.csv"], tmp_path / "one.csv")
    gather([tmp_path / "a.nuclei.csv"], tmp_path / "nuclei.csv")
    compare([tmp_path / "one.csv"], tmp_path)
    outputs = [tmp_path / name for name in ("f1.csv", "sizes.csv", "f1.png", "sizes.png")]
    draw_curves(tmp_path / "slides.csv", [tmp_path / "nuclei.csv"], 0.25, *outputs)
    assert (pd.read_csv(outputs[0])["f1"] == 0).all()
    assert pd.read_csv(outputs[1]).empty
    assert all(output.stat().st_size > 1000 for output in outputs[2:])


def test_no_slides(tmp_path):
    judged(tmp_path)
    text = (tmp_path / "slides.csv").read_text().splitlines()[0]
    (tmp_path / "slides.csv").write_text(text + "\n")
    digest_file(tmp_path / "slides.csv").unlink()
    with pytest.raises(NucleiganError, match="annotate"):
        draw_curves(tmp_path / "slides.csv", [tmp_path / "nuclei.csv"], 0.25, *[tmp_path / "x"] * 4)


def test_names_that_look_like_numbers_or_like_nothing_are_names(tmp_path):
    """Slides 1 and 01, an organ NA."""
    labels = np.zeros(SHAPE, np.int32)
    labels[20:50, 20:50] = 1
    write_image(tmp_path / "truth.tif", labels, 0.25)
    write_image(tmp_path / "nothing.tif", np.zeros_like(labels), 0.25)
    tables = []
    for name, found in (("1", "truth"), ("01", "nothing")):
        judge_slide(
            {"slide": name, "organ": "NA", "split": "test", "patient": ""},
            {"method": "cgan", "data": "both", "seed": "0"},
            tmp_path / "truth.tif",
            tmp_path / f"{found}.tif",
            tmp_path / f"{name}.csv",
            tmp_path / f"{name}.nuclei.csv",
        )
        tables.append(tmp_path / f"{name}.csv")
    gather(tables, tmp_path / "slides.csv")
    draw_curves(
        tmp_path / "slides.csv",
        [table.with_suffix(".nuclei.csv") for table in tables],
        0.25,
        tmp_path / "f1.csv",
        tmp_path / "sizes.csv",
        tmp_path / "f1.png",
        tmp_path / "sizes.png",
    )
    assert set(pd.read_csv(tmp_path / "f1.csv")["f1"]) == {0.5}
