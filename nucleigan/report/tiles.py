"""The best and the worst slides of a model, with what became of every nucleus."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nucleigan.artifacts import open_image, read_table, read_tiff
from nucleigan.evaluation.columns import MODEL, NAMES_ARE_TEXT
from nucleigan.figures.errors import css_colours, draw_errors
from nucleigan.metrics.errors import MEANINGS
from nucleigan.metrics.objects import centroids
from nucleigan.report import page
from nucleigan.splits import shown_split

EACH = 3
# Of larger slides a window of this side is shown, pixels.
WINDOW = 1000
# Of a picture in the page: six of them must stay easy to send.
SIDE = 720


def tiles(
    slides_table: str | Path, model: Mapping[str, str], slides: Sequence[Mapping[str, Any]]
) -> str:
    """The section of the best and worst slides by AJI.

    Parameters
    ----------
    slides_table
        CSV of all models' slides.
    model
        ``method``, ``data`` and ``seed`` of the model that is shown.
    slides
        Dictionaries with ``slide``, ``image``, ``labels`` and ``prediction`` (paths).
    """
    table = read_table(slides_table, **NAMES_ARE_TEXT)
    of_model = (table[list(MODEL)] == [str(model[name]) for name in MODEL]).all(axis=1)
    table = table[of_model & (table["split"] == shown_split(table["split"]))]
    paths = {slide["slide"]: slide for slide in slides}
    ranked = table.sort_values("aji", ascending=False, kind="stable")
    ranked = ranked[ranked["slide"].isin(list(paths))]
    best, worst = best_and_worst(list(ranked.itertuples(index=False)))
    if not best:
        return ""
    name = ", ".join(str(model[key]) for key in MODEL[:2])
    return page.section(
        "Best and worst slides",
        page.paragraph(
            f"By AJI, of the model {name} (seed {model['seed']}). Every nucleus has the colour of "
            "what became of it; contours of hits are thin, of errors thick."
        ),
        legend(),
        *(
            f"<h3>{title}</h3>\n" + page.grid(*(_tile(row, paths[row.slide]) for row in rows))
            for title, rows in (("Best", best), ("Worst", worst))
            if rows
        ),
    )


def best_and_worst(ranked: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """At most :data:`EACH` from either end, none twice; the worst first in the second."""
    best = min(EACH, (len(ranked) + 1) // 2)
    worst = min(EACH, len(ranked) - best)
    return list(ranked[:best]), list(ranked[len(ranked) - worst :])[::-1]


def legend() -> str:
    """The colours of the classes and what they mean."""
    entries = [
        f'<li><b style="background:{colour}"></b>{name}: {page.escape(MEANINGS[name])}</li>'
        for name, colour in css_colours().items()
    ]
    return '<ul class="legend">' + "".join(entries) + "</ul>"


def _tile(row: Any, paths: Mapping[str, Any]) -> str:
    truth, prediction = (read_tiff(paths[kind]) for kind in ("labels", "prediction"))
    with open_image(paths["image"]) as image:
        drawn, errors = draw_errors(image, truth, prediction, window(truth))
    counts = ", ".join(f"{count} {name}" for name, count in errors.counts().items())
    part = "" if drawn.shape[:2] == truth.shape else ", its densest part"
    caption = f"{row.slide} ({row.organ}){part}: AJI {row.aji:.3f}, F1 {row.f1:.3f}; {counts}."
    return page.photograph(drawn, caption, SIDE)


def window(truth: np.ndarray) -> tuple[slice, slice]:
    """The part of a label map to show: all, or the window of a grid with most nuclei.

    The grid's last windows end with the map, and overlap those before.
    """
    starts = [
        np.array([*range(0, length - WINDOW, WINDOW), max(0, length - WINDOW)])
        for length in truth.shape
    ]
    # Whether a window's rows, and its columns, hold each nucleus, (windows, nuclei).
    rows, columns = (
        (some[:, None] <= places) & (places < some[:, None] + WINDOW)
        for some, places in zip(starts, centroids(truth).T, strict=True)
    )
    counts = rows.astype(int) @ columns.T.astype(int)
    row, column = np.unravel_index(int(counts.argmax()), counts.shape)
    corner = (int(starts[0][row]), int(starts[1][column]))
    return (
        slice(corner[0], corner[0] + WINDOW),
        slice(corner[1], corner[1] + WINDOW),
    )
