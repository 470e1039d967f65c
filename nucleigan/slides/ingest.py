"""The slides stage: one slide from its file to the working magnification."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from nucleigan.artifacts import (
    atomic,
    file_digest,
    open_image,
    write_bands,
    write_image,
    write_json,
)
from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.figures.sheets import outline
from nucleigan.progress import progress
from nucleigan.slides.annotations import read_annotation
from nucleigan.slides.images import opened_level, read_header
from nucleigan.slides.resample import resample_labels, resampled, scaled_shape, shrunk
from nucleigan.slides.sheet import Slide, magnification_doubts
from nucleigan.slides.tissue import tissue_mask

PICTURE_SIDE = 800
# Twenty times a large nucleus, µm².
LARGEST_NUCLEUS = 2000
CONTOUR = (0, 255, 0)


def ingest(
    slide: Slide,
    image_output: str | Path,
    facts_output: str | Path,
    picture_output: str | Path,
    settings: IngestionSettings,
    labels_output: str | Path | None = None,
) -> None:
    """Check a slide's files and write them at the working magnification.

    Parameters
    ----------
    slide
        Row of the sample sheet.
    image_output, labels_output
        TIFF, (H, W, 3) uint8 and (H, W) int32; no label map without an annotation.
    facts_output
        JSON: hashes, size (pixels), magnification (µm per pixel), nuclei, warnings.
    picture_output
        PNG of at most 800 pixels, with the contours of the nuclei.
    settings
        Magnification and limits.

    Raises
    ------
    NucleiganError
        Names the slide or file, what was found, what was expected.
    """
    warnings: list[str] = []
    if not slide.image.is_file():
        raise NucleiganError(
            f"slide {slide.slide}: {slide.image}: there is no such image; check the sample sheet."
        )
    digest = _checked_hash(slide, slide.image, slide.sha256)
    header = read_header(slide.image, settings)
    mpp = _magnification(slide, header.mpp, settings.mpp, warnings)
    shape = scaled_shape(header.shape, mpp / settings.mpp)
    if shape[0] * shape[1] > settings.max_pixels:
        raise NucleiganError(
            f"slide {slide.slide}: {slide.image} has {shape[0]}×{shape[1]} pixels at "
            f"{settings.mpp:g} µm per pixel, more than the {settings.max_pixels} of "
            "ingestion.max_pixels; raise the limit, cut the image, or correct its `mpp`."
        )
    # The annotation first: it is the cheaper one to be wrong.
    labels = annotation_digest = None
    if labels_output is not None and slide.annotation is not None:
        # A missing one is told by its reader.
        if slide.annotation.is_file():
            annotation_digest = _checked_hash(slide, slide.annotation, slide.annotation_sha256)
        labels, remarks = read_annotation(slide.annotation, header.shape, settings, shape)
        warnings += remarks
    nuclei = None if labels is None else int(labels.max(initial=0))
    if nuclei == 0:
        warnings.append(f"{slide.annotation} annotates no nucleus")
    if labels is not None:
        warnings += _regions_among(labels, settings.mpp, str(slide.annotation))
    tissue = _write_slide(slide, image_output, shape, settings, mpp, warnings)
    if tissue == 0:
        warnings.append(f"{slide.image} is glass everywhere; it shows no tissue")
    for warning in warnings:
        print(f"warning: slide {slide.slide}: {warning}", flush=True)

    if labels_output is not None and labels is not None:
        write_image(labels_output, labels, settings.mpp)
    _write_picture(picture_output, image_output, labels)
    write_json(
        facts_output,
        {
            "slide": slide.slide,
            "source": slide.image.name,
            "annotation": slide.annotation.name if slide.annotation else None,
            "sha256": digest,
            "annotation_sha256": annotation_digest,
            "height": shape[0],
            "width": shape[1],
            "mpp": settings.mpp,
            "source_height": header.shape[0],
            "source_width": header.shape[1],
            "source_mpp": mpp,
            "nuclei": nuclei,
            "tissue_fraction": round(tissue, 4),
            "warnings": warnings,
        },
    )


def _regions_among(labels: np.ndarray, mpp: float, name: str) -> list[str]:
    """What is said of annotated areas that are too large for a nucleus, such as a tumour's."""
    areas = np.bincount(labels.ravel())[1:] * mpp**2
    regions = int((areas > LARGEST_NUCLEUS).sum())
    if not regions:
        return []
    rows, columns = np.nonzero(labels == 1 + int(areas.argmax()))
    return [
        f"{name}: {regions} of {len(areas)} nuclei are larger than {LARGEST_NUCLEUS:,} µm², as "
        f"no nucleus is; the largest, {areas.max():,.0f} µm², lies around "
        f"x = {columns.mean():.0f}, y = {rows.mean():.0f} at {mpp:g} µm per "
        "pixel: each outline or label is taken for one, so leave out those of regions"
    ]


def _checked_hash(slide: Slide, path: Path, expected: str | None) -> str:
    digest = file_digest(path)
    if expected is not None and digest != expected:
        raise NucleiganError(
            f"slide {slide.slide}: {path} has the SHA-256 {digest}, but the sample sheet expects "
            f"{expected}; fetch the file again, or correct the sheet if the new one is meant."
        )
    return digest


def _magnification(
    slide: Slide, stated: float | None, working: float, warnings: list[str]
) -> float:
    """The sheet's µm per pixel, else the file's."""
    mpp = stated if slide.mpp is None else slide.mpp
    if mpp is None:
        raise NucleiganError(
            f"slide {slide.slide}: neither the sample sheet nor {slide.image} says how many µm "
            "a pixel has; fill in the column `mpp`."
        )
    warnings += magnification_doubts(slide.image, stated, mpp, working, "the sample sheet")
    return mpp


def _write_slide(
    slide: Slide,
    output: str | Path,
    shape: tuple[int, int],
    settings: IngestionSettings,
    mpp: float,
    warnings: list[str],
) -> float:
    """Write the image at the working magnification; the part of it that is tissue."""
    tissue = 0

    def counted(rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal tissue
        for band in rows:
            tissue += int(np.count_nonzero(tissue_mask(band)))
            yield band

    with opened_level(slide.image, settings.mpp / mpp, settings) as level:
        warnings += level.warnings
        rows = counted(resampled(level.picture, shape, level.extent))
        rows = progress(rows, shape[0], "rows read", len)
        write_bands(output, (*shape, 3), np.uint8, rows, settings.mpp)
    return tissue / (shape[0] * shape[1])


def _write_picture(path: str | Path, image: str | Path, labels: np.ndarray | None) -> None:
    from PIL import Image

    with open_image(image) as pixels:
        picture = shrunk(pixels, PICTURE_SIDE)
    if labels is not None:
        picture = outline(picture, resample_labels(labels, picture.shape[:2]), CONTOUR)
    with atomic(path) as temporary:
        Image.fromarray(picture).save(temporary)
