"""The evaluation stage: tables, comparison, pictures."""

import csv
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from nucleigan.artifacts import write_image, write_table
from nucleigan.errors import NucleiganError
from nucleigan.evaluation import (
    MEASURES,
    MODEL,
    OVERALL,
    SLIDE,
    compare,
    differences,
    evaluate_slide,
    gather,
    interval_of_mean,
    judge_slide,
    summarise,
    write_rows,
)
from nucleigan.evaluation.columns import MATCH_RATES, long_rows, read_slide_rows
from nucleigan.evaluation.published import METHODS, ORGANS, published
from nucleigan.evaluation.tables import NOTES, shared_cell
from nucleigan.figures.ablation import plot_training_sets
from nucleigan.figures.overlay import FOUND, HIT, INVENTED, MISSED, Hits, overlay
from nucleigan.metrics.measures import VARIANTS, measure_all
from nucleigan.slides import sheet


def box(*boxes, shape=(40, 40)):
    """A label map of (top, left, bottom, right) boxes, numbered from 1."""
    labels = np.zeros(shape, np.int32)
    for i, (top, left, bottom, right) in enumerate(boxes, 1):
        labels[top:bottom, left:right] = i
    return labels


OUTPUTS = ("slides.csv", "organs.csv", "table.md", "table.tex", "differences.csv", "aji.png")
TRUTH = box((2, 2, 10, 10), (20, 20, 30, 30), (2, 30, 6, 34))
PREDICTION = box((2, 2, 10, 8), (20, 20, 30, 30), (34, 2, 38, 6))


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def slide_row(
    method="cgan",
    data="both",
    seed=0,
    slide="a",
    organ="liver",
    split="test",
    patient="",
    **values,
):
    """A row of the slides' table with chosen measures; all others 0.5."""
    name = dict(
        zip((*MODEL, *SLIDE), (method, data, seed, slide, organ, split, patient), strict=True)
    )
    return {
        key: str(value) for key, value in (name | dict.fromkeys(MEASURES, 0.5) | values).items()
    }


def run_compare(folder, rows):
    write_rows(folder / "one.csv", (*MODEL, *SLIDE, *MEASURES), rows)
    compare([folder / "one.csv"], folder)
    return [folder / name for name in OUTPUTS]


def test_a_slide_with_known_values():
    measures = evaluate_slide(TRUTH, PREDICTION)
    assert tuple(measures) == MEASURES
    assert measures["aji"] == pytest.approx((48 + 100) / (64 + 100 + 16 + 16))
    assert measures["f1"] == measures["precision"] == measures["recall"] == pytest.approx(2 / 3)
    assert measures["dice"] == pytest.approx(2 * 148 / (180 + 164))
    assert measures["hausdorff"] == pytest.approx((2 + 0) / 2)
    assert measures["match_rate"] == pytest.approx(2 / 3)
    assert measures["hausdorff_misses"] == pytest.approx((2 + 0 + 2 * math.sqrt(16 / math.pi)) / 3)
    assert (measures["true_nuclei"], measures["predicted_nuclei"]) == (3, 3)


@pytest.mark.parametrize(("mpp", "found"), [(0.25, 1.0), (0.5, 0.0), (0.3, 0.0)])
def test_centroids_are_close_by_micrometres(mpp, found):
    """11 pixels apart are 2.75 µm at 40×, and 5.5 at 20×."""
    truth = np.zeros((60, 60), np.int32)
    truth[20:30, 20:30] = 1
    assert evaluate_slide(truth, np.roll(truth, 11, axis=1), mpp)["detection_f1"] == found


def judged(tmp_path, slide, prediction, seed=0):
    """Judge a prediction of TRUTH; the paths of the slide's two tables."""
    write_image(tmp_path / "truth.tif", TRUTH)
    tables = tmp_path / f"{slide}.csv", tmp_path / f"{slide}.nuclei.csv"
    row = {"slide": slide, "organ": "liver", "split": "test", "patient": ""}
    model = {"method": "cgan", "data": "both", "seed": seed}
    judge_slide(row, model, tmp_path / "truth.tif", prediction, *tables)
    return tables


def test_a_model_is_judged_slide_by_slide(tmp_path):
    write_image(tmp_path / "found.tif", PREDICTION)
    write_image(tmp_path / "nothing.tif", 0 * TRUTH)
    one = judged(tmp_path, "one", tmp_path / "found.tif", seed=3)
    two = judged(tmp_path, "two", tmp_path / "nothing.tif", seed=3)
    for kind, output in enumerate(("slides.csv", "all.csv")):
        gather([one[kind], two[kind]], tmp_path / output)
    rows, nuclei = read(tmp_path / "slides.csv"), read(tmp_path / "all.csv")
    assert [row["slide"] for row in rows] == ["one", "two"]
    assert float(rows[0]["aji"]) == evaluate_slide(TRUTH, PREDICTION)["aji"]
    assert rows[1]["aji"] == "0.0" and rows[1]["hausdorff"] == "" and rows[0]["seed"] == "3"
    assert len(nuclei) == 6
    by_id = {row["nucleus"]: row for row in nuclei if row["slide"] == "one"}
    first, missed = by_id["1"], by_id["3"]
    assert (first["area"], first["matched"], first["hausdorff"]) == ("64", "1", "2.0")
    assert (first["row"], first["column"], first["best_iou"]) == ("5.5", "5.5", "0.75")
    assert (missed["matched"], missed["best_iou"], missed["hausdorff"]) == ("0", "0.0", "")


def test_maps_of_different_size_name_the_slide(tmp_path):
    write_image(tmp_path / "found.tif", PREDICTION[:-1])
    with pytest.raises(NucleiganError, match=r"Slide one: .*40×40"):
        judged(tmp_path, "one", tmp_path / "found.tif")
    (tmp_path / "found.tif").write_bytes(b"no picture")
    with pytest.raises(NucleiganError, match=r"found\.tif: cannot be read"):
        judged(tmp_path, "one", tmp_path / "found.tif")
    assert not (tmp_path / "one.csv").exists()


def test_one_map_without_the_other_names_the_slide(tmp_path):
    with pytest.raises(NucleiganError, match=r"Slide one has no prediction .*none\.tif is not"):
        judged(tmp_path, "one", tmp_path / "none.tif")
    model = dict.fromkeys(MODEL, "0")
    row = dict.fromkeys(SLIDE, "two")
    with pytest.raises(NucleiganError, match=r"Slide two has no true label map.*lost\.tif is not"):
        judge_slide(
            row,
            model,
            tmp_path / "lost.tif",
            tmp_path / "truth.tif",
            tmp_path / "two.csv",
            tmp_path / "two.nuclei.csv",
        )
    assert not list(tmp_path.glob("*.csv"))


def test_rows_of_a_results_folder_that_is_half_done():
    whole = slide_row(slide="a"), slide_row(slide="b", seed=1)
    with pytest.raises(NucleiganError, match=r"Seed 0 of cgan, both has 0 results for slide b"):
        summarise(whole)
    with pytest.raises(NucleiganError, match="has 2 results for slide a"):
        summarise([slide_row(), slide_row()])
    # A line cut short has None in its last cells.
    for cell, words in ((None, "says nothing for dice"), ("0.2x", "says 0.2x for dice")):
        with pytest.raises(NucleiganError, match=words):
            summarise([slide_row() | {"dice": cell}])


def test_means_are_over_slides_then_organs_then_seeds():
    rows = [
        slide_row(seed=0, slide="a", organ="liver", aji=0.2),
        slide_row(seed=0, slide="b", organ="liver", aji=0.4),
        slide_row(seed=0, slide="c", organ="colon", aji=0.9),
        slide_row(seed=1, slide="a", organ="liver", aji=0.4),
        slide_row(seed=1, slide="b", organ="liver", aji=0.4),
        slide_row(seed=1, slide="c", organ="colon", aji=0.7, hausdorff=""),
    ]
    (summary,) = summarise(rows)
    assert list(summary.organs) == ["liver", "colorectal", OVERALL]
    assert summary.organs["liver"]["aji"] == pytest.approx((0.35, np.std([0.3, 0.4], ddof=1)))
    assert summary.organs["colorectal"]["aji"][0] == pytest.approx(0.8)
    # Overall: (.3 + .9) / 2 and (.4 + .7) / 2, although liver has twice the slides.
    assert summary.organs[OVERALL]["aji"][0] == pytest.approx((0.6 + 0.55) / 2)
    # A seed that matched nothing has no distance that could enter the mean.
    assert math.isnan(summary.organs["colorectal"]["hausdorff"][0])
    assert summary.organs["liver"]["hausdorff"][0] == 0.5
    assert summary.slides["liver"]["aji"] == pytest.approx([0.3, 0.4])
    assert summary.seeds == 2


def test_a_distance_over_all_needs_one_of_every_organ_with_nuclei():
    def overall(*rows):
        measures = summarise(list(rows))[0].organs[OVERALL]
        return measures["hausdorff"][0], measures["hausdorff_misses"][0], measures["match_rate"][0]

    distances = dict.fromkeys(VARIANTS, 3)
    found = slide_row(slide="a", organ="liver", match_rate=1, **distances)
    none = dict.fromkeys(VARIANTS, "") | {"hausdorff_misses": 9}
    lost = slide_row(slide="b", organ="kidney", match_rate=0, **none)
    empty = slide_row(slide="c", organ="skin", match_rate="", **dict.fromkeys(VARIANTS, ""))
    assert overall(found, empty) == (3, 3, 1)
    assert overall(found, lost, empty) == (pytest.approx(math.nan, nan_ok=True), 6, 0.5)
    # Of two seeds one.
    again = [row | {"seed": "1"} for row in (found, lost | distances | {"match_rate": "1"})]
    assert math.isnan(overall(found, lost, *again)[0])
    organs = summarise([found, lost, *again])[0].organs
    assert math.isnan(organs["kidney"]["hausdorff"][0]) and organs["liver"]["hausdorff"][0] == 3
    names = ("hausdorff", "match_rate")
    values = {o: {n: organs[o][n][0] for n in names} for o in ("kidney", "liver")}
    assert shared_cell(values, "hausdorff") == "– (0.75)"


def test_comparison_stands_beside_the_published_table(tmp_path):
    rows = [
        slide_row(slide="a", organ="liver", aji=0.25, hausdorff=6.5, match_rate=0.75),
        slide_row(slide="b", organ="colon", aji=0.5, hausdorff="", match_rate=0),
        slide_row(slide="c", organ="skin", aji=0.75),
        slide_row(method="unet", data="real", slide="a", organ="liver", aji=0.125),
        slide_row(slide="d", organ="liver", split="train", aji=1),
    ]
    slides, organs, table, latex, differences, figure = run_compare(tmp_path, rows)
    assert len(read(slides)) == 5
    found = {(r["method"], r["split"], r["organ"]): r for r in read(organs)}
    assert float(found["cgan", "test", OVERALL]["aji"]) == 0.5
    assert found["cgan", "test", OVERALL]["slides"] == "3"
    assert found["cgan", "test", "liver"]["aji_sd"] == ""
    text = table.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert "cgan, both | unet, real | proposed (Mahmood et al. 2018)" in text
    assert "| liver | 1 | 0.250 | 0.125 | 0.692 | 0.422 | 0.469 | 0.364 |" in lines
    assert "| colorectal | 1 | 0.500 | – | 0.686 | 0.218 | 0.391 | 0.247 |" in lines
    assert "| breast | – | – | – | 0.686 | 0.485 | 0.483 | 0.339 |" in lines
    assert "| skin | 1 | 0.750 | – | – | – | – | – |" in lines
    none = "(no interval)"
    overall = f"| **overall** | 3 | 0.500 {none} | 0.125 {none} | 0.722 | 0.414 | 0.497 | 0.351 |"
    assert overall in lines
    # The second model has no colorectal slide.
    assert "| **overall of shared organs (1)** | 1 | 0.250 | 0.125 | 0.692 |" in text
    assert "| liver | 1 | 6.50 (0.75) | 0.50 (0.50) | 4.17 |" in text
    assert "| colorectal | 1 | – (0.00) | – | 4.71 |" in text
    # cgan's .25 in liver is 63.9 % below .692; gains are over the organs that all share.
    assert "| **gain of cgan, both on them** |  |  | +100.0 % | -63.9 % | -40.8 % |" in text
    assert "| cgan, both − unet, real | 1 | aji | +0.125 | no interval |" in lines
    assert read(differences)[0]["difference"] == "0.125"
    tex = latex.read_text(encoding="utf-8")
    assert r"liver & 1 & 0.250 & 0.125 & 0.692" in tex and tex.count(r"\begin{tabular}") == 8
    assert "-63.9 \\%" in tex and "–" not in tex
    # Only test slides are comparable with published figures.
    assert "Mahmood" not in text.split("## Slides of the split `train`")[1].split("Published")[0]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_row_a_measure_says_its_unit_its_matching_and_its_match_rate(tmp_path):
    run_compare(tmp_path, [slide_row(aji_plus=0.4, match_rate_aji_plus=0.9, recall=0.7, pq=0.3)])
    rows = {row["measure"]: row for row in read(tmp_path / "long.csv")}
    names = set(measure_all(TRUTH, PREDICTION))
    assert set(rows) == names
    assert (rows["aji_plus"]["value"], rows["aji_plus"]["match_rate"]) == ("0.4", "0.9")
    assert (rows["pq"]["value"], rows["pq"]["match_rate"]) == ("0.3", "0.7")
    assert rows["hausdorff_to_truth"]["unit"] == "pixels" and rows["pq"]["unit"] == "1"
    assert "may serve several" in rows["aji"]["matching"] and rows["dice"]["match_rate"] == ""


def test_the_columns_of_match_rates_hold_those_of_their_measures():
    found, row = measure_all(TRUTH, PREDICTION), evaluate_slide(TRUTH, PREDICTION)
    for name, measure in found.items():
        assert row[name] == measure.value
        if name in MATCH_RATES:
            assert row[MATCH_RATES[name]] == pytest.approx(measure.match_rate, abs=1e-12)
        else:
            assert math.isnan(measure.match_rate)


def test_the_wide_table_has_a_column_a_model(tmp_path):
    rows = [
        slide_row(slide="a", organ="liver", aji=0.25, hausdorff=6.5, match_rate=0.75),
        slide_row(slide="b", organ="liver", aji=0.75, hausdorff=7.5, match_rate=0.25),
        slide_row(method="unet", data="real", slide="a", organ="liver", aji=0.125),
        slide_row(slide="c", organ="skin", split="val", aji=1),
    ]
    run_compare(tmp_path, rows)
    wide = {(r["split"], r["measure"], r["organ"]): r for r in read(tmp_path / "table.csv")}
    liver = wide["test", "aji", "liver"]
    assert (liver["cgan, both"], liver["unet, real"]) == ("0.5", "0.125")
    assert float(liver["cgan, both, low"]) <= 0.5 <= float(liver["cgan, both, high"])
    assert liver["proposed (Mahmood et al. 2018)"] == "0.692" and liver["unet, real, low"] == ""
    assert wide["test", "hausdorff", "liver"]["cgan, both, match rate"] == "0.5"
    assert float(wide["test", "aji", OVERALL]["cgan, both"]) == 0.5
    assert wide["test", "aji", "breast"]["cgan, both"] == ""
    assert wide["val", "aji", "skin"]["proposed (Mahmood et al. 2018)"] == ""


def test_slides_that_cannot_be_judged_are_named(tmp_path):
    write_rows(tmp_path / "one.csv", (*MODEL, *SLIDE, *MEASURES), [slide_row()])
    compare([tmp_path / "one.csv"], tmp_path, unjudged=["x", "y"])
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "2 slides of evaluation.splits are segmented but not judged" in text and "x, y." in text


def test_comparison_is_repeatable(tmp_path):
    first = [path.read_bytes() for path in run_compare(tmp_path, [slide_row()])]
    assert [path.read_bytes() for path in run_compare(tmp_path, [slide_row()])] == first


def test_comparison_of_nothing_is_an_error(tmp_path):
    with pytest.raises(NucleiganError, match="hold no slide"):
        run_compare(tmp_path, [])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(NucleiganError, match=r"other.csv: lacks the columns aji"):
        compare([tmp_path / "other.csv"], tmp_path)


def test_published_overall_rows_are_the_means_of_the_organs():
    printed = {
        "aji": (0.721, 0.414, 0.497, 0.351),
        "hausdorff": (4.291, 7.839, None, 8.163),
        "f1": (0.866, 0.761, 0.757, 0.746),
    }
    for measure, figures in printed.items():
        columns = published(measure)
        assert tuple(columns) == METHODS
        for method, figure in zip(METHODS, figures, strict=True):
            assert tuple(columns[method]) == ORGANS
            mean = np.mean(list(columns[method].values()))
            assert mean == pytest.approx(figure or 7.241, abs=0.0011)
    assert published("dice") == {}
    means = {name: np.mean(list(values.values())) for name, values in published("aji").items()}
    for other, text in (("Mask R-CNN", "45.20 %"), ("U-Net", "74.41 %")):
        assert f"{means['proposed'] / means[other] - 1:.2%}".replace("%", " %") == text
        assert text in NOTES


def test_where_there_are_no_nuclei_no_part_of_them_was_matched(tmp_path):
    empty = np.zeros((9, 9), np.int32)
    for truth, known in ((empty, False), (np.pad(np.ones((3, 3), np.int32), 3), True)):
        write_image(tmp_path / "map.tif", truth)
        judge_slide(
            {"slide": "a", "organ": "liver", "split": "test", "patient": ""},
            {"method": "m", "data": "real", "seed": "0"},
            *(tmp_path / name for name in ("map.tif", "map.tif", "slides.csv", "nuclei.csv")),
        )
        rows = list(long_rows(read_slide_rows(tmp_path / "slides.csv")))
        assert {row["match_rate"] != "" for row in rows if row["measure"] != "dice"} == {known}


def test_what_matches_may_be_known_from_larger_maps():
    image = np.full((*TRUTH.shape, 3), 200, np.uint8)
    none = Hits(np.array([], int), np.array([], int))
    drawn = {tuple(pixel) for pixel in overlay(image, TRUTH, PREDICTION, none).reshape(-1, 3)}
    assert MISSED in drawn and INVENTED in drawn and HIT not in drawn
    every = Hits(np.unique(TRUTH), np.unique(PREDICTION))
    drawn = {tuple(pixel) for pixel in overlay(image, TRUTH, PREDICTION, every).reshape(-1, 3)}
    assert HIT in drawn and not {MISSED, INVENTED} & drawn


def test_the_figure_of_training_sets_is_of_test_slides(tmp_path):
    def drawn(*splits, liver=0.0, reach=0.1):
        facts = {"test": (0.4, 0.55), "train": (0.9, 0.8)}
        rows = [
            dict(data=data, split=split, organ=organ, aji=aji + more, seeds=2, aji_sd=0.01)
            | dict(aji_low=aji + more - reach, aji_high=aji + more + reach)
            for split in splits
            for data, aji in zip(("real", "both"), facts[split], strict=True)
            for organ, more in (("overall", 0.0), ("liver", liver), ("kidney", 0.0))
        ]
        write_table(tmp_path / "organs.csv", pd.DataFrame(rows))
        plot_training_sets(tmp_path / "organs.csv", tmp_path / "figure.png")
        return (tmp_path / "figure.png").read_bytes()

    assert drawn("train", "test") == drawn("test") != drawn("train")
    # Organ by organ as well.
    assert drawn("test") != drawn("test", liver=0.05)
    # Without an interval there are dots alone, on the same scale as with one of no length.
    assert drawn("test", reach=math.nan) == drawn("test", reach=0.0)


def test_overlay_tells_hits_misses_and_inventions_apart():
    image = np.full((40, 40, 3), 200, np.uint8)
    drawn = overlay(image, TRUTH, PREDICTION)
    assert tuple(drawn[2, 4]) == HIT
    assert tuple(drawn[2, 31]) == MISSED
    assert tuple(drawn[34, 3]) == INVENTED
    assert tuple(drawn[25, 25]) == (200, 200, 200)
    assert (image == 200).all()
    alone = overlay(image, None, PREDICTION)
    assert tuple(alone[34, 3]) == FOUND
    with pytest.raises(NucleiganError, match="40×40"):
        overlay(image, TRUTH, PREDICTION[:-1])


@pytest.mark.parametrize("counts", [(2,), (2, 2), (2, 1, 1, 1), (2,) * 7, (12,) * 3])
def test_an_interval_holds_the_mean_as_often_as_it_says(counts):
    """Of slides that vary by a normal distribution, for all organs and for one."""
    rng = np.random.default_rng(0)
    repeats = 2000
    levels = {str(organ): 0.1 * organ for organ in range(len(counts))}
    truth, held = {None: np.mean([*levels.values()]), "0": levels["0"]}, Counter()
    for _ in range(repeats):
        slides = {
            organ: rng.normal(level, 0.3, count)
            for (organ, level), count in zip(levels.items(), counts, strict=True)
        }
        for organ, mean in truth.items():
            low, high = interval_of_mean(slides, organ=organ)
            held[organ] += low < mean < high
    # Three standard deviations of such a count.
    for organ in truth:
        assert held[organ] / repeats == pytest.approx(0.95, abs=0.0147)


def test_an_interval_ends_where_scores_do():
    interval = interval_of_mean({"liver": [0.95, 1.0], "colon": [0.9]}, bounds=(0.0, 1.0))
    assert interval.high == 1.0 and 0 < interval.low < 0.9
    assert math.isnan(interval_of_mean({"liver": [0.2, 0.3]}, organ="colon").low)


def test_an_interval_needs_two_slides_of_an_organ():
    assert all(map(math.isnan, interval_of_mean({"liver": [0.3], "colon": [0.9]})))
    assert interval_of_mean({"liver": [0.3, 0.3], "colon": [0.9, math.nan]}) == (
        pytest.approx(0.6),
        pytest.approx(0.6),
    )


def test_a_constant_gain_is_told_apart_although_slides_vary_more():
    levels = {"liver": [0.2, 0.5, 0.8], "colon": [0.3, 0.9, 0.6]}
    rows = [
        slide_row(data=data, slide=f"{organ}{i}", organ=organ, aji=aji + gain)
        for data, gain in (("real", 0.0), ("both", 0.05))
        for organ, values in levels.items()
        for i, aji in enumerate(values)
    ]
    real, both = summarise(rows)
    found, *by_organ = differences(both, real, "aji")
    assert found.difference == pytest.approx(0.05)
    assert found.interval == (pytest.approx(0.05), pytest.approx(0.05))
    assert found.organ == OVERALL and found.slides == 6
    assert [(one.organ, one.slides) for one in by_organ] == [("liver", 3), ("colorectal", 3)]
    assert all(one.difference == pytest.approx(0.05) for one in by_organ)
    # One seed does not tell how much another would change it.
    assert math.isnan(found.deviation)
    interval = both.interval(OVERALL, "aji")
    assert interval.high - interval.low > 0.2


def test_seeds_tell_how_much_a_gain_changes_from_training_to_training(tmp_path):
    """Gains of .1 and .3 in liver, none in colon: .05 and .15 overall; levels differ more."""
    gains = {("liver", 0): 0.1, ("liver", 1): 0.3, ("colon", 0): 0.0, ("colon", 1): 0.0}
    rows = [
        slide_row(data=data, seed=seed, slide=organ, organ=organ, aji=0.2 + 0.4 * seed + more)
        for (organ, seed), gain in gains.items()
        for data, more in (("both", gain), ("real", 0.0))
    ]
    run_compare(tmp_path, rows)
    found = {r["organ"]: r for r in read(tmp_path / "differences.csv") if r["measure"] == "aji"}
    assert list(found) == [OVERALL, "liver", "colorectal"]
    assert float(found[OVERALL]["difference"]) == pytest.approx(0.1)
    assert float(found[OVERALL]["difference_sd"]) == pytest.approx(np.std([0.05, 0.15], ddof=1))
    assert float(found["liver"]["difference"]) == pytest.approx(0.2)
    assert float(found["liver"]["difference_sd"]) == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert float(found["colorectal"]["difference_sd"]) == 0
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| cgan, both − cgan, real | 2 | aji | +0.100 ± 0.071 | no interval |" in text


def test_seeds_that_were_judged_on_other_slides_tell_nothing_of_a_gain():
    rows = [slide_row(seed=seed, slide=slide) for seed in (0, 1) for slide in "ab"]
    rows += [slide_row(method="unet", seed=seed, slide="a") for seed in (0, 1)]
    first, second = summarise(rows)
    (found,) = differences(first, second, "aji")
    assert found.slides == 1 and found.difference == 0 and math.isnan(found.deviation)


def test_an_organ_with_one_slide_has_no_interval_and_says_so(tmp_path):
    run_compare(tmp_path, [slide_row(slide="a", organ="liver", aji=0.5)])
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("| **overall**")][:1]
    assert "0.500 (no interval)" in line


def test_a_model_that_lacks_a_slide_is_marked(tmp_path):
    rows = [slide_row(slide=name, organ="liver", aji=0.5) for name in "ab"]
    rows += [slide_row(method="unet", slide="a", organ="liver", aji=0.4)]
    run_compare(tmp_path, rows)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("| liver")][:1]
    assert "| 0.500 | 0.400 (1 of 2 slides) |" in line


def test_tables_of_other_columns_are_not_gathered(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("y,x\n1,2\n")
    with pytest.raises(NucleiganError, match=r"b\.csv: has the columns"):
        gather([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_no_organ_is_called_like_all_of_them():
    assert sheet.ALL_ORGANS == OVERALL


def test_slides_are_paired_by_name_and_a_loss_has_a_negative_interval():
    """Losses of .1 and .2, whatever the order; t with one degree of freedom is 12.706."""
    rows = [slide_row("a", slide="x", aji=0.4), slide_row("a", slide="y", aji=0.5)]
    rows += [slide_row("b", slide="y", aji=0.7), slide_row("b", slide="x", aji=0.5)]
    (found,) = differences(*summarise(rows), "aji")
    assert found.difference == pytest.approx(-0.15)
    half = 12.7062 * np.std([0.1, 0.2], ddof=1) / np.sqrt(2)
    assert found.interval == pytest.approx((-0.15 - half, -0.15 + half), abs=1e-4)


def test_a_gain_of_an_organ_borrows_the_variance_of_the_others():
    gains = {"liver": [0.1, 0.2], "kidney": [0.3, 0.3]}
    rows = [
        slide_row(method, slide=f"{organ}{number}", organ=organ, aji=0.5 + (method == "a") * gain)
        for method in "ab"
        for organ, of_slides in gains.items()
        for number, gain in enumerate(of_slides)
    ]
    found = differences(*summarise(rows), "aji")
    assert {one.organ for one in found} == {OVERALL, *gains}
    for one in found:
        organ = None if one.organ == OVERALL else one.organ
        assert one.interval == pytest.approx(interval_of_mean(gains, organ=organ))
    assert all(one.interval.high - one.interval.low > 0.1 for one in found)


def of_patients(organ, patients, values):
    return [
        slide_row(slide=f"{organ}{number}", organ=organ, patient=patient, aji=value)
        for number, (patient, value) in enumerate(zip(patients, values, strict=True))
    ]


def test_slides_of_one_patient_count_once_in_an_interval():
    """Another slide of each patient, just like the first, tells nothing new."""
    once = of_patients("liver", "ab", (0.4, 0.6)) + of_patients("kidney", "cde", (0.3, 0.5, 0.4))
    twice = of_patients("liver", "abab", (0.4, 0.6) * 2)
    twice += of_patients("kidney", "cdecde", (0.3, 0.5, 0.4) * 2)
    (one,), (two,) = summarise(once), summarise(twice)
    for organ in (OVERALL, "liver", "kidney"):
        assert two.organs[organ]["aji"] == pytest.approx(one.organs[organ]["aji"], nan_ok=True)
        assert two.interval(organ, "aji") == pytest.approx(one.interval(organ, "aji"))
    nobody = [row | {"patient": ""} for row in twice]
    (of_slides,) = summarise(nobody)
    narrow, wide = of_slides.interval(OVERALL, "aji"), two.interval(OVERALL, "aji")
    assert narrow.high - narrow.low < 0.7 * (wide.high - wide.low)


def test_a_patient_with_more_slides_weighs_more():
    """Means .3 of three slides and .7 of one: .4; s is .2 √2, t of one degree 12.706."""
    (one,) = summarise(of_patients("liver", "aaab", (0.2, 0.3, 0.4, 0.7)))
    assert one.organs["liver"]["aji"][0] == pytest.approx(0.4)
    by_organ, patients = {"liver": [0.2, 0.3, 0.4, 0.7]}, {"liver": "aaab"}
    reach = 12.7062 * 0.2 * np.sqrt(2) * np.hypot(0.75, 0.25)
    interval = interval_of_mean(by_organ, patients)
    assert interval == pytest.approx((0.4 - reach, 0.4 + reach), abs=1e-4)
    assert all(map(math.isnan, interval_of_mean({"liver": [0.2, 0.3]}, {"liver": "aa"})))


def test_intervals_of_patients_hold_the_mean_as_often_as_they_say():
    """Of two or three slides each, which hardly vary; slide by slide they hold far too rarely."""
    rng = np.random.default_rng(0)
    repeats, held = 2000, Counter()
    patients = {"liver": "abcabcab", "colon": "defdefde"}
    for _ in range(repeats):
        slides = {}
        for organ, whom in patients.items():
            level = dict(zip(whom[:3], rng.normal(0, 0.3, 3), strict=True))
            slides[organ] = [level[one] + rng.normal(0, 0.05) for one in whom]
        for name, known in (("patients", patients), ("slides", None)):
            low, high = interval_of_mean(slides, known)
            held[name] += low < 0 < high
    assert held["patients"] / repeats == pytest.approx(0.95, abs=0.0147)
    assert held["slides"] / repeats < 0.85


@pytest.mark.parametrize(("count", "organs"), [(3, 4), (4, 2), (6, 7)])
def test_a_patient_with_several_organs_is_one_patient(count, organs):
    """Whose slides are alike in all: taken for others in each, they would hold far too rarely."""
    rng = np.random.default_rng(0)
    repeats, held = 2000, Counter()
    names = [f"organ{number}" for number in range(organs)]
    whom = [f"patient{number}" for number in range(count)]
    for _ in range(repeats):
        level = rng.normal(0, 0.3, count)
        slides = {organ: list(level + rng.normal(0, 0.1, count)) for organ in names}
        for shared in (True, False):
            known = {organ: whom if shared else [organ + one for one in whom] for organ in names}
            low, high = interval_of_mean(slides, known)
            held[shared] += low < 0 < high
    assert held[True] / repeats > 0.935 and held[False] / repeats < 0.9


def test_organs_that_share_no_patient_have_their_own_means():
    """Two pairs of organs, each of two patients: four patients, less two groups."""
    slides = {"a": [0.1, 0.3], "b": [0.2, 0.4], "c": [0.5, 0.7], "d": [0.6, 0.8]}
    whom = {"a": "pq", "b": "pq", "c": "rs", "d": "rs"}
    low, high = interval_of_mean(slides, whom)
    # Each patient has two halves; t of two degrees of freedom is 4.3027, s is .1 √2.
    reach = 4.3027 * 0.1 * np.sqrt(2) * 2 / 4
    assert (low, high) == pytest.approx((0.45 - reach, 0.45 + reach), abs=1e-4)


def test_a_table_of_before_patients_were_known_is_read(tmp_path):
    rows = [slide_row()]
    columns = [key for key in rows[0] if key != "patient"]
    write_rows(tmp_path / "old.csv", columns, [{key: rows[0][key] for key in columns}])
    assert read_slide_rows(tmp_path / "old.csv") == rows


def test_a_gain_is_one_over_patients():
    rows = of_patients("liver", "aab", (0.5, 0.6, 0.9))
    rows += [row | {"method": "b"} for row in of_patients("liver", "aab", (0.4, 0.5, 0.6))]
    (found,) = differences(*summarise(rows), "aji")
    assert found.difference == pytest.approx(0.5 / 3) and found.slides == 3
    gains = {"liver": [0.1, 0.1, 0.3]}
    assert found.interval == pytest.approx(interval_of_mean(gains, {"liver": "aab"}))
