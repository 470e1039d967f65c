"""Which phantom slides there are; light enough to be imported by the workflow itself."""

from pathlib import Path

from nucleigan.config import PhantomSettings
from nucleigan.phantoms.organs import TEST, TRAIN
from nucleigan.slides.sheet import Slide


def phantom_slides(settings: PhantomSettings, folder: str | Path) -> list[Slide]:
    """The slides of the demo, in the method's split; nothing is drawn.

    Parameters
    ----------
    settings
        Training slides an organ, magnification.
    folder
        Where images and annotations will lie.
    """
    folder = Path(folder)
    slides = []
    for organ, tested in TEST.items():
        trained = settings.train_per_organ if organ in TRAIN else 0
        for number in range(1, trained + tested + 1):
            name = f"phantom-{organ}-{number:02d}"
            slides.append(
                Slide(
                    slide=name,
                    organ=organ,
                    split="train" if number <= trained else "test",
                    image=folder / "images" / f"{name}.tif",
                    annotation=folder / "annotations" / f"{name}.xml",
                    mpp=settings.mpp,
                )
            )
    return slides
