"""Write the tables of the page `configuration` from the models, so that the two cannot differ."""

import json
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

from nucleigan.config import Config, Settings

PAGE = "configuration"
PLACE = "<!-- every section -->"
BOUNDS = {
    "exclusiveMinimum": ">",
    "minimum": "≥",
    "exclusiveMaximum": "<",
    "maximum": "≤",
}
HEADER = ["| key | type and limits | default | meaning |", "|---|---|---|---|"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill the page in when it is read."""
    app.connect("env-get-outdated", lambda *_: [PAGE])
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    if page == PAGE:
        before, after = source[0].split(PLACE)
        source[0] = before + "\n".join(sections(Config())) + after


def sections(settings: Settings, name: str = "") -> Iterator[str]:
    """A heading and a table for a section, then the same for the sections within it.

    Parameters
    ----------
    settings
        With the defaults of this place, which the same model need not have elsewhere.
    name
        Of the section, with dots; empty for the whole configuration.
    """
    schema = type(settings).model_json_schema()["properties"]
    values = settings.model_dump(mode="json")
    inner = {key: value for key, value in settings if isinstance(value, Settings)}
    yield f"{'#' * (2 + name.count('.'))} {name or 'top level'}\n\n{type(settings).__doc__}\n"
    yield from HEADER
    for key, value in values.items():
        if key not in inner:
            default = json.dumps(value, ensure_ascii=False)
            meaning = schema[key]["description"]
            yield f"| `{key}` | {describe(schema[key])} | `{default}` | {meaning} |"
    yield ""
    for key, value in inner.items():
        yield from sections(value, f"{name}.{key}" if name else key)


def describe(schema: dict[str, Any]) -> str:
    """Type and limits of a key in words.

    Parameters
    ----------
    schema
        The key's JSON schema.
    """
    if "anyOf" in schema:
        return " or ".join(map(describe, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one).strip(chr(34))}`" for one in schema["enum"])
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {describe(schema['prefixItems'][0])}"
    if schema["type"] == "array":
        return f"list of {describe(schema['items'])}"
    words = {"boolean": "true or false", "string": "text", "integer": "whole number"}
    # No-break spaces: a limit stays on one line.
    limits = [
        f"{sign}\N{NO-BREAK SPACE}{schema[bound]:.12g}"
        for bound, sign in BOUNDS.items()
        if bound in schema
    ]
    return ", ".join([words.get(schema["type"], schema["type"]), *limits])
