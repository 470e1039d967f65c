"""Write a phantom as a slide that came from a scanner, with its annotation."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from nucleigan.artifacts import atomic, write_image
from nucleigan.config import PhantomSettings
from nucleigan.errors import NucleiganError
from nucleigan.phantoms.render import render
from nucleigan.slides.sheet import Slide


def draw_phantom(slide: Slide, seed: int, settings: PhantomSettings) -> None:
    """Draw one phantom as TIFF, and the outlines of its nuclei as Aperio XML.

    Parameters
    ----------
    slide
        Name, organ and the two files.
    seed
        The experiment's seed.
    settings
        Size, magnification, noise.
    """
    if slide.annotation is None:
        raise NucleiganError(f"{slide.slide}: a phantom needs a place for its annotation.")
    phantom = render(seed, slide.slide, slide.organ, settings)
    write_image(slide.image, phantom.image, settings.mpp)
    write_aperio(slide.annotation, phantom.polygons, settings.mpp)


def write_aperio(path: str | Path, polygons: list[np.ndarray], mpp: float) -> None:
    """Write outlines as Aperio ImageScope XML.

    Parameters
    ----------
    path
        Where to.
    polygons
        Each (V, 2), x and y with the centre of the first pixel at 0; the file is 1-based.
    mpp
        µm per pixel.
    """
    root = ElementTree.Element("Annotations", MicronsPerPixel=f"{mpp:g}")
    annotation = ElementTree.SubElement(root, "Annotation", Id="1", Name="nuclei")
    regions = ElementTree.SubElement(annotation, "Regions")
    for number, polygon in enumerate(polygons, 1):
        region = ElementTree.SubElement(regions, "Region", Id=str(number), NegativeROA="0")
        vertices = ElementTree.SubElement(region, "Vertices")
        for x, y in polygon + 1.0:
            ElementTree.SubElement(vertices, "Vertex", X=f"{x:.3f}", Y=f"{y:.3f}", Z="0")
    with atomic(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)
