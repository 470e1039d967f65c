"""Which failed jobs are tried again."""

from types import SimpleNamespace

import pytest

from nucleigan.errors import NucleiganError, PassingError
from nucleigan.jobs import job
from nucleigan.retries import Failure, Retries, take_failure

RETRIES, RESTARTS = 2, 20
STOPPED = "SIGTERM: stopped after step {} of 90, saved"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "a.log"


def snakemakes_job(*logs, restart_times=RESTARTS):
    """What there is of a job's own at Snakemake."""
    return SimpleNamespace(
        log=list(logs), attempt=1, restart_times=restart_times, is_group=lambda: False
    )


def snakemake_counts(one):
    """What Snakemake does with a failed job."""
    if one.restart_times > one.attempt - 1:
        one.attempt += 1
        one.runs += 1


def runs(one, end, most=1000):
    """How often a job runs whose every run ends in the same way."""
    retries, one.runs = Retries(snakemake_counts, RETRIES), 1
    for number in range(most):
        end(number)
        before = one.runs
        retries(one)
        if one.runs == before:
            break
    return one.runs


def fails_by(error, log):
    def end(_):
        with pytest.raises(SystemExit), job(log):
            raise error

    return end


def test_a_job_that_says_what_is_wrong_runs_once(log, capsys):
    assert runs(snakemakes_job(log), fails_by(NucleiganError("x.tif: is damaged."), log)) == 1
    said = capsys.readouterr().err
    assert f"error: {log}: x.tif: is damaged.\n" in said and "is not tried again" in said


@pytest.mark.parametrize(
    "error",
    [ValueError("unexpected"), MemoryError(), OSError(28, "full", "x"), PassingError("killed.")],
)
def test_what_may_pass_is_tried_as_often_as_any_job(log, error):
    assert runs(snakemakes_job(log), fails_by(error, log)) == 1 + RETRIES


def test_a_killed_training_is_tried_as_often_as_trainings(log):
    log.write_text("step 3\n")
    assert runs(snakemakes_job(log), lambda _: None) == 1 + RESTARTS


def test_a_training_that_is_stopped_further_on_each_time_is_not_counted(log):
    one = snakemakes_job(log)
    number = runs(one, lambda number: log.write_text(STOPPED.format(number + 1) + "\n"), 80)
    assert number == 81 and one.attempt == 1


def test_a_training_that_comes_no_further_is_counted(log):
    assert runs(snakemakes_job(log), lambda _: log.write_text(STOPPED.format(1))) == 2 + RESTARTS


def test_without_retries_nothing_is_tried_again(log):
    log.write_text(STOPPED.format(5))
    assert runs(snakemakes_job(log, restart_times=0), lambda _: None) == 1


def test_one_job_of_a_group_fails(tmp_path):
    logs = [tmp_path / f"{name}.log" for name in "ab"]
    group = snakemakes_job(restart_times=RETRIES)
    group.is_group, group.jobs = lambda: True, [snakemakes_job(log) for log in logs]
    assert runs(group, fails_by(NucleiganError("b.tif: is damaged."), logs[1])) == 1


def test_a_failure_belongs_to_one_try(log):
    fails_by(NucleiganError("first."), log)(0)
    with job(log):
        pass
    assert take_failure(log) is None
    fails_by(ValueError("second"), log)(0)
    assert take_failure(log) == Failure(f"ValueError: second (in full: {log})", passes=True)
    assert take_failure(log) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sentence": 1}', "\0"])
def test_a_failure_cut_short_is_none(log, content):
    log.with_suffix(".failed").write_text(content)
    assert take_failure(log) is None
