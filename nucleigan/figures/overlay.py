"""Nuclei drawn over their slide."""

from typing import NamedTuple

import numpy as np

from nucleigan.errors import NucleiganError
from nucleigan.metrics.matching import pairs_above
from nucleigan.metrics.table import contingency

# Sky blue (brightened), yellow and vermillion of Okabe & Ito 2008: told apart with every common
# kind of colour vision, and none vanishes on a dark nucleus.
HIT = (86, 220, 255)
MISSED = (240, 228, 66)
INVENTED = (213, 94, 0)
# Bluish green of the same: found where nobody says whether rightly.
FOUND = (0, 190, 140)


class Hits(NamedTuple):
    """Ids of true nuclei that were found, and of the predictions that found them."""

    found: np.ndarray
    right: np.ndarray


def hits(truth: np.ndarray, prediction: np.ndarray) -> Hits:
    """Which nuclei of two label maps (H, W) match each other, IoU above 0.5."""
    table = contingency(truth, prediction)
    cells = pairs_above(table, 0.5)
    return Hits(table.truth_ids[table.row[cells]], table.prediction_ids[table.column[cells]])


def overlay(
    image: np.ndarray, truth: np.ndarray | None, prediction: np.ndarray, known: Hits | None = None
) -> np.ndarray:
    """Draw the contours of nuclei over a slide.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    truth
        (H, W) integers, or None where the slide has no annotation.
    prediction
        (H, W) integers.
    known
        Which of them match; None to look here. Maps of a picture that was made smaller do not tell.

    Returns
    -------
    (H, W, 3) uint8. With truth: predictions that match a nucleus (IoU above 0.5) blue, true
    nuclei without a match yellow, predictions without a match vermillion. Without: all green.

    Raises
    ------
    NucleiganError
        When image and label maps differ in size.
    """
    prediction = np.asarray(prediction)
    if image.shape[:2] != prediction.shape:
        raise NucleiganError(
            f"The image is {image.shape[0]}×{image.shape[1]} pixels but the predicted label map "
            f"{prediction.shape}; expected one size; compare maps of the same slide."
        )
    drawn: np.ndarray = image.copy()
    if truth is None:
        drawn[contours(prediction)] = FOUND
        return drawn
    found, right = hits(truth, prediction) if known is None else known
    hit = np.isin(prediction, right)
    drawn[contours(np.where(hit, 0, prediction))] = INVENTED
    drawn[contours(np.where(np.isin(truth, found), 0, truth))] = MISSED
    drawn[contours(np.where(hit, prediction, 0))] = HIT
    return drawn


def contours(labels: np.ndarray) -> np.ndarray:
    """Pixels of nuclei beside another nucleus or background; (H, W) bool."""
    edge = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge & (labels != 0)
