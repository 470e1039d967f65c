"""Several runs in one comparison."""

import csv

import numpy as np
import pytest

from nucleigan.artifacts import write_image, write_json
from nucleigan.cli import main
from nucleigan.errors import NucleiganError
from nucleigan.evaluation import compare_experiments, gather, judge_slide
from nucleigan.evaluation.columns import read_slide_rows, write_rows
from nucleigan.plan import write_plan


@pytest.fixture
def run(tmp_path):
    """Make a folder of results in which a method found a square of 10 rows shifted by some."""
    truth = np.zeros((40, 40), np.int32)
    truth[5:15, 5:15] = 1
    write_image(tmp_path / "truth.tif", truth)

    def make(name, shift, methods=("cgan",), slides=("one", "two")):
        tables = []
        for method in methods:
            for slide in slides:
                write_image(tmp_path / "found.tif", np.roll(truth, shift, axis=0))
                tables.append(tmp_path / f"{name}-{method}-{slide}.csv")
                judge_slide(
                    {"slide": slide, "organ": "liver", "split": "test", "patient": ""},
                    {"method": method, "data": "both", "seed": "0"},
                    tmp_path / "truth.tif",
                    tmp_path / "found.tif",
                    tables[-1],
                    tmp_path / "nuclei.csv",
                )
        (tmp_path / name / "evaluation").mkdir(parents=True)
        gather(tables, tmp_path / name / "evaluation/slides.csv")
        return tmp_path / name

    return make


def edit_second(folder, **changes):
    """Change cells of the second slide in a run's table."""
    table = folder / "evaluation/slides.csv"
    rows = read_slide_rows(table)
    rows[1] |= changes
    write_rows(table, list(rows[0]), rows)


def overall(folder):
    with (folder / "organs.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["organ"] == "overall"]
    return {row["method"]: float(row["aji"]) for row in rows}


def test_a_run_is_named_by_its_folder(run, tmp_path, capsys):
    folders = [run("exact", 0), run("shifted", 2)]
    output = tmp_path / "comparison"
    assert main(["compare", *map(str, folders), "--output", str(output)]) == 0
    assert overall(output) == {"exact": 1.0, "shifted": pytest.approx(80 / 120)}
    assert "exact, both" in capsys.readouterr().out
    with (output / "differences.csv").open() as stream:
        first = next(csv.DictReader(stream))
    assert (first["first"], first["second"], first["slides"]) == (
        "exact, both",
        "shifted, both",
        "2",
    )
    assert float(first["difference"]) == pytest.approx(1 / 3)
    assert (output / "aji.png").stat().st_size > 1000


def test_a_table_of_the_run_before_is_told_of(run, tmp_path, capsys):
    """The last run was of other settings, and was interrupted."""
    old, other = run("old", 0), run("other", 1)
    write_plan(old, [old / "logs/evaluation/comparison.log"])
    compare_experiments([old, other], tmp_path / "out")
    said = capsys.readouterr().err
    assert "old/evaluation/slides.csv: seems to be that of an earlier run" in said
    assert "other/evaluation" not in said
    write_plan(old, [], [old / "logs/evaluation/comparison.log"])
    compare_experiments([old, other], tmp_path / "out")
    assert not capsys.readouterr().err


def test_runs_at_different_magnifications_are_not_compared(run, tmp_path):
    folders = [run("fine", 0), run("coarse", 1)]
    for folder, mpp in zip(folders, (0.25, 0.5), strict=True):
        write_json(folder / "slides/two/slide.json", {"mpp": mpp})
    with pytest.raises(NucleiganError, match=r"fine and coarse .* at 0\.25 and 0\.5 µm per pixel"):
        compare_experiments(folders, tmp_path / "out")
    write_json(folders[1] / "slides/two/slide.json", {"mpp": 0.25})
    compare_experiments(folders, tmp_path / "out")


def test_several_methods_of_a_run_keep_their_names(run, tmp_path):
    compare_experiments([run("a", 0), run("b", 1, methods=("cgan", "unet"))], tmp_path / "out")
    assert set(overall(tmp_path / "out")) == {"a", "b cgan", "b unet"}


def test_a_name_that_markdown_would_take_for_two_columns(run, tmp_path):
    compare_experiments([run("a|b", 0), run("c", 1)], tmp_path / "out")
    lines = (tmp_path / "out/table.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| organ ")]
    assert rows and all(r"| a\|b" in row for row in rows)


def test_a_run_that_is_half_done(run, tmp_path):
    (tmp_path / "half").mkdir()
    with pytest.raises(NucleiganError, match=r"half/evaluation/slides\.csv.*not finished"):
        compare_experiments([run("a", 0), tmp_path / "half"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_on_different_slides(run, tmp_path):
    with pytest.raises(NucleiganError, match=r"a and b judged different slides \(three"):
        compare_experiments([run("a", 0), run("b", 1, slides=("one", "two", "three"))], tmp_path)


@pytest.mark.parametrize(("column", "value"), [("organ", "spleen"), ("true_nuclei", "7")])
def test_a_slide_of_another_organ_or_annotation(run, tmp_path, column, value):
    folders = [run("a", 0), run("b", 1)]
    edit_second(folders[1], **{column: value})
    with pytest.raises(NucleiganError, match=rf"different slides \(two as test of .*{value}"):
        compare_experiments(folders, tmp_path / "out")


def test_columns_of_ones_own_are_left_out(run, tmp_path):
    folders = [run("a", 0), run("b", 1)]
    table = folders[1] / "evaluation/slides.csv"
    rows = [row | {"remark": "mine"} for row in read_slide_rows(table)]
    write_rows(table, list(rows[0]), rows)
    compare_experiments(folders, tmp_path / "out")
    assert "mine" not in (tmp_path / "out/slides.csv").read_text()


def test_an_endless_number_is_none(run, tmp_path):
    folders = [run("a", 0), run("b", 1)]
    edit_second(folders[1], aji="inf")
    with pytest.raises(NucleiganError, match="says inf for aji of slide two"):
        compare_experiments(folders, tmp_path / "out")


def test_a_slide_that_one_run_chose_its_thresholds_on(run, tmp_path):
    folders = [run("a", 0), run("b", 1)]
    edit_second(folders[1], split="val")
    with pytest.raises(NucleiganError, match=r"different slides \(two as test of .*, two as val"):
        compare_experiments(folders, tmp_path / "out")


def test_phantoms_are_not_set_beside_published_figures(run, tmp_path):
    folders = [run("a", 0), run("b", 1)]
    compare_experiments(folders, tmp_path / "out")
    assert "phantoms" not in (tmp_path / "out/table.md").read_text()
    (folders[1] / "phantoms").mkdir()
    compare_experiments(folders, tmp_path / "out")
    assert "These slides are phantoms" in (tmp_path / "out/table.md").read_text()


def test_two_folders_of_one_name(run, tmp_path):
    folder = run("a", 0)
    with pytest.raises(NucleiganError, match="a: two of the folders have this name"):
        compare_experiments([folder, folder], tmp_path / "out")


def test_the_patients_of_one_run_are_those_of_all(run, tmp_path):
    """Whose sheet had no such column yet; the order of the folders tells nothing."""
    old, new = run("old", 0), run("new", 2)
    table = new / "evaluation/slides.csv"
    rows = [row | {"patient": "p"} for row in read_slide_rows(table)]
    write_rows(table, list(rows[0]), rows)
    ends = []
    for number, folders in enumerate(((old, new), (new, old))):
        output = tmp_path / f"comparison{number}"
        compare_experiments(list(folders), output)
        with (output / "differences.csv").open() as stream:
            ends.append([(row["low"], row["high"]) for row in csv.DictReader(stream)])
    # One patient alone tells nothing of others.
    assert ends[0] == ends[1] and set(ends[0]) == {("", "")}
    edit_second(old, patient="q")
    with pytest.raises(NucleiganError, match="slide two is of the patient 'q' in one run"):
        compare_experiments([old, new], tmp_path / "comparison")
