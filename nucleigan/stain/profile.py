"""What is known of a slide's stains."""

from dataclasses import dataclass
from typing import Any

import numpy as np

STAINS = ("haematoxylin", "eosin")
# Optical densities of red, green and blue as unit rows: the reference of Macenko et al. 2009. The
# stains of the 30 Kumar tiles lie 4° and 6° from it on average, but 11° and 28° from the vectors of
# Ruifrok & Johnston 2001, whose eosin holds almost no blue.
_MACENKO = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
TEXTBOOK = _MACENKO / np.linalg.norm(_MACENKO, axis=1, keepdims=True)


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
    """

    matrix: np.ndarray
    percentiles: np.ndarray
    warnings: tuple[str, ...] = ()

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
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StainProfile":
        """From :meth:`as_dict`; further keys are ignored."""
        return cls(
            np.array(values["matrix"], np.float64),
            np.array(values["percentiles"], np.float64),
            tuple(values.get("warnings", ())),
        )


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Degrees between the rows of two matrices of unit rows."""
    return np.degrees(np.arccos(np.clip((one * other).sum(axis=1), -1.0, 1.0)))
