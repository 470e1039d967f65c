"""Lines of progress: when they come, what they say, and that they can be read again."""

import pytest

from nucleigan import progress as module
from nucleigan.progress import REPORT_SECONDS, Progress, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when told to."""

    class Clock:
        now = 1000.0

        def sleep(self, seconds):
            self.now += seconds

    found = Clock()
    monkeypatch.setattr(module.time, "monotonic", lambda: found.now)
    return found


def work(clock, seconds_each, *arguments, count=10, **options):
    """The items that such work hands on, each used for some seconds."""
    found = []
    for item in progress(iter(range(count)), *arguments, **options):
        clock.sleep(seconds_each)
        found.append(item)
    return found


def test_short_work_is_silent(clock, capsys):
    assert work(clock, REPORT_SECONDS / 10, 10, "pairs") == list(range(10))
    assert capsys.readouterr().out == ""


def test_longer_work_says_how_far_it_is_now_and_then_and_at_its_end(clock, capsys):
    assert work(clock, 6.0, 10, "pairs") == list(range(10))
    assert capsys.readouterr().out == (
        "3 of 10 pairs (30 %), 6.00 s each, 0.7 min left\n"
        "6 of 10 pairs (60 %), 6.00 s each, 0.4 min left\n"
        "9 of 10 pairs (90 %), 6.00 s each, 0.1 min left\n"
        "10 of 10 pairs (100 %), 6.00 s each, 0.0 min left\n"
    )


def test_items_of_several_pieces(clock, capsys):
    work(clock, 8.0, 400, "rows read", size=lambda _: 100, count=4)
    assert capsys.readouterr().out == (
        "200 of 400 rows read (50 %), 12.5 a second, 0.3 min left\n"
        "400 of 400 rows read (100 %), 12.5 a second, 0.0 min left\n"
    )


@pytest.mark.parametrize("seconds_each", [0.004, 0.5, 0.999, 1.0, 2.5, 3600.0])
def test_a_line_can_be_read(seconds_each):
    line = str(Progress(3, 4000, "rows read", seconds_each))
    found = Progress.read(f"{line}  dice 0.300")
    assert found is not None
    assert (found.done, found.total, found.what) == (3, 4000, "rows read")
    assert found.seconds_each == pytest.approx(seconds_each, rel=0.05)


@pytest.mark.parametrize(
    "line",
    [
        "3 of 4 slides",
        "3 of 0 pairs (0 %), 1.00 s each, 0.0 min left",
        "3 of 4 pairs (75 %), 0.0 a second, 0.0 min left",
        "x 3 of 4 pairs (75 %), 1.00 s each, 0.0 min left",
    ],
)
def test_other_lines_are_no_progress(line):
    assert Progress.read(line) is None


def test_more_than_all_is_all():
    assert Progress(5, 4, "pairs", 1.0).fraction == 1.0
