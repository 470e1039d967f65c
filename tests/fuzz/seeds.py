"""Valid files to mutate: small ones made here, and real ones where they are at hand."""

import io
import json
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from readers import IDENTITY, SHAPE
from scipy.io import savemat

from nucleigan.artifacts import write_image, write_json, write_stack
from nucleigan.defaults import default_yaml

PIXELS = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
LABELS = np.zeros(SHAPE, np.uint16)
LABELS[3:12, 4:20] = 1
LABELS[20:33, 8:30] = 2
# Real files beyond this take too long to be read often, bytes.
LARGEST = 4_500_000
Seed = tuple[str, bytes]


def seeds(reader: str, folder: Path, real: Path | None) -> list[Seed]:
    """Endings and contents of valid files of a reader.

    Parameters
    ----------
    reader
        Name of a reader.
    folder
        For files that cannot be made in memory.
    real
        Folder of real slides, None to do without.
    """
    return MADE[reader](folder) + (_real(reader, real) if real else [])


def _real(reader: str, folder: Path) -> list[Seed]:
    paths = [path for pattern in REAL.get(reader, ()) for path in sorted(folder.glob(pattern))[:2]]
    return [(path.suffix, path.read_bytes()[:LARGEST]) for path in paths]


REAL = {
    "tiff": ["slides/*.svs", "kumar/images/*.tif"],
    "png": ["stain/*.png"],
    "aperio": ["slides/*.xml", "kumar/annotations/*.xml"],
    "sheet": ["kumar/slides.csv"],
    "table": ["kumar/slides.csv"],
}


def _tiff(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def _tiffs(_: Path) -> list[Seed]:
    options = [
        {},
        {"rowsperstrip": 5},
        {"bigtiff": True, "compression": "zlib"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib", "tile": (16, 16)},
        {"compression": "packbits"},
        {"compression": "zstd"},
        {"compression": "jpeg", "tile": (16, 16)},
        {"compression": "jpeg2000", "tile": (16, 16)},
        {"ome": True},
        {"imagej": True},
        {"byteorder": ">"},
        {"description": "Aperio Image Library v12\n|AppMag = 20|MPP = 0.4990"},
    ]
    found = [_tiff(PIXELS, photometric="rgb", **one) for one in options]
    found.append(_tiff(PIXELS.astype(np.uint16), photometric="rgb"))
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(PIXELS, photometric="rgb", tile=(16, 16), subifds=1)
        file.write(PIXELS[::2, ::2], photometric="rgb", tile=(16, 16), subfiletype=1)
    return [(".tif", content) for content in [*found, stream.getvalue()]]


def _picture(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _pngs(_: Path) -> list[Seed]:
    image = Image.fromarray(PIXELS)
    alpha = np.dstack([PIXELS, PIXELS[..., 0]])
    images = [image, Image.fromarray(alpha), image.quantize(16), image.convert("L")]
    found = [_picture(one, "PNG") for one in images]
    from imagecodecs import png_encode

    return [(".png", content) for content in [*found, png_encode(PIXELS.astype(np.uint16) * 257)]]


def _jpegs(_: Path) -> list[Seed]:
    image = Image.fromarray(PIXELS)
    return [
        (".jpg", _picture(image, "JPEG")),
        (".jpg", _picture(image, "JPEG", progressive=True, quality=95)),
        (".jpg", _picture(image.convert("CMYK"), "JPEG")),
        (".jpg", _picture(image.convert("L"), "JPEG")),
    ]


def _aperio(_: Path) -> list[Seed]:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in RING)
    region = '<Region Id="{}" NegativeROA="{}"><Attributes/><Vertices>{}</Vertices></Region>'
    regions = "".join(region.format(n, int(n == 3), vertices) for n in (1, 2, 3))
    text = '<?xml version="1.0" encoding="UTF-8"?><Annotations MicronsPerPixel="0.25">'
    text += f"<Annotation><Regions>{regions}</Regions></Annotation></Annotations>"
    return [(".xml", text.encode()), (".xml", text.replace("UTF-8", "UTF-16").encode("utf-16"))]


RING = [(5, 5), (20, 6.5), (22.25, 18), (12, 25), (4, 16)]


def _geojson(_: Path) -> list[Seed]:
    ring = [*map(list, RING), list(RING[0])]
    hole = [[10, 10], [14, 10], [14, 14]]
    cell = {
        "type": "Feature",
        "id": "c1",
        "geometry": {"type": "Polygon", "coordinates": [ring, hole]},
        "nucleusGeometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "cell"},
    }
    several = {
        "type": "Feature",
        "geometry": {"type": "MultiPolygon", "coordinates": [[ring], [hole]]},
        "properties": {"objectType": "annotation", "name": "a"},
    }
    contents = [{"type": "FeatureCollection", "features": [cell, several]}, [several], cell]
    return [(".geojson", json.dumps(content).encode()) for content in contents]


def _label_pngs(_: Path) -> list[Seed]:
    images = [Image.fromarray(LABELS), Image.fromarray(LABELS.astype(np.uint8))]
    return [(".png", _picture(image, "PNG")) for image in images]


def _label_tiffs(_: Path) -> list[Seed]:
    kinds = [np.uint8, np.uint16, np.int32, np.float32]
    options = [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}]
    pairs = zip(kinds, options, strict=True)
    return [(".tif", _tiff(LABELS.astype(kind), **options)) for kind, options in pairs]


def _npys(_: Path) -> list[Seed]:
    found = []
    for labels in (LABELS, LABELS.astype(">i4"), np.asfortranarray(LABELS.astype(np.float64))):
        stream = io.BytesIO()
        np.save(stream, labels)
        found.append((".npy", stream.getvalue()))
    return found


def _mats(folder: Path) -> list[Seed]:
    found = []
    variables = {"inst_map": LABELS, "type": np.ones((3, 1)), "name": "x", "cells": {"a": LABELS}}
    for number, options in enumerate([{}, {"do_compression": True}, {"format": "4"}]):
        path = folder / f"{number}.mat"
        plain = {"inst_map": LABELS.astype(float), "name": "x"}
        savemat(path, plain if "format" in options else variables, **options)
        found.append((".mat", path.read_bytes()))
    return found


def _sheets(_: Path) -> list[Seed]:
    text = (
        "slide,organ,split,image,annotation,mpp,sha256\n"
        f"a,liver,train,a.tif,a.xml,0.25,{'0f' * 32}\n"
        'b,"skin, left",test,"/x/b.svs",,,\n'
        "c.1_2-3,liver,val,../c.png,c.npy,0.5,\n"
    )
    return [(".csv", text.encode())]


def _tables(_: Path) -> list[Seed]:
    text = 'slide,organ,aji,nuclei,best\na,liver,0.625,40,\n"b, c",skin,1e-3,7,0.5\n'
    return [(".csv", text.encode())]


def _configurations(_: Path) -> list[Seed]:
    text = "base: &a {size: 256}\npatches: *a\nseed: 3\n"
    return [
        (".yaml", default_yaml().encode()),
        (
            ".yaml",
            text.replace("base: &a {size: 256}\n", "").replace("*a", "&a {size: 64}").encode(),
        ),
        (".yaml", b"seed: 1\nstain: {sparsity: 1.0e-3}\nsegmentation: {seeds: [0, 1]}\n"),
    ]


def _models(folder: Path) -> list[Seed]:
    from nucleigan import masks
    from nucleigan.config import GeneratorSettings, MaskSettings, PredictionSettings, StainSettings
    from nucleigan.models.weights import write_weights
    from nucleigan.networks import build_generator

    settings = GeneratorSettings(kind="unet", width=4, depth=2)
    facts = {
        "kind": "segmenter",
        "method": "cgan",
        "masks": MaskSettings().model_dump(mode="json"),
        "generator": settings.model_dump(mode="json"),
        "stain": StainSettings(iterations=2).model_dump(mode="json"),
        "mpp": 0.25,
        "prediction": PredictionSettings().model_dump(mode="json"),
    }
    network = build_generator(settings, 3, masks.channels(MaskSettings()))
    reference = {"matrix": [[0.6, 0.7, 0.3], [0.2, 0.9, 0.2]], "percentiles": [1.0, 1.0]}
    found = []
    for one in (None, reference):
        path = folder / "model.safetensors"
        told = {**facts, "stain_reference": one, "training": {"data": "both", "seed": 0}}
        write_weights(path, network.state_dict(), told)
        found.append((".safetensors", path.read_bytes()))
    return found


def _artifacts(folder: Path) -> list[Seed]:
    found = []
    for pixels in (PIXELS, LABELS.astype(np.int32)):
        write_image(folder / "image.tif", pixels, 0.25)
        found.append((".tif", (folder / "image.tif").read_bytes()))
    return found


def _stacks(folder: Path) -> list[Seed]:
    found = []
    for item in (PIXELS, LABELS.astype(np.int32)):
        write_stack(folder / "stack.tif", (3, *item.shape), item.dtype, [item] * 3)
        found.append((".tif", (folder / "stack.tif").read_bytes()))
    return found


def _facts(folder: Path) -> list[Seed]:
    write_json(folder / "facts.json", {"matrix": np.eye(2), "slide": "µ", "warnings": [None, 1e-9]})
    return [(".json", (folder / "facts.json").read_bytes())]


def _checkpoints(folder: Path) -> list[Seed]:
    import torch

    from nucleigan.training import checkpoint

    state = {"networks": {"a": torch.arange(6.0), 3: [torch.ones(2, 2), None, 0.5]}, "step": 7}
    checkpoint.save(folder, state, IDENTITY)
    return [(".safetensors", (folder / checkpoint.CURRENT).read_bytes())]


MADE = {
    "tiff": _tiffs,
    "png": _pngs,
    "jpeg": _jpegs,
    "aperio": _aperio,
    "geojson": _geojson,
    "label png": _label_pngs,
    "label tiff": _label_tiffs,
    "npy": _npys,
    "mat": _mats,
    "sheet": _sheets,
    "configuration": _configurations,
    "model": _models,
    "application": _models,
    "artifact": _artifacts,
    "stack": _stacks,
    "json": _facts,
    "table": _tables,
    "checkpoint": _checkpoints,
}
