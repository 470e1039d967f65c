"""Fixtures that several test packages share."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from tiny_workflow import Workflow, copy_checkout, draw_sheet

ROOT = Path(__file__).parent.parent
# What takes longest, which comes first, lest one process be left alone with it in the end.
LONGEST = ("cluster", "faults", "acceptance", "workflow", "training")

# Shared machines stall; a slow example is not a wrong one.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

# Several programs at once have more threads than there are cores; one that waits for its others
# must not keep a core busy meanwhile. Read when a process loads its OpenMP, so before any does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell's background jobs ignore Ctrl-C, and so would every program that is started from here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# So it is with nohup; these tests themselves go on.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the tests into the order of :data:`LONGEST`."""

    def place(item: pytest.Item) -> int:
        folders = [name for name in LONGEST if item.path.is_relative_to(ROOT / "tests" / name)]
        return LONGEST.index(folders[0]) if folders else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides; tests that need it skip where it is absent.

    ``NUCLEIGAN_REAL_DATA`` names it; otherwise it lies beside the checkout.
    """
    folder = Path(os.environ.get("NUCLEIGAN_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "kumar" / "slides.csv").is_file():
        pytest.skip(f"no real slides in {folder}; set NUCLEIGAN_REAL_DATA to their folder")
    return folder.resolve()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def finished(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The whole workflow, run once on two cores with two shards; only look at its results.

    Processes that share the tests share that run and its slides: each has a copy of its folder and
    a checkout of its own.
    """
    ours = tmp_path_factory.mktemp("finished")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    # The folder that pytest gives to all its processes lies above that of each.
    once = (ours.parents[1] if worker else ours.parent) / "once"
    sheet, run = once / "slides" / "slides.csv", once / "run"
    with FileLock(once.with_suffix(".lock")):
        if not (once / "done").exists():
            shutil.rmtree(once, ignore_errors=True)
            run.mkdir(parents=True)
            Workflow(checkout, run, draw_sheet(sheet.parent)).make("all")
            (once / "done").touch()
    shutil.copytree(run, ours, dirs_exist_ok=True)
    return Workflow(checkout, ours, sheet)


@pytest.fixture
def copied(finished: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the finished run; what a test takes away or spoils is made again from its sheet."""
    shutil.copytree(finished.folder, tmp_path / "run")
    return replace(finished, folder=tmp_path / "run")


@pytest.fixture
def fresh(checkout: Path, tmp_path: Path) -> Workflow:
    """The workflow with slides of its own, nothing run."""
    return Workflow(checkout, tmp_path, draw_sheet(tmp_path / "slides"))


class _Tables(HTMLParser):
    """Collects the cells of every table that has an id."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.rows = self.found.setdefault(dict(attrs).get("id") or "", [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.rows[-1][-1] += data


@pytest.fixture(scope="session")
def html_tables() -> Callable[[str], dict[str, list[list[str]]]]:
    """A reader of HTML: the id of every table to its rows of text, the header first."""

    def read(text: str) -> dict[str, list[list[str]]]:
        parser = _Tables()
        parser.feed(text)
        return parser.found

    return read


@pytest.fixture
def memory_growth() -> Callable[[], int]:
    """Asked again and again: how much resident memory the process took at its height, bytes.

    Since the last time, and beyond what it had then.
    """

    def resident(key: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) << 10
        raise AssertionError(key)

    def growth() -> int:
        nonlocal before
        found = resident("VmHWM") - before
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        return found

    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not tell the peak of a process's memory")
    before = resident("VmRSS")
    return growth
