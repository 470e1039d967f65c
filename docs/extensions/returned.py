"""Give the Returns sections of docstrings the types of their signatures.

The package describes in prose what a function returns and leaves the type to the annotation;
napoleon would take the first line of that prose for the type.
"""

import inspect
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import signature
from sphinx.util.typing import stringify_annotation

TITLE = ["Returns", "-------"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", _indent, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _indent(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    start = _start(lines)
    if start is None or what not in ("function", "method"):
        return
    end = start
    while end < len(lines) and lines[end + 1 : end + 2] != ["-" * len(lines[end])]:
        end += 1
    prose = lines[start:end]
    if any(line.startswith(" ") for line in prose):
        # Several values, each under its name.
        return
    annotation = signature(obj).return_annotation
    if annotation is not inspect.Signature.empty:
        lines[start:end] = [
            stringify_annotation(annotation, "smart"),
            *(f"    {line}" if line else "" for line in prose),
        ]


def _start(lines: list[str]) -> int | None:
    """The line after the title of the section."""
    for place in range(len(lines) - 2):
        if lines[place : place + 2] == TITLE:
            return place + 2
    return None
