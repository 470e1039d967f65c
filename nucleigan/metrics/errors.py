"""What became of every nucleus: hit, missed, invented, split, merged or inexact."""

from dataclasses import dataclass

import numpy as np

from nucleigan.metrics.matching import pairs_above
from nucleigan.metrics.table import Contingency

HIT, MISSED, INVENTED, SPLIT, MERGED, INEXACT = (
    "hit",
    "missed",
    "invented",
    "split",
    "merged",
    "inexact",
)
CLASSES = (HIT, MISSED, INVENTED, SPLIT, MERGED, INEXACT)
MEANINGS = {
    HIT: "found, IoU above 0.5",
    MISSED: "true nucleus that nothing matches",
    INVENTED: "prediction on no nucleus",
    SPLIT: "one nucleus found as several, and its pieces",
    MERGED: "several nuclei found as one, and that one",
    INEXACT: "prediction on a nucleus, IoU 0.5 or less",
}
# More than this part of a nucleus is most of it.
MOST = 0.5


@dataclass(frozen=True)
class Errors:
    """The class of every nucleus; each has exactly one.

    Attributes
    ----------
    truths
        (n,) names, in the order of the table's true nuclei: hit, missed, split or merged.
    predictions
        (m,) names, in the order of its predictions: hit, invented, split, merged or inexact.
    """

    truths: np.ndarray
    predictions: np.ndarray

    def counts(self) -> dict[str, int]:
        """How many of each class: true nuclei where they have it, else predictions."""
        of_truth = {name: int(np.sum(self.truths == name)) for name in (HIT, MISSED, SPLIT, MERGED)}
        others = {name: int(np.sum(self.predictions == name)) for name in (INVENTED, INEXACT)}
        return {name: (of_truth | others)[name] for name in CLASSES}


def classify(table: Contingency) -> Errors:
    """Say what became of every true and every predicted nucleus.

    The first rule that fits decides; "most" is more than half of the area.

    1. A pair whose IoU exceeds 0.5 is a **hit**.
    2. A prediction that covers most of each of two or more true nuclei **merges** them; those of
       them without a hit are merged.
    3. A true nucleus that holds most of each of two or more predictions is **split**; those of them
       without a hit, and without a merger of their own, are its pieces.
    4. A true nucleus that is left is **missed**.
    5. A prediction that is left and has most of itself in one true nucleus, or covers most of one,
       is **inexact**; any other is **invented**.

    So hits are the matches that F1 counts, and the other true nuclei and predictions are its misses
    and its false alarms.

    Parameters
    ----------
    table
        Of :func:`nucleigan.metrics.table.contingency`.
    """
    hits = pairs_above(table, 0.5)
    covered = table.overlap > MOST * table.truth_area[table.row]
    inside = table.overlap > MOST * table.prediction_area[table.column]
    merging = np.bincount(table.column[covered], minlength=table.predictions) >= 2
    splitting = np.bincount(table.row[inside], minlength=table.truths) >= 2

    truths = np.full(table.truths, MISSED, dtype="<U8")
    truths[splitting] = SPLIT
    truths[table.row[covered & merging[table.column]]] = MERGED
    truths[table.row[hits]] = HIT

    predictions = np.full(table.predictions, INVENTED, dtype="<U8")
    predictions[table.column[covered | inside]] = INEXACT
    predictions[table.column[inside & splitting[table.row]]] = SPLIT
    predictions[merging] = MERGED
    predictions[table.column[hits]] = HIT
    return Errors(truths, predictions)
