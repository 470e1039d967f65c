"""Whole slides to nuclei: tiled inference, the portable model file, export."""

from nucleigan.segmentation.export import outlines, write_geojson
from nucleigan.segmentation.segmenter import Segmenter
from nucleigan.segmentation.stage import segment_slides

__all__ = ["Segmenter", "outlines", "segment_slides", "write_geojson"]
