"""What the phantoms of each organ look like, and which slides there are.

Lengths are pixels at 40× (0.25 µm). The figures are drawn by eye after textbook histology; they
give each organ its architecture, not a model of it.
"""

from dataclasses import dataclass
from typing import Literal

Layout = Literal["glands", "nests", "layers", "cords", "fascicles"]


@dataclass(frozen=True)
class Organ:
    """Architecture, nuclei and cytoplasm of one organ.

    Attributes
    ----------
    layout : arrangement of the epithelium.
    radius : radius of a gland, nest or tubule, or distance between sinusoids.
    gap : width of the stroma between them.
    height : thickness of the epithelium; infinite for solid nests.
    band : depths above the basement membrane at which nuclei lie.
    diameter, elongation : of epithelial nuclei.
    spacing : distance between neighbouring nuclei, in diameters.
    radial : nuclei stand along the depth of the epithelium (columnar) or lie anywhere.
    chromatin : haematoxylin of epithelial nuclei, optical density at strength 1.
    vesicular : 0 solid, 1 pale inside with a dark rim.
    nucleoli : fraction of nuclei with nucleoli.
    eosin : of the cytoplasm. basophilia : haematoxylin of the cytoplasm.
    clear : how pale the cytoplasm is inside its membranes, 0 to 1.
    granules : strength of the cytoplasm's granules.
    stromal : stromal nuclei per 100×100 pixels of stroma. lymphocytes : fraction of these.
    collagen : eosin of the stroma.
    """

    layout: Layout
    radius: float
    gap: float
    height: float
    band: tuple[float, float]
    diameter: float
    elongation: float
    spacing: float
    radial: bool
    chromatin: float
    vesicular: float
    nucleoli: float
    eosin: float
    basophilia: float
    clear: float
    granules: float
    stromal: float
    lymphocytes: float
    collagen: float


SOLID = float("inf")
ORGANS = {
    "breast": Organ(
        "nests", 88, 26, SOLID, (7, SOLID), 25, 1.22, 1.28, False,
        1.05, 0.7, 0.5, 0.50, 0.26, 0.1, 0.10, 3.6, 0.35, 0.75,
    ),
    "liver": Organ(
        "cords", 66, 8, SOLID, (5, SOLID), 25, 1.08, 1.75, False,
        1.15, 0.7, 0.9, 0.66, 0.12, 0.3, 0.16, 3.0, 0.30, 0.55,
    ),
    "kidney": Organ(
        "glands", 58, 6, 38, (9, 21), 20, 1.12, 1.35, False,
        1.2, 0.4, 0.4, 0.70, 0.10, 0.25, 0.14, 4.0, 0.15, 0.60,
    ),
    "prostate": Organ(
        "glands", 112, 30, 50, (9, 20), 21, 1.15, 1.12, False,
        1.0, 0.6, 0.5, 0.46, 0.14, 0.6, 0.12, 2.4, 0.10, 0.80,
    ),
    "bladder": Organ(
        "layers", 0, 0, 175, (8, 160), 23, 1.40, 1.32, True,
        1.05, 0.45, 0.3, 0.52, 0.22, 0.2, 0.10, 3.0, 0.35, 0.70,
    ),
    "colorectal": Organ(
        "glands", 118, 24, 66, (9, 34), 22, 1.75, 1.0, True,
        1.25, 0.3, 0.3, 0.46, 0.24, 0.35, 0.10, 4.0, 0.65, 0.60,
    ),
    "stomach": Organ(
        "glands", 66, 24, 42, (8, 17), 20, 1.2, 1.08, False,
        1.1, 0.4, 0.3, 0.44, 0.18, 0.5, 0.12, 6.0, 0.75, 0.55,
    ),
    "esophagus": Organ(
        "layers", 0, 0, 300, (7, 285), 23, 1.25, 1.5, False,
        1.0, 0.5, 0.4, 0.58, 0.14, 0.35, 0.08, 3.0, 0.35, 0.75,
    ),
    "ovary": Organ(
        "fascicles", 70, 80, SOLID, (7, SOLID), 23, 1.2, 1.25, False,
        1.05, 0.6, 0.5, 0.46, 0.24, 0.1, 0.10, 9.0, 0.08, 0.62,
    ),
}  # fmt: skip

# The method's split: four training slides of each of these; numbers of test slides below.
TRAIN = ("breast", "liver", "kidney", "prostate")
TEST = {
    "breast": 2,
    "liver": 2,
    "kidney": 2,
    "prostate": 2,
    "bladder": 2,
    "colorectal": 2,
    "stomach": 2,
    "esophagus": 1,
    "ovary": 1,
}
