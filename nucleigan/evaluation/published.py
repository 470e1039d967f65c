"""Figures that others published, to stand beside ours.

Source: Mahmood et al. 2018, "Deep Adversarial Training for Multi-Organ Nuclei Segmentation in
Histopathology Images", table of AJI, average Hausdorff distance and F1 of nine organs. Both of the
latter have several definitions; which one the table means is not known. Its row "overall" is not
kept but computed: 11 of its 12 columns are the unweighted mean of the organs to 0.001, but Mask
R-CNN's Hausdorff distances give 7.241 where 7.136 is printed, and the gains in AJI are 45.20 % over
Mask R-CNN and 74.41 % over U-Net where 44.27 % and 73.19 % are printed.
"""

SOURCE = "Mahmood et al. 2018"
METHODS = ("proposed", "U-Net", "Mask R-CNN", "FCN")
ORGANS = (
    "breast",
    "ovary",
    "esophagus",
    "liver",
    "kidney",
    "prostate",
    "bladder",
    "colorectal",
    "stomach",
)

# Rows as in ORGANS, columns as in METHODS; Hausdorff distances in pixels.
_TABLE = {
    "aji": (
        (0.686, 0.485, 0.483, 0.339),
        (0.728, 0.471, 0.513, 0.322),
        (0.759, 0.392, 0.433, 0.293),
        (0.692, 0.422, 0.469, 0.364),
        (0.724, 0.532, 0.542, 0.472),
        (0.731, 0.276, 0.536, 0.281),
        (0.768, 0.491, 0.477, 0.461),
        (0.686, 0.218, 0.391, 0.247),
        (0.721, 0.437, 0.629, 0.383),
    ),
    "hausdorff": (
        (4.761, 7.927, 6.286, 8.17),
        (4.221, 8.142, 7.236, 8.48),
        (3.963, 8.349, 7.394, 8.71),
        (4.173, 7.463, 6.927, 7.93),
        (4.492, 6.858, 6.538, 7.34),
        (4.013, 8.347, 7.912, 8.94),
        (4.273, 7.423, 7.612, 7.11),
        (4.712, 8.729, 7.743, 9.27),
        (4.017, 7.314, 7.518, 7.52),
    ),
    "f1": (
        (0.881, 0.774, 0.749, 0.794),
        (0.876, 0.702, 0.725, 0.675),
        (0.891, 0.698, 0.733, 0.667),
        (0.794, 0.697, 0.741, 0.683),
        (0.829, 0.783, 0.779, 0.775),
        (0.857, 0.802, 0.784, 0.794),
        (0.904, 0.791, 0.769, 0.746),
        (0.836, 0.733, 0.691, 0.719),
        (0.922, 0.874, 0.843, 0.866),
    ),
}


def published(measure: str) -> dict[str, dict[str, float]]:
    """Published figures of ``aji``, ``hausdorff`` (pixels) or ``f1``: method to organ to figure.

    Empty for other measures.
    """
    rows = _TABLE.get(measure, ())
    return {
        method: {organ: row[column] for organ, row in zip(ORGANS, rows, strict=True)}
        for column, method in enumerate(METHODS)
        if rows
    }
