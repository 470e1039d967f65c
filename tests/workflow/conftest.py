"""Changes of the copy of the repository that the workflow is run from."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


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
