"""Parts of a self-contained HTML page: text, tables, pictures within the file."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

STYLE = """
:root { color-scheme: light; }
body { background: #fff; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 66rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { border-top: 1px solid #bbb; font-size: 1.25rem; margin: 2rem 0 .5rem; padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; margin: .5rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: right;
  vertical-align: top; }
td { white-space: nowrap; }
.text td { white-space: normal; }
th { border-bottom: 2px solid #888; font-weight: 600; min-width: 4.5rem; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
tr.overall td { border-top: 2px solid #888; font-weight: 600; }
figure { margin: .8rem 0; }
figure img { display: block; height: auto; max-width: 100%; }
figcaption, .note { color: #444; font-size: .875rem; }
.warning { border-left: .25rem solid #b34700; padding-left: .6rem; }
.grid { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; }
.legend b { border: 1px solid #444; display: inline-block; height: .9em; margin-right: .4em;
  vertical-align: -.1em; width: 1.6em; }
pre { background: #f4f4f4; font-size: .8rem; overflow-x: auto; padding: .6rem; }
.hash { font-family: ui-monospace, monospace; font-size: .75rem; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; margin: .5rem 0; }
"""
JPEG_QUALITY = 80


def escape(text: object) -> str:
    """Text that HTML shows as it is."""
    return html.escape(str(text))


def page(title: str, body: Sequence[str]) -> str:
    """A whole document without anything from outside of it."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            *(part for part in body if part),
            "</body></html>\n",
        ]
    )


def section(title: str, *parts: str) -> str:
    """A heading and what stands under it; nothing where nothing does."""
    shown = [part for part in parts if part]
    return "\n".join([f"<section><h2>{escape(title)}</h2>", *shown, "</section>"]) if shown else ""


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def grid(*parts: str) -> str:
    """Parts beside each other, as many as the screen is wide enough for."""
    return "\n".join(['<div class="grid">', *(f"<div>{part}</div>" for part in parts), "</div>"])


def details(summary: str, *parts: str) -> str:
    """What is shown on a click."""
    return "\n".join([f"<details><summary>{escape(summary)}</summary>", *parts, "</details>"])


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    name: str = "",
    overall: int = 0,
    kind: str = "",
) -> str:
    """A table that scrolls where the screen is narrower.

    Parameters
    ----------
    header, rows
        Plain text.
    name
        The element's id.
    overall
        How many of the last rows summarise the others.
    kind
        Class: ``text`` aligns all columns to the left, ``hash`` sets small fixed type.
    """
    attributes = (f' id="{escape(name)}"' if name else "") + _class(kind)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = [f'<div class="wide"><table{attributes}><thead><tr>{head}</tr></thead><tbody>']
    for number, row in enumerate(rows):
        last = _class("overall" if number >= len(rows) - overall else "")
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        lines.append(f"<tr{last}>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _class(name: str) -> str:
    return f' class="{escape(name)}"' if name else ""


def plot(path: str | Path, caption: str) -> str:
    """A PNG as it is, within the page."""
    return _figure("png", Path(path).read_bytes(), caption)


def photograph(picture: np.ndarray | Image.Image, caption: str, side: int) -> str:
    """A picture of tissue, at most ``side`` pixels wide and high, as JPEG within the page."""
    drawn = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    drawn = drawn.convert("RGB")
    drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Colours at full resolution: thin contours would lose theirs.
    drawn.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return _figure("jpeg", stream.getvalue(), caption)


def _figure(kind: str, content: bytes, caption: str) -> str:
    data = base64.b64encode(content).decode()
    # Those who hear the page hear the caption next.
    name = escape(caption.split(":")[0])
    image = f'<img alt="{name}" src="data:image/{kind};base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
