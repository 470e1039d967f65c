"""A picture by which people judge the synthetic pairs."""

from pathlib import Path

import numpy as np

from nucleigan.figures.sheets import contact_sheet, outline
from nucleigan.training.data import Patches

COLUMNS = 8
CONTOUR = (0, 158, 115)


def sheet(
    images: list[str], labels: list[str], real_images: str | Path, output: str | Path
) -> None:
    """Rows of synthetic images, the same with their polygons, and real patches below.

    Parameters
    ----------
    images, labels
        Stacks of the synthetic pairs.
    real_images
        Stack of real patches to compare with by eye.
    output
        PNG.
    """
    painted, drawn, real = Patches.open(images), Patches.open(labels), Patches.open([real_images])
    chosen = np.linspace(0, len(painted) - 1, min(COLUMNS, len(painted))).astype(int)
    pictures = [painted[n] for n in chosen]
    pictures += [outline(painted[n], drawn[n], CONTOUR) for n in chosen]
    pictures += [real[n] for n in np.linspace(0, len(real) - 1, len(chosen)).astype(int)]
    contact_sheet(pictures, output, columns=len(chosen))
