"""Runs of the workflow in scratch folders, from a copy of the repository that tests may edit."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tiny_workflow import Workflow, copy_checkout, draw_sheet


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository."""
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def edited(checkout: Path) -> Callable[[str, str, str], AbstractContextManager[None]]:
    """Replace text in a file of the checkout for a while; its time changes, too."""

    @contextmanager
    def edit(name: str, before: str, after: str) -> Iterator[None]:
        path = checkout / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{path} holds {before!r} {text.count(before)} times"
        path.write_text(text.replace(before, after), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    return edit


@pytest.fixture(scope="session")
def finished(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The whole workflow, run once on two cores with two shards; only look at its results."""
    folder = tmp_path_factory.mktemp("finished")
    workflow = Workflow(checkout, folder, draw_sheet(folder / "slides"))
    workflow.make("all")
    return workflow


@pytest.fixture
def fresh(checkout: Path, tmp_path: Path) -> Workflow:
    """The workflow with slides of its own, nothing run."""
    return Workflow(checkout, tmp_path, draw_sheet(tmp_path / "slides"))
