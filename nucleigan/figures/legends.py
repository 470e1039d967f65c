"""Legends of figures: names that are anyone's, in as many columns as there is room for."""

import textwrap
from typing import Any

# Of a wide character, and of a marker with the space around it, inches.
CHARACTER, MARKER = 0.09, 0.6


def label(name: str, most: int) -> str:
    """A name as matplotlib shows it, in lines of at most so many characters.

    It hides those that begin with _, and sets what stands between $ as a formula.
    """
    lines = textwrap.wrap(name, most, drop_whitespace=False) or [name]
    return (" " if name.startswith("_") else "") + "\n".join(lines).replace("$", r"\$")


def legend_below(figure: Any, handles: list[Any], names: list[str], most: int) -> int:
    """Add a legend below the axes.

    Parameters
    ----------
    figure
        A figure of constrained layout.
    handles, names
        What is drawn, as matplotlib returned it, and what to call it.
    most
        Columns, where there is room for them.

    Returns
    -------
    How many lines of text it is high.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    longest = max(10, int((figure.get_figwidth() - MARKER) / CHARACTER))
    labels = [label(name, longest) for name in names]
    if not labels:
        return 0
    for columns in range(most, 0, -1):
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False
        )
        if columns == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            break
        legend.remove()
    # Matplotlib fills it column by column.
    rows = -(-len(labels) // columns)
    high = [text.count("\n") + 1 for text in labels]
    return max((sum(high[first : first + rows]) for first in range(0, len(high), rows)), default=0)
