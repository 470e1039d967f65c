"""What the jobs of a run must have read alike."""

from pathlib import Path

import pytest

from nucleigan.config import Config
from nucleigan.errors import NucleiganError
from nucleigan.plan import agreement_on, check_agreed, read_plan, write_plan
from nucleigan.slides import Slide

SLIDE = Slide("a", "liver", "train", Path("a.tif"))


def agreed(config: Config, *slides: Slide) -> str:
    return agreement_on(config.model_dump(mode="json"), [vars(slide) for slide in slides])


def test_a_job_that_reads_something_else_than_its_run_is_refused(tmp_path):
    own = agreed(Config(), SLIDE)
    # Without a plan, or in one of an earlier version, there is nothing to compare.
    check_agreed(tmp_path, own, patience=0)
    write_plan(tmp_path, [])
    check_agreed(tmp_path, own, patience=0)
    write_plan(tmp_path, [tmp_path / "logs/slides/a.log"], agreed=own)
    check_agreed(tmp_path, own, patience=0)
    plan = read_plan(tmp_path)
    assert plan is not None and plan.names == {"slides/a"}
    others = (
        agreed(Config(seed=1), SLIDE),
        agreed(Config()),
        agreed(Config(), Slide("a", "liver", "test", Path("a.tif"))),
    )
    for other in others:
        with pytest.raises(NucleiganError, match="changed since the run began"):
            check_agreed(tmp_path, other, patience=0)


def test_a_plan_that_comes_late_is_waited_for(tmp_path, monkeypatch):
    """As where a network file system shows the file of the run before."""
    write_plan(tmp_path, [], agreed="before")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        write_plan(tmp_path, [], agreed="now")

    monkeypatch.setattr("nucleigan.plan.time.sleep", sleep)
    check_agreed(tmp_path, "now", patience=60)
    assert len(slept) == 1
