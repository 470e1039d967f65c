"""What is known of a slide's stains."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nucleigan.slides.tissue import MOST_BLACK
from nucleigan.stain.vectors import TEXTBOOK

STAINS = ("haematoxylin", "eosin")


@dataclass(frozen=True)
class StainProfile:
    """Stains of one slide.

    Attributes
    ----------
    matrix
        (2, 3) float64: unit optical densities of red, green and blue; haematoxylin, eosin.
    percentiles
        (2,) float64: high percentile of each stain's concentration in tissue, optical density.
    warnings
        What makes the estimate doubtful, in words.
    black
        The part of the slide that is black, 0 to 1.
    """

    matrix: np.ndarray
    percentiles: np.ndarray
    warnings: tuple[str, ...] = ()
    black: float = 0.0

    @property
    def padded(self) -> bool:
        """Whether there is so much black that it is no part of the slide."""
        return self.black > MOST_BLACK

    @property
    def angles(self) -> np.ndarray:
        """(2,) degrees between each stain and the textbook's."""
        return angles(self.matrix, TEXTBOOK)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; floats keep all their digits."""
        return {
            "matrix": self.matrix.tolist(),
            "percentiles": self.percentiles.tolist(),
            "angles_to_textbook": self.angles.round(3).tolist(),
            "warnings": list(self.warnings),
            "black": round(self.black, 6),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StainProfile":
        """From :meth:`as_dict`; further keys are ignored."""
        return cls(
            np.array(values["matrix"], np.float64),
            np.array(values["percentiles"], np.float64),
            tuple(values.get("warnings", ())),
            float(values.get("black", 0.0)),
        )


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Degrees between the rows of two matrices of unit rows."""
    return np.degrees(np.arccos(np.clip((one * other).sum(axis=1), -1.0, 1.0)))
