"""The report: its start page says what the tables say, and Snakemake puts it first."""

import csv
import re


def test_start_page_has_the_numbers_of_the_tables(finished, html_tables):
    text = (finished.results / "report/start.html").read_text(encoding="utf-8")
    found = html_tables(text)
    with (finished.results / "evaluation/organs.csv").open() as stream:
        rows = {row["organ"]: row for row in csv.DictReader(stream)}
    for measure, places in (("aji", 3), ("f1", 3), ("dice", 3), ("hausdorff", 2)):
        header, *lines = found[f"by-organ-{measure}"]
        assert header[2] == "cgan, both"
        shown = {line[0]: line[2].split()[0] for line in lines}
        assert shown == {
            organ: f"{float(row[measure]):.{places}f}" if row[measure] else "–"
            for organ, row in rows.items()
        }
    assert found["data"][-1][:4] == ["all", "2", "1", "3"]
    stages = {line[0]: line for line in found["cost"][1:]}
    assert {"slides", "stain", "cyclegan", "segmentation", "evaluation"} <= set(stages)
    # Four plots, two slides, the synthetic images and two trainings.
    assert text.count("<img ") == text.count('src="data:image/') == 9
    assert not re.search(r'\s(src|href)=(?!"data:image/)', text)


def test_report_of_snakemake_starts_with_it(finished, tmp_path):
    finished.make(options=["--report", tmp_path / "report.html"])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "0 Start" in text and "report/start.html" in text
    for name in ("f1_thresholds.png", "sizes.png", "calibration.png", "stain/vectors.png"):
        assert name in text
