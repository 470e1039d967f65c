"""Endings of image files, which tell their formats.

Those of annotations are the keys of the tables of readers in :mod:`nucleigan.slides.annotations`.
"""

from collections.abc import Collection
from pathlib import Path

from nucleigan.errors import NucleiganError, shown

TIFF = frozenset({".tif", ".tiff", ".svs", ".ndpi", ".btf"})
# Without a place for the magnification that anyone would fill in.
PILLOW = frozenset({".png", ".jpg", ".jpeg"})
IMAGES = TIFF | PILLOW


def ending(path: Path) -> str:
    """In small letters, with its dot."""
    return path.suffix.lower()


def check_ending(path: Path, known: Collection[str], where: str) -> None:
    """Raise where a file's ending is none of those known; ``where`` begins the sentence."""
    if ending(path) not in known:
        raise NucleiganError(
            f"{where}: the ending {shown(ending(path))!r} is not known; use "
            f"{', '.join(sorted(known))}."
        )
