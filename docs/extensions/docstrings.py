"""Bring the docstrings of the package into the form that napoleon reads.

What a function returns is described in prose, and its type left to the annotation; napoleon would
take the first line of that prose for the type. Attributes that belong together share one line, of
which napoleon would make one name and a type.
"""

import inspect
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import signature
from sphinx.util.typing import stringify_annotation


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", _prepare, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _prepare(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what in ("function", "method"):
        section = _section(lines, "Returns")
        lines[section] = _typed(lines[section], signature(obj).return_annotation)
    elif what == "class":
        section = _section(lines, "Attributes")
        lines[section] = _apart(lines[section])


def _skip(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out fields of named tuples, which their class describes."""
    return True if (obj.__doc__ or "").startswith("Alias for field number") else None


def _section(lines: list[str], title: str) -> slice:
    """The lines below a title, up to the next one; empty without it."""
    titles = [n for n in range(len(lines) - 1) if re.fullmatch("-{3,}", lines[n + 1])]
    for place, end in zip(titles, [*titles, len(lines)][1:], strict=True):
        if lines[place] == title:
            return slice(place + 2, end)
    return slice(0, 0)


def _typed(prose: list[str], annotation: Any) -> list[str]:
    """Prose below its type; several values, each under its name, stay as they are."""
    named = any(line.startswith(" ") for line in prose)
    if not prose or named or annotation is inspect.Signature.empty:
        return prose
    indented = [f"    {line}" if line else "" for line in prose]
    return [stringify_annotation(annotation, "smart"), *indented]


def _apart(lines: list[str]) -> list[str]:
    """Each attribute with the description that it shares with others."""
    result: list[str] = []
    names: list[str] = []
    described: list[str] = []
    for line in [*lines, "end"]:
        if not line or line.startswith(" "):
            described.append(line)
            continue
        for name in names:
            result += [name, *described]
        names, described = line.split(", "), []
    return result
