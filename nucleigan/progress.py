"""How far a long piece of work is, in plain lines: done, rate, and time left.

Lines are printed at most every :data:`REPORT_SECONDS`, so that work which is shorter says nothing.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

# A line of progress at most this often, seconds.
REPORT_SECONDS = 15.0
# What :meth:`Progress.__str__` writes.
LINE = re.compile(
    r"(\d+) of ([1-9]\d*) ([^(]+) \(\d+ %\), "
    r"(?:(\d+\.\d+) s each|([1-9]\d*\.\d) a second), \d+\.\d min left"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is.

    Attributes
    ----------
    done, total
        Pieces that are done, and all.
    what
        What the pieces are, in the plural.
    seconds_each
        Of a piece; None where it is not known yet.
    """

    done: int
    total: int
    what: str
    seconds_each: float | None = None

    @property
    def fraction(self) -> float:
        """The part that is done."""
        return min(1.0, self.done / self.total)

    @property
    def seconds_left(self) -> float | None:
        """Until all are done, at the same rate."""
        return None if self.seconds_each is None else (self.total - self.done) * self.seconds_each

    def __str__(self) -> str:
        """One line; the rate as the number that is easier to read."""
        each, left = self.seconds_each or 0.0, self.seconds_left or 0.0
        rate = f"{1 / each:.1f} a second" if 0 < each < 1 else f"{each:.2f} s each"
        return (
            f"{self.done} of {self.total} {self.what} ({100 * self.fraction:.0f} %), "
            f"{rate}, {left / 60:.1f} min left"
        )

    @classmethod
    def read(cls, line: str) -> Self | None:
        """What such a line says; None of any other."""
        found = LINE.match(line)
        if found is None:
            return None
        done, total, what, each, rate = found.groups()
        return cls(int(done), int(total), what, float(each) if each else 1 / float(rate))


class Reporter:
    """Measures the rate of a piece of work, and prints lines.

    Parameters
    ----------
    total, what
        As of :class:`Progress`.
    done
        Pieces that were done before, and tell nothing of the rate.
    """

    def __init__(self, total: int, what: str, done: int = 0) -> None:
        self._total, self._what, self._first = total, what, done
        self._began = self._said = time.monotonic()
        self.silent = True

    @property
    def due(self) -> bool:
        """Whether the last line was long ago."""
        return time.monotonic() - self._said > REPORT_SECONDS

    def say(self, done: int, remark: str = "") -> None:
        """Print a line, with a remark behind it."""
        self._said = time.monotonic()
        each = (self._said - self._began) / max(1, done - self._first)
        print(f"{Progress(done, self._total, self._what, each)}  {remark}".rstrip(), flush=True)
        self.silent = False


def progress(
    items: Iterable[T], total: int, what: str, size: Callable[[T], int] | None = None
) -> Iterator[T]:
    """Hand items on, and print how far they are.

    An item is done when the next one is asked for, so that both making and using them count.

    Parameters
    ----------
    items
        Of any kind.
    total
        Their number, or the sum of their sizes.
    what
        What is counted, in the plural.
    size
        How much an item counts; by default 1.
    """
    reporter, done = Reporter(total, what), 0
    for item in items:
        yield item
        done += 1 if size is None else size(item)
        # Work that has spoken also says that it is finished.
        if reporter.due or (done == total and not reporter.silent):
            reporter.say(done)
