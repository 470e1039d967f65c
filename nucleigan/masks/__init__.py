"""Label maps, their encodings as mask images, the way back, and random polygon maps."""

from nucleigan.masks.decoding import decode
from nucleigan.masks.encoding import channels, encode
from nucleigan.masks.polygons import (
    fit_polygons,
    fit_sampler,
    polygon_sheet,
    sample_polygons,
    write_polygons,
)

__all__ = [
    "channels",
    "decode",
    "encode",
    "fit_polygons",
    "fit_sampler",
    "polygon_sheet",
    "sample_polygons",
    "write_polygons",
]
