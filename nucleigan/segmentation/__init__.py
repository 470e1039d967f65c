"""Whole slides to nuclei: tiled inference, thresholds, the portable model file, export."""

from nucleigan.segmentation.export import outlines, write_geojson
from nucleigan.segmentation.given import take_model, take_reference
from nucleigan.segmentation.segmenter import Segmenter
from nucleigan.segmentation.stage import segment_file, segment_slide
from nucleigan.segmentation.thresholds import choose_thresholds, try_thresholds

__all__ = [
    "Segmenter",
    "choose_thresholds",
    "outlines",
    "segment_file",
    "segment_slide",
    "take_model",
    "take_reference",
    "try_thresholds",
    "write_geojson",
]
