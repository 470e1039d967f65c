"""The model of a cluster's day, where its answers are known."""

import sys

import pytest

from nucleigan.config import Config

# Seconds of every job; the longer ones keep half a core busy.
JOBS = {
    "slides/a": 1,
    "slides/b.1": 1,
    "slides/contact_sheet": 4,
    "stain/a.profile": 0.5,
    "stain/b.1.profile": 0.5,
    "stain/reference": 1,
    "stain/a": 0.5,
    "stain/b.1": 0.5,
    "stain/vectors": 2,
    "patches/train": 2,
    "polygons/sampler": 2,
    "polygons/0": 1,
    "cyclegan/training": 60,
    "cyclegan/history": 1,
    "synthesis/0": 4,
    "synthesis/0.agreement": 10,
    "synthesis/judge": 20,
    "synthesis/quality": 4,
    "segmentation/cgan/both/0": 40,
    "segmentation/cgan/both/0.thresholds": 3,
    "segmentation/cgan/both/0.history": 1,
    "predictions/cgan/both/0/a": 8,
    "predictions/cgan/both/0.contact_sheet": 1,
    "evaluation/cgan/both/0/a": 2,
    "evaluation/cgan/both/0": 1,
    "evaluation/cgan/both/0.calibration": 6,
    "report/start": 1,
}
RUN = Config.model_validate(
    {
        "compute": {"threads": 2},
        "polygons": {"count": 100},
        "synthesis": {"count": 100, "judge_epochs": 1},
        "cyclegan": {"epochs": 3, "decay_from": 1, "steps_per_epoch": 20},
        "segmentation": {"epochs": 2, "decay_from": 1, "steps_per_epoch": 20},
    }
)


def looked_at(seconds):
    """When Snakemake last asks for the processor time."""
    return max(moment for moment in (min(seconds, 15.5), 15.5, 45.5) if moment <= seconds)


@pytest.fixture
def folder(tmp_path):
    for name, seconds in JOBS.items():
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        busy = looked_at(seconds) / 2
        path.write_text(f"s\th:m:s\tcpu_time\n{seconds}\t0:00:01\t{busy}\n")
    return tmp_path


@pytest.fixture(scope="session")
def capacity(script):
    return script("capacity")


def test_every_job_is_of_its_stage(capacity, folder):
    costs = capacity.measure(folder, RUN)
    assert sum(cost.jobs for cost in costs.values()) == len(JOBS)
    assert {name: cost.jobs for name, cost in costs.items() if cost.jobs > 1} == {
        "ingestion": 2,
        "stain profile": 2,
        "normalisation": 2,
        "pictures, tables and report": 8,
    }
    assert costs["pictures, tables and report"].seconds == 4 + 1 + 2 + 1 + 1 + 1 + 1 + 1
    # Of two threads where a job is short, by the processor's time where it is not.
    assert (costs["polygon map"].seconds, costs["synthesis"].seconds) == (0.01, 0.08)
    assert (costs["agreement"].seconds, costs["prediction"].seconds) == (0.05, 4)
    assert [costs[name].seconds for name in capacity.TRAININGS] == [0.5, 0.5, 0.5]


def test_waiting_for_other_work_does_not_count(capacity, folder):
    # Last looked at after 135.5 seconds, of which it worked 4.
    (folder / "predictions/cgan/both/0/a.tsv").write_text("s\tcpu_time\n151\t4\n")
    found = capacity.measure(folder, RUN)["prediction"].seconds
    assert found == pytest.approx(4 * 151 / 135.5)


def test_slides_cost_their_tissue_and_their_glass(capacity, folder):
    costs = capacity.measure(folder, RUN)
    assert capacity.slide_seconds(costs, 1, 1, 0.5) == 1 + 0.5 + 0.5 + 4
    assert capacity.slide_seconds(costs, 100, 10, 0.5) == 10 * 6 + 90 * 0.5


def test_more_cores_shorten_what_is_independent_and_gpus_the_trainings(capacity, folder):
    costs = capacity.measure(folder, RUN)
    # Slides, evaluated; pairs: map, synthesis and agreement. Of what runs once, two jobs are short
    # ones of two threads, and one half as busy. Trainings take both cores.
    slides, pairs, once = 6 + 2, 0.01 + 0.08 + 0.05, 2 + 2 + 2 * 4 + 2 * 3 + 3 + 12
    trainings = (60 + 20 + 40) / 2 / 2

    def seconds(*cluster):
        return capacity.run_seconds(costs, RUN, capacity.Cluster(*cluster), 1000, 2000)

    spread = 1000 * slides + 2000 * pairs
    assert seconds(1, 2, 0) == pytest.approx(spread / 2 + once + trainings)
    assert seconds(10, 32, 0) == pytest.approx(spread / 320 + once + trainings)
    assert seconds(10, 32, 4, 3.0) == pytest.approx(spread / 320 + once + trainings / 3)


def test_it_prints_both_tables(capacity, folder, monkeypatch, capsys):
    monkeypatch.setattr(capacity, "load", lambda *_: RUN)
    words = "--cluster 1 2 0 --cluster 10 32 4 --slides 1000 --pairs 2000 --pixels 100 --tissue 10"
    words += " --glass-seconds 0.5"
    monkeypatch.setattr(sys, "argv", ["capacity.py", str(folder), *words.split()])
    capacity.main()
    said = capsys.readouterr().out
    assert "| synthesis | pair | 1 | 0.08 |" in said
    # 2 × 86,400 seconds over 6, 10 × 6 + 90 × 0.5 and 0.14.
    assert "| 1 node × 2 cores | 29,000 | 1,600 | 1,200,000 | 0.0 |" in said
    assert "| 10 nodes × 32 cores, 4 GPUs |" in said


def test_an_unfinished_run_is_said(capacity, folder, monkeypatch):
    (folder / "predictions/cgan/both/0/a.tsv").unlink()
    monkeypatch.setattr(capacity, "load", lambda *_: RUN)
    monkeypatch.setattr(sys, "argv", ["capacity.py", str(folder), "--cluster", "1", "2", "0"])
    with pytest.raises(SystemExit, match="no jobs of: prediction"):
        capacity.main()
