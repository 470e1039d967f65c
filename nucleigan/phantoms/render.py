"""One phantom: a picture whose nuclei and stains are known exactly."""

from dataclasses import dataclass

import numpy as np

from nucleigan.config import PhantomSettings
from nucleigan.errors import NucleiganError
from nucleigan.phantoms import layout, nuclei, staining
from nucleigan.phantoms.organs import ORGANS
from nucleigan.randomness import generator

MARGIN = 28  # pixels drawn around the picture, so that nuclei are cut by its border


@dataclass(frozen=True)
class Phantom:
    """A drawn slide and its ground truth.

    Attributes
    ----------
    image : (H, W, 3) uint8.
    labels : (H, W) int32, 0 background, ids consecutive from 1.
    polygons : one (V, 2) array of x and y per id, pixel centres at whole numbers from 0; a polygon
        that the border cuts reaches beyond it.
    stain_matrix : (2, 3), rows haematoxylin and eosin of length 1, columns red, green and blue;
        natural optical density per unit of concentration.
    concentrations : (H, W, 2) float32, before blur and noise.
    """

    image: np.ndarray
    labels: np.ndarray
    polygons: list[np.ndarray]
    stain_matrix: np.ndarray
    concentrations: np.ndarray


def render(seed: int, name: str, organ: str, settings: PhantomSettings) -> Phantom:
    """Draw one phantom; a function of its arguments alone.

    Parameters
    ----------
    seed
        The experiment's seed.
    name
        The slide's name; each name is another phantom.
    organ
        One of ``organs.ORGANS``.
    settings
        Size and noise.

    Raises
    ------
    NucleiganError
        Unknown organ.
    """
    if organ not in ORGANS:
        raise NucleiganError(
            f"{name}: no phantom is known of organ `{organ}`; use one of {', '.join(ORGANS)}."
        )
    rng = generator(seed, "phantom", name)
    plan = ORGANS[organ]
    matrix = staining.stain_matrix(rng)
    strength = np.exp(0.16 * np.clip(rng.standard_normal(2), -2, 2)).astype(np.float32)
    tissue = layout.build(rng, plan, settings.size + 2 * MARGIN)
    placed = nuclei.place(rng, plan, tissue)
    visible = nuclei.crop(placed, MARGIN)
    amounts = staining.concentrations(rng, plan, tissue, placed) * strength
    image = staining.photograph(rng, amounts, matrix, settings.noise)
    inner = slice(MARGIN, -MARGIN)
    return Phantom(
        image=np.ascontiguousarray(image[inner, inner]),
        labels=visible.labels,
        polygons=list(visible.polygons),
        stain_matrix=matrix,
        concentrations=amounts[inner, inner],
    )
