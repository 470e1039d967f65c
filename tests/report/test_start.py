"""The start page: its numbers are those of the tables, and what is absent is left out."""

import csv
import itertools
import re
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from nucleigan.artifacts import file_digest, write_image, write_json
from nucleigan.config import Config
from nucleigan.evaluation import MEASURES, MODEL, SLIDE, compare, write_rows
from nucleigan.evaluation.published import published
from nucleigan.models.weights import write_weights
from nucleigan.report import page, write_start
from nucleigan.report.results import comparison, results
from nucleigan.report.run import commit, costs, versions
from nucleigan.report.tiles import WINDOW, best_and_worst, window

SHA = "ab" * 32
PLACES = {"hausdorff": 2}


def organs_table(folder, split="test", models=("cgan", "unet"), organs=("liver", "kidney", "skin")):
    """The tables of a comparison with random measures; two slides an organ, one of skin.

    The first model has two seeds.
    """
    rng = np.random.default_rng(1)
    rows = []
    for method in models:
        for organ in organs:
            slides = range(1 if organ == "skin" else 2)
            for seed, number in itertools.product((0, 1) if method == models[0] else (0,), slides):
                name = (method, "both", seed, f"{organ}{number}", organ, split, "")
                values = dict(zip(MEASURES, rng.uniform(0.1, 0.9, len(MEASURES)), strict=True))
                rows.append(dict(zip((*MODEL, *SLIDE), name, strict=True)) | values)
    write_rows(folder / "one.csv", (*MODEL, *SLIDE, *MEASURES), rows)
    compare([folder / "one.csv"], folder)
    with (folder / "organs.csv").open() as stream:
        return list(csv.DictReader(stream))


def rounded(text, measure):
    return f"{float(text):.{PLACES.get(measure, 3)}f}"


def expected_cell(row, measure):
    text = rounded(row[measure], measure)
    if row[f"{measure}_sd"]:
        text += f" ± {rounded(row[f'{measure}_sd'], measure)}"
    if measure == "hausdorff":
        return f"{text} ({float(row['match_rate']):.2f})"
    if row[f"{measure}_low"]:
        ends = (rounded(row[f"{measure}_{end}"], measure) for end in ("low", "high"))
        text += " [{}, {}]".format(*ends)
    return text


def test_numbers_are_those_of_the_table_of_organs(tmp_path, html_tables):
    rows = organs_table(tmp_path)
    found = html_tables(results(tmp_path / "organs.csv", {}, False))
    for measure in ("aji", "hausdorff", "f1", "dice"):
        header, *shown = found[f"by-organ-{measure}"]
        cells = {(line[0], model): cell for line in shown for model, cell in zip(header, line)}
        for row in rows:
            assert cells[row["organ"], f"{row['method']}, both"] == expected_cell(row, measure)
            assert cells[row["organ"], "slides"] == row["slides"]
    assert any("[" in cell for cell in cells.values())
    assert "±" in cells["skin", "cgan, both"] and "±" not in cells["skin", "unet, both"]

    headline = {line[0]: line[1:] for line in found["headline"]}
    for row in rows:
        if row["organ"] == "overall":
            measures = [expected_cell(row, name) for name in ("aji", "f1", "dice", "hausdorff")]
            assert headline[f"{row['method']}, both"] == [row["slides"], *measures]
    shared = "cgan, both, organs of the publication alone (2)"
    means = {row["organ"]: row for row in rows if row["method"] == "cgan"}
    figures = [
        f"{(float(means['liver'][name]) + float(means['kidney'][name])) / 2:.{places}f}"
        for name, places in (("aji", 3), ("f1", 3), ("dice", 3), ("hausdorff", 2))
    ]
    slides, *cells = headline[shared]
    assert slides == str(sum(int(means[organ]["slides"]) for organ in ("liver", "kidney")))
    assert [cell.split()[0] for cell in cells] == figures
    *_, overall, fair = found["by-organ-aji"]
    assert overall[-4:] == ["–"] * 4 and fair[2] == figures[0] and fair[-4] == "0.708"
    ours = headline["proposed (Mahmood et al. 2018)"]
    # The mean of liver and kidney; skin was not published, and Dice of nothing was.
    assert ours == ["", f"{(0.692 + 0.724) / 2:.3f}", f"{(0.794 + 0.829) / 2:.3f}", "–", "4.33"]


def test_published_figures_stand_beside_test_slides_alone(tmp_path, html_tables):
    organs_table(tmp_path, split="val")
    found = html_tables(results(tmp_path / "organs.csv", {}, False))
    assert len(found["headline"]) == 1 + 2
    assert len(found["by-organ-aji"][0]) == 2 + 2


def test_further_models_are_compared_in_a_section_of_their_own(tmp_path, html_tables):
    rows = organs_table(tmp_path, models=("cgan", "unet", "fcn"))
    text = comparison(
        "baselines",
        tmp_path / "organs.csv",
        tmp_path / "differences.csv",
        {"aji": tmp_path / "aji.png"},
    )
    assert headings(text) == ["Baselines beside the main run"]
    found = html_tables(text)
    # Beside the main run's tables on one page, so under other names.
    assert all(name.startswith("baselines-") for name in found)
    overall = {row["method"]: row for row in rows if row["organ"] == "overall"}
    cells = {line[0]: line[1:] for line in found["baselines-headline"]}
    assert cells["fcn, both"][1] == expected_cell(overall["fcn"], "aji")
    pairs = {line[0]: line[1:] for line in found["baselines-differences"][1:]}
    names = itertools.combinations(("cgan, both", "unet, both", "fcn, both"), 2)
    assert set(pairs) == {f"{first} − {second}" for first, second in names}
    slides, aji, *_ = pairs["cgan, both − unet, both"]
    gap = float(overall["cgan"]["aji"]) - float(overall["unet"]["aji"])
    assert slides == "5" and float(aji.split()[0]) == pytest.approx(gap, abs=6e-4)
    low, high = (float(end.strip("[],")) for end in aji.split()[1:])
    assert low < gap < high


def test_organs_that_nobody_published(tmp_path, html_tables):
    organs_table(tmp_path, organs=("skin",))
    found = html_tables(results(tmp_path / "organs.csv", {}, False))
    assert [line[0] for line in found["headline"]] == ["model", "cgan, both", "unet, both"]
    assert not any("Mahmood" in name for name in found["by-organ-aji"][0])


def facts(folder, name="one", **values):
    path = folder / f"{name}.json"
    row = {"slide": name, "nuclei": 7, "sha256": SHA}
    write_json(path, row | {"warnings": []} | values)
    return {"facts": path, "organ": "liver", "split": "test"}


def basics(folder, **values):
    """What every page needs."""
    write_json(folder / "reference.json", {"slide": "ref<1>"})
    (folder / "model.safetensors").write_bytes(b"weights")
    settings = Config(slides="phantoms", seed=5).model_dump(mode="json")
    return (
        dict(
            output=folder / "start.html",
            slides=[facts(folder)],
            reference=folder / "reference.json",
            settings=settings,
            models={"cgan/both/0": folder / "model.safetensors"},
            histories={},
            benchmarks=folder / "benchmarks",
            checkout=folder,
        )
        | values
    )


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def self_contained(text):
    links = re.findall(r"""\s(?:src|href)=["']?([^"'\s>]+)""", text)
    return all(link.startswith("data:image/") for link in links) and not re.search(
        r"<script|<link|@import|url\(", text
    )


def test_a_run_without_anything_to_judge_by(tmp_path, html_tables):
    write_start(**basics(tmp_path))
    text = (tmp_path / "start.html").read_text(encoding="utf-8")
    assert headings(text) == [
        "What was run, on which data",
        "How good, and against whom",
        "Settings, versions, hashes, seeds",
    ]
    assert "ref&lt;1&gt;" in text and "nothing was judged" in text
    assert self_contained(text)
    found = html_tables(text)
    assert found["data"][1:] == [["liver", "0", "0", "1", "7"], ["all", "0", "0", "1", "7"]]
    assert ["seed", "5"] in found["versions"]
    hashes = dict(found["hashes"])
    assert hashes["slide one"] == SHA
    assert hashes["model cgan/both/0"] == file_digest(tmp_path / "model.safetensors")
    assert found["changes"][1:] == [["slides", "phantoms", ""], ["seed", "5", "0"]]


def test_all_parts_in_order(tmp_path, html_tables):
    organs_table(tmp_path)
    y, x = np.mgrid[:60, :60]
    labels = (np.hypot(y - 30, x - 30) < 9).astype(np.int32)
    for kind, array in (("image", np.full((60, 60, 3), 200, np.uint8)), ("labels", labels)):
        write_image(tmp_path / f"{kind}.tif", array)
    Image.new("RGB", (90, 30), "pink").save(tmp_path / "sheet.png")
    (tmp_path / "quality.csv").write_text("measure,synthetic,reference,meaning\na < b,1.23456,,m\n")
    (tmp_path / "agreement.csv").write_text("pair,aji\n0,.4\n1,.6\n2,.8\n")
    facts = {"training": {"doubts": ["a pattern is woven into them"]}}
    write_weights(tmp_path / "generator.safetensors", {"w": torch.zeros(1)}, facts)
    (tmp_path / "benchmarks/stain").mkdir(parents=True)
    (tmp_path / "benchmarks/stain/a.tsv").write_text("s\th:m:s\tmax_rss\n75.2\t0:01:15\t812.4\n")
    paths = {"image": "image", "labels": "labels", "prediction": "labels"}
    tile = {kind: tmp_path / f"{name}.tif" for kind, name in paths.items()}
    given = basics(
        tmp_path,
        histories={"CycleGAN": tmp_path / "sheet.png"},
        settings={"slides": "phantoms", "segmentation": {"minimum_agreement": 0.65}},
        synthesis={
            "sheet": tmp_path / "sheet.png",
            "quality": tmp_path / "quality.csv",
            "agreement": tmp_path / "agreement.csv",
            "painter": tmp_path / "generator.safetensors",
        },
        evaluation={
            "organs": tmp_path / "organs.csv",
            "slides": tmp_path / "slides.csv",
            "plots": {"aji": tmp_path / "aji.png"},
            "model": {"method": "cgan", "data": "both", "seed": "0"},
            "tiles": [{"slide": name, **tile} for name in ("liver0", "liver1", "kidney0")],
        },
    )
    write_start(**given)
    text = (tmp_path / "start.html").read_text(encoding="utf-8")
    assert headings(text) == [
        "What was run, on which data",
        "How good, and against whom",
        "Best and worst slides",
        "Synthetic images beside real ones",
        "Training curves",
        "Time and memory",
        "Settings, versions, hashes, seeds",
    ]
    assert self_contained(text)
    assert "phantoms, drawn by the package" in text
    assert text.count("1 hit, 0 missed, 0 invented, 0 split, 0 merged, 0 inexact") == 3
    assert "Doubtful: a pattern is woven into them." in text
    assert "2 of 3 pairs were left out" in text and "AJI below 0.65" in text
    found = html_tables(text)
    assert found["synthesis"][1] == ["a < b", "1.23", "–", "m"]
    assert found["cost"][1] == ["stain", "1", "0:01:15", "0:01:15", "812"]
    write_start(**given | {"settings": {"segmentation": {"minimum_agreement": 0.0}}})
    text = (tmp_path / "start.html").read_text(encoding="utf-8")
    assert "All 3 pairs took part in the trainings" in text


def test_best_and_worst():
    assert best_and_worst([]) == ([], [])
    assert best_and_worst([1]) == ([1], [])
    assert best_and_worst([1, 2]) == ([1], [2])
    assert best_and_worst([1, 2, 3, 4, 5]) == ([1, 2, 3], [5, 4])
    assert best_and_worst(list(range(16))) == ([0, 1, 2], [15, 14, 13])


def test_of_a_large_slide_the_densest_part_is_shown():
    labels = np.zeros((WINDOW + 800, 2 * WINDOW), np.int32)
    labels[10:20, 10:20] = 1
    labels[1200:1210, 1500:1510] = 2
    labels[1300:1310, 1500:1510] = 3
    assert window(labels) == (slice(800, 800 + WINDOW), slice(WINDOW, 2 * WINDOW))
    small = labels[:50, :40]
    assert small[window(small)].shape == small.shape
    assert window(np.zeros((300, 2500), np.int32))[1].start == 0


@pytest.mark.parametrize("side", [WINDOW + 1, WINDOW + 400, 2 * WINDOW - 1, 3 * WINDOW + 10])
def test_nuclei_at_the_far_border_are_seen(side):
    labels = np.zeros((side, WINDOW), np.int32)
    labels[5, 5] = 1
    labels[-1, ::2] = np.arange(2, 2 + WINDOW // 2)
    place = window(labels)
    assert labels[place].shape == (WINDOW, WINDOW)
    assert (labels[place] > 1).sum() == WINDOW // 2


def test_costs_of_stages(tmp_path):
    (tmp_path / "stain").mkdir()
    (tmp_path / "other/deep").mkdir(parents=True)
    header = "s\th:m:s\tmax_rss\n"
    (tmp_path / "other/deep/a.tsv").write_text(header + "0.1\t0:00:00\t-\n")
    (tmp_path / "stain/a.tsv").write_text(header + "2.5\t0:00:02\t100.5\n3.5\t0:00:03\tNA\n")
    (tmp_path / "stain/b.tsv").write_text(header + "1.0\t0:00:01\t300.25\n")
    (tmp_path / "stain/broken.tsv").write_text("nothing")
    stain, other = costs(tmp_path)
    assert stain == ("stain", 3, 7.0, 3.5, 300.25)
    assert other[:4] == ("other", 1, 0.1, 0.1) and np.isnan(other.memory)
    assert costs(tmp_path / "nowhere") == []
    assert costs(tmp_path, {"stain/b", "stain/c"}) == [("stain", 1, 1.0, 1.0, 300.25)]


def test_versions_are_those_installed():
    assert versions()["numpy"] == np.__version__
    assert "nucleigan" in versions()


def test_commit_of_a_checkout_and_of_none(tmp_path):
    assert commit(tmp_path) == "" and commit(tmp_path / "nowhere") == ""

    def git(*arguments):
        command = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "file").write_text("one")
    (tmp_path / "inner").mkdir()
    git("init")
    git("add", "file")
    git("commit", "-m", "first")
    assert commit(tmp_path) == git("rev-parse", "HEAD")
    assert commit(tmp_path / "inner") == ""
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == git("rev-parse", "HEAD") + ", with changed files"


@pytest.mark.parametrize("method", published("aji"))
def test_text_cannot_break_out_of_the_page(method):
    text = page.table(["<b>", method], [["</td><script>", '"&']], name='a" onclick="b')
    assert "<script" not in text and "<b>" not in text and 'onclick="' not in text
