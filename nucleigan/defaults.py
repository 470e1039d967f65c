"""The commented config.yaml, written from the models so that the two cannot drift apart."""

import textwrap
from typing import Any

from nucleigan.config import Config, Settings

HEADER = """\
# The whole experiment: the method of Mahmood et al. 2018 at full size, for a GPU. Put an overlay
# from configs/ or your own above it with --configfile, single values with --config.
#
# Written by `nucleigan config`; every key, its default and its meaning live in nucleigan/config.py.
"""
WIDTH = 96


def default_yaml() -> str:
    """All keys with their defaults, each below a comment with its meaning, unit and origin."""
    return HEADER + "\n" + "\n".join(_lines(Config(), 0)) + "\n"


def _lines(settings: Settings, depth: int) -> list[str]:
    lines = []
    indent = "  " * depth
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            lines += [""] * (depth == 0)
            lines += _comment(type(value).__doc__ or "", indent) if depth == 0 else []
            lines += [f"{indent}{name}:", *_lines(value, depth + 1)]
        else:
            lines += [*_comment(field.description or "", indent), f"{indent}{name}: {_text(value)}"]
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, WIDTH - len(indent))]


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return str(value) if value != "" and value != "none" else f'"{value}"'
