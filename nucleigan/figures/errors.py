"""Hit, missed, invented, split, merged and inexact nuclei, drawn over their slide."""

import numpy as np
from scipy import ndimage

from nucleigan.errors import NucleiganError
from nucleigan.figures import overlay
from nucleigan.figures.overlay import contours
from nucleigan.metrics.errors import (
    CLASSES,
    HIT,
    INEXACT,
    INVENTED,
    MERGED,
    MISSED,
    SPLIT,
    Errors,
    classify,
)
from nucleigan.metrics.table import Contingency, contingency
from nucleigan.windows import Picture, surrounded

# Okabe & Ito 2008, and white: told apart with every common kind of colour vision.
COLOURS = {
    HIT: overlay.HIT,
    MISSED: overlay.MISSED,
    INVENTED: overlay.INVENTED,
    SPLIT: (0, 0, 0),
    MERGED: (0, 158, 115),
    INEXACT: (255, 255, 255),
}


def draw_errors(
    image: Picture,
    truth: np.ndarray,
    prediction: np.ndarray,
    place: tuple[slice, slice] = np.s_[:, :],
) -> tuple[np.ndarray, Errors]:
    """Draw the contours of nuclei in the colours of their classes.

    Contours of errors are three pixels wide, those of hits one. Hits, inexact and invented nuclei
    are drawn as predicted, missed ones as they are; of split and merged nuclei both contours are
    drawn.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    truth, prediction
        (H, W) integers.
    place
        The part that is drawn, rows and columns; the classes are those of the whole.

    Returns
    -------
    drawn
        (h, w, 3) uint8, the part.
    errors
        The class of every nucleus.

    Raises
    ------
    NucleiganError
        When image and label maps differ in size.
    """
    if image.shape[:2] != np.shape(truth):
        raise NucleiganError(
            f"The image is {image.shape[0]}×{image.shape[1]} pixels but the true label map "
            f"{np.shape(truth)}; expected one size; compare maps of the same slide."
        )
    table = contingency(truth, prediction)
    errors = classify(table)
    # Contours are cut at the part's border as if they went on, and widened ones reach into it.
    grown, inner = surrounded(place, truth.shape, 2)
    truth, prediction = truth[grown], prediction[grown]
    drawn = np.array(image[grown])
    # Errors that name more than one nucleus last, over what they consist of.
    for name in (HIT, INEXACT, INVENTED, MISSED, SPLIT, MERGED):
        edge = _edge(truth, prediction, table, errors, name)
        if name != HIT:
            edge = ndimage.binary_dilation(edge, np.ones((3, 3), bool))
        drawn[edge] = COLOURS[name]
    return drawn[inner], errors


def _edge(
    truth: np.ndarray, prediction: np.ndarray, table: Contingency, errors: Errors, name: str
) -> np.ndarray:
    """Contours of the nuclei of one class; (H, W) bool."""
    edge = np.zeros(np.shape(truth), bool)
    if name != HIT:
        edge |= _contours_of(truth, table.truth_ids[errors.truths == name])
    if name != MISSED:
        edge |= _contours_of(prediction, table.prediction_ids[errors.predictions == name])
    return edge


def _contours_of(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return contours(np.where(np.isin(labels, ids), labels, 0))


def css_colours() -> dict[str, str]:
    """The colours as ``#rrggbb``, in the order of the classes."""
    return {name: "#{:02x}{:02x}{:02x}".format(*COLOURS[name]) for name in CLASSES}
