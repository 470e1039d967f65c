"""A sample sheet from the folder layouts in which the Kumar / MoNuSeg tiles are published."""

from pathlib import Path

from nucleigan.artifacts import file_digest
from nucleigan.errors import NucleiganError
from nucleigan.slides.sheet import Slide

# Organ, then training and test tiles, of Kumar et al. 2017, IEEE TMI 36(7), table II. "Liver" is
# theirs; archive records of some of these patients say lung.
KUMAR: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "breast": (
        ("A7-A13E", "AR-A1AK", "AR-A1AS", "E2-A14V"),
        ("A7-A13F", "E2-A1B5"),
    ),
    "kidney": (
        ("B0-5711", "HE-7128", "HE-7129", "HE-7130"),
        ("B0-5698", "B0-5710"),
    ),
    "liver": (
        ("18-5592", "21-5784", "38-6178", "50-5931"),
        ("21-5786", "49-4488"),
    ),
    "prostate": (
        ("G9-6348", "G9-6356", "G9-6362", "G9-6363"),
        ("CH-5767", "G9-6336"),
    ),
    "bladder": ((), ("DK-A2I6", "G2-A2EK")),
    "colon": ((), ("AY-A8YK", "NH-A8F7")),
    "stomach": ((), ("KB-A93J", "RD-A8N9")),
}
# Organs of the challenge's own test tiles: their numbers of Kumar et al. 2020, IEEE TMI 39(5), the
# tiles by the tissue source site in their names (code tables of the Genomic Data Commons).
CHALLENGE = {
    "bladder": ("CU-A0YN", "ZF-A9R5"),
    "brain": ("FG-A4MU", "HT-8564"),
    "breast": ("AC-A2FO", "AO-A0J2"),
    "colon": ("A6-6782",),
    "kidney": ("2Z-A9J9", "GL-6846", "IZ-8196"),
    "lung": ("44-2665", "69-7764"),
    "prostate": ("EJ-A46H", "HC-7209"),
}
IMAGES, ANNOTATIONS = "Tissue Images", "Annotations"
MPP = 0.25


def monuseg_sheet(folder: str | Path) -> tuple[list[Slide], list[str]]:
    """Slides of a MoNuSeg download, with organ and split of Kumar et al. where known.

    Parameters
    ----------
    folder
        Holds ``Tissue Images/*.tif`` and ``Annotations/*.xml``, as the training data do, or both
        side by side, as the test data do.

    Returns
    -------
    Slides with hashes, and warnings for names that are neither among the 30 nor among the
    challenge's test tiles; those become test slides of the organ ``unknown``.
    """
    folder = Path(folder)
    images, annotations = sorted((folder / IMAGES).glob("*.tif")), folder / ANNOTATIONS
    if not images:
        images, annotations = sorted(folder.glob("*.tif")), folder
    if not images:
        raise NucleiganError(
            f"{folder}: holds no `{IMAGES}/*.tif` and no `*.tif`; give the unpacked folder of the "
            "download."
        )
    known = {
        tile: (organ, split)
        for organ, splits in KUMAR.items()
        for split, tiles in zip(("train", "test"), splits, strict=True)
        for tile in tiles
    } | {tile: (organ, "test") for organ, tiles in CHALLENGE.items() for tile in tiles}
    slides, warnings = [], []
    for image in images:
        tile = "-".join(image.stem.split("-")[1:3])
        if tile not in known:
            warnings.append(
                f"{image.name} is no tile of Kumar et al. or of the challenge's test; check its row"
            )
        organ, split = known.get(tile, ("unknown", "test"))
        annotation = annotations / f"{image.stem}.xml"
        if not annotation.is_file() and split == "train":
            raise NucleiganError(f"{annotation}: is missing; the training tile needs it.")
        slides.append(
            Slide(
                slide=image.stem,
                organ=organ,
                split=split,
                image=image,
                annotation=annotation if annotation.is_file() else None,
                mpp=MPP,
                sha256=file_digest(image),
                annotation_sha256=file_digest(annotation) if annotation.is_file() else None,
                patient="-".join(image.stem.split("-")[:3]) if tile in known else None,
            )
        )
    return slides, warnings
