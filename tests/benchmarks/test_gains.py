"""Gains over several runs, where they are known."""

import pandas as pd
import pytest

from nucleigan.artifacts import write_table
from nucleigan.evaluation.columns import MEASURES


@pytest.fixture
def gains(script):
    return script("gains")


def rows(real, both):
    """A run of two repeats and two slides, whose models have these values everywhere."""
    return [
        {"method": "cgan", "data": data, "seed": seed, "slide": slide, "organ": slide[0]}
        | {"split": "test", "patient": ""}
        | dict.fromkeys(MEASURES, str(value))
        for data, value in (("real", real), ("both", both))
        for seed in ("0", "1")
        for slide in ("a1", "b1")
    ]


def test_runs_are_taken_together_as_repeats(gains):
    real, found = gains.gains(gains.together([rows(0.2, 0.5), rows(0.6, 0.5)]))
    assert real.seeds == 4
    mean, deviation = real.organs["overall"]["aji"]
    assert mean == pytest.approx(0.4)
    assert deviation == pytest.approx(0.04**0.5 * (4 / 3) ** 0.5)
    assert found.keys() == {"overall", "a", "b"}
    for gains_of_organ in found.values():
        assert [one.measure for one in gains_of_organ] == ["aji", "f1", "dice"]
        assert [one.difference for one in gains_of_organ] == pytest.approx([0.1] * 3)


def test_slides_that_chose_something_do_not_count_beside_test_slides(gains):
    test, chose = rows(0.2, 0.5), rows(0.3, 0.3)
    for order in (test, chose), (chose, test):
        chose[:] = [row | {"split": "val"} for row in chose]
        _, found = gains.gains([row for run in order for row in run])
        assert [one.difference for one in found["overall"]] == pytest.approx([0.3] * 3)


def test_the_mean_over_runs_has_an_interval_over_other_runs(gains):
    runs = [rows(0.2, 0.5), rows(0.6, 0.5), rows(0.4, 0.5)]
    overall = [gains.gains(run)[1]["overall"] for run in runs]
    # Gains of .3, -.1 and .1: 4.303 standard errors of three values, two degrees of freedom.
    for gain, interval in gains.over_runs(overall):
        assert gain == pytest.approx(0.1)
        reach = 4.303 * 0.2 / 3**0.5
        assert interval == pytest.approx((0.1 - reach, 0.1 + reach), abs=1e-3)


def test_seeds_are_runs_where_they_are_asked_to_be(gains, tmp_path, monkeypatch, capsys):
    """Each of which has an annotated slide of its own."""
    table = [
        {**row, "data": f"{row['data']}-1", "seed": str(seed)}
        for seed, (real, both) in enumerate([(0.2, 0.5), (0.6, 0.5)])
        for row in rows(real, both)
        if row["seed"] == "0"
    ]
    (tmp_path / "ablation").mkdir()
    write_table(tmp_path / "ablation/slides.csv", pd.DataFrame(table))
    arguments = ["gains.py", str(tmp_path), "--data", "real-1", "both-1", "--seeds-apart"]
    monkeypatch.setattr("sys.argv", arguments)
    gains.main()
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split(" | ")[0].strip("| "): line.split(" | ")[2][:6] for line in lines[2:]}
    assert shown[f"{tmp_path}, seed 0"] == "+0.300"
    assert shown[f"{tmp_path}, seed 1"] == "-0.100"
    assert shown["**all**"] == shown["**all, over runs**"] == "+0.100"


def test_a_run_without_one_of_the_two_is_named(gains, tmp_path, monkeypatch):
    table = tmp_path / "ablation" / "slides.csv"
    alone = pd.DataFrame([row for row in rows(0.2, 0.5) if row["data"] == "real"])
    monkeypatch.setattr("sys.argv", ["gains.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"there is no such table"):
        gains.main()
    table.parent.mkdir()
    write_table(table, alone)
    with pytest.raises(SystemExit, match=r"slides\.csv has no training set both; name real and"):
        gains.main()
