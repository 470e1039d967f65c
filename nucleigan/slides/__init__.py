"""Slides and annotations of many formats, at one working magnification."""

from nucleigan.slides.annotations import read_annotation, read_labels
from nucleigan.slides.images import read_image, read_mpp
from nucleigan.slides.ingest import ingest
from nucleigan.slides.monuseg import monuseg_sheet
from nucleigan.slides.sheet import Slide, check_slides, hold_out, read_sheet, write_sheet
from nucleigan.slides.tissue import tissue_mask

__all__ = [
    "Slide",
    "check_slides",
    "hold_out",
    "ingest",
    "monuseg_sheet",
    "read_annotation",
    "read_image",
    "read_labels",
    "read_mpp",
    "read_sheet",
    "tissue_mask",
    "write_sheet",
]
