"""A slide that is larger than memory gives what it gives in memory, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import center_of_mass
from shapely.geometry import shape

from nucleigan import artifacts
from nucleigan.config import (
    ComputeSettings,
    DecodingSettings,
    IngestionSettings,
    MaskSettings,
    PhantomSettings,
    StainSettings,
)
from nucleigan.errors import NucleiganError
from nucleigan.masks.streaming import nuclei_of
from nucleigan.metrics import aggregated_jaccard
from nucleigan.models.weights import read_weights, write_weights
from nucleigan.phantoms.render import render
from nucleigan.segmentation import segment_file, segment_slide
from nucleigan.segmentation import segmenter as segmenters
from nucleigan.slides import ingest, read_image
from nucleigan.slides.sheet import Slide
from nucleigan.stain import choose_reference, normalize_slide, profile_slide

MODEL = Path(__file__).parents[2] / "models/kumar-cpu.safetensors"
COMPUTE = ComputeSettings(device="cpu", precision="float32", threads=1)
SIDE, GLASS = 420, 500
MPP = 0.25


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model that comes with the package, over small tiles."""
    tensors, facts = read_weights(MODEL)
    facts["prediction"] |= {"tile": 192, "tile_overlap": 64, "views": 1}
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    write_weights(path, tensors, facts)
    return path


@pytest.fixture(scope="module")
def phantom():
    return render(5, "test", "liver", PhantomSettings(size=SIDE))


@pytest.fixture(scope="module")
def slide(phantom, tmp_path_factory):
    """Tissue with glass to its right, in a file of small tiles."""
    image = np.full((SIDE, SIDE + GLASS, 3), 244, np.uint8)
    image[:, :SIDE] = phantom.image
    path = tmp_path_factory.mktemp("slide") / "phantom.tif"
    tifffile.imwrite(
        path, image, photometric="rgb", tile=(64, 64), compression="zlib", metadata=None
    )
    return Slide(slide="phantom", organ="liver", split="test", image=path, mpp=MPP / 2)


def run(folder, slide, model, mpp=MPP / 2):
    """Every stage from a file to its nuclei; all files by name."""
    folder.mkdir()
    ingest(
        slide,
        folder / "image.tif",
        folder / "slide.json",
        folder / "slide.png",
        IngestionSettings(mpp=mpp),
    )
    stain = StainSettings()
    profile_slide("phantom", folder / "image.tif", folder / "profile.json", stain)
    choose_reference([folder / "profile.json"], folder / "reference.json", stain)
    normalize_slide(
        "phantom",
        folder / "image.tif",
        folder / "profile.json",
        folder / "reference.json",
        folder / "normalized.tif",
        folder / "stain.json",
        folder / "stain.png",
        stain,
        MPP,
    )
    segment_slide(
        model,
        folder / "normalized.tif",
        folder / "slide.json",
        None,
        folder / "labels.tif",
        folder / "nuclei.geojson",
        folder / "overlay.png",
        COMPUTE,
    )
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_no_file_knows_how_it_was_read(slide, model, phantom, tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", slide, model)

    def never(*_):
        raise AssertionError("the whole slide was decoded at once")

    monkeypatch.setattr(artifacts, "IN_MEMORY", 0)
    monkeypatch.setattr(segmenters.Segmenter, "predict", never)
    bands = run(tmp_path / "bands", slide, model)
    assert bands.keys() == whole.keys()
    assert [name for name in whole if bands[name] != whole[name]] == []

    labels = tifffile.imread(tmp_path / "bands/labels.tif")
    # The tissue's nuclei are found, each once although tiles cut many, and none on the glass.
    assert aggregated_jaccard(phantom.labels, labels[:, :SIDE]) > 0.5
    assert not labels[:, SIDE + 32 :].any()
    features = json.loads(bands["nuclei.geojson"])["features"]
    assert len(features) == labels.max() > 50


def test_the_outlines_lie_over_the_slide_of_another_magnification(slide, model, tmp_path):
    files = run(tmp_path / "small", slide, model, mpp=0.8 * slide.mpp)
    features = json.loads(files["nuclei.geojson"])["features"]
    labels = tifffile.imread(tmp_path / "small/labels.tif")
    assert labels.shape == (SIDE / 0.8, (SIDE + GLASS) / 0.8)
    ids = range(1, labels.max() + 1)
    assert len(features) == len(ids) > 50
    # Five pixels of the working magnification are as long as four of the slide's.
    found = np.array([shape(feature["geometry"]).centroid.coords[0] for feature in features])
    expected = (np.array(center_of_mass(labels > 0, labels, ids))[:, ::-1] + 0.5) * 0.8
    np.testing.assert_allclose(found, expected, atol=0.3)
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.01)
    for feature in features:
        measured = feature["properties"]["measurements"]
        area = (labels == int(feature["id"])).sum() * 0.8**2
        assert measured["Area px^2"] == pytest.approx(area, abs=1)
        assert measured["Area µm^2"] == pytest.approx(area * slide.mpp**2, abs=1e-3)


@pytest.mark.parametrize("mpp", [MPP / 2, MPP, 0.17, 0.4])
def test_a_file_gives_what_its_pixels_give(slide, model, tmp_path, monkeypatch, mpp):
    segmenter = segmenters.Segmenter.load(model, COMPUTE)
    image = read_image(slide.image)
    expected = segmenter.segment(image, mpp)
    monkeypatch.setattr(artifacts, "IN_MEMORY", 0)
    outputs = tmp_path / "labels.tif", tmp_path / "nuclei.geojson"
    count = segment_file(segmenter, slide.image, *outputs, mpp)
    labels = tifffile.imread(outputs[0])
    np.testing.assert_array_equal(labels, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.tif", "nuclei.geojson"]

    features = json.loads(outputs[1].read_text())["features"]
    assert len(features) == count >= len(np.unique(labels)) - 1
    areas = np.bincount(labels.ravel())
    for feature in features:
        number, polygon = int(feature["id"]), shape(feature["geometry"])
        ys, xs = np.nonzero(labels == number)
        # Both are drawn at the model's magnification, the map then takes the nearest pixel.
        assert polygon.area == pytest.approx(areas[number], rel=0.15, abs=12)
        assert polygon.centroid.x == pytest.approx(xs.mean() + 0.5, abs=1)
        assert polygon.centroid.y == pytest.approx(ys.mean() + 0.5, abs=1)


def test_what_is_needed_whole_is_refused_before_it_is_looked_at(slide, model, tmp_path):
    segmenter = segmenters.Segmenter.load(model, COMPUTE)
    assert not segmenter.needs_whole
    segmenter.mask_settings = MaskSettings(encoding="filled")
    limits = IngestionSettings(max_pixels_whole=1000)
    outputs = tmp_path / "labels.tif", tmp_path / "nuclei.geojson"
    with pytest.raises(
        NucleiganError, match=r"encoding filled needs it at once, .* of ingestion\."
    ):
        segment_file(segmenter, slide.image, *outputs, MPP, limits)
    assert list(tmp_path.iterdir()) == []


def test_nuclei_that_are_smaller_than_a_pixel_of_the_file_are_told_of(
    model, tmp_path, monkeypatch, capsys
):
    segmenter = segmenters.Segmenter.load(model, COMPUTE)
    small, large = np.zeros((2, 80, 80), np.int32)
    # In the corner of a pixel of the file, which takes what lies in its middle.
    small[8::16, 8::16] = np.arange(1, 26).reshape(5, 5)
    large[8:72, 8:72] = np.arange(1, 65).reshape(8, 8).repeat(8, 0).repeat(8, 1)
    image = tmp_path / "coarse.png"
    Image.fromarray(np.full((10, 10, 3), 200, np.uint8)).save(image)
    outputs = tmp_path / "labels.tif", tmp_path / "nuclei.geojson"
    for labels, lost in ((small, 25), (large, 0)):
        bands = [(labels, list(nuclei_of(labels)))]
        monkeypatch.setattr(segmenter, "segment_bands", lambda _, bands=bands: iter(bands))
        count = segment_file(segmenter, image, *outputs, mpp=8 * MPP)
        assert count == labels.max() == len(json.loads(outputs[1].read_text())["features"])
        assert count - lost == len(np.unique(tifffile.imread(outputs[0]))) - 1
        said = capsys.readouterr().err
        assert (f"{lost} of {count} nuclei are too small for its 2 µm per pixel" in said) == bool(
            lost
        )


def test_glass_is_not_shown_to_the_network(slide, model, monkeypatch):
    seen = []
    segmenter = segmenters.Segmenter.load(model, COMPUTE)
    segmenter.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    image = tifffile.imread(slide.image)
    segmenter.predict(image)
    # 128 pixels from tile to tile: 4 rows of 8, of which 4 columns touch tissue.
    assert len(seen) == 4 * 4 * len(segmenter.prediction.scales) * segmenter.prediction.views


def test_thresholds_reach_slides_in_bands(slide, model):
    segmenter = segmenters.Segmenter.load(model, COMPUTE)
    decoding = segmenter.prediction.decoding.model_copy(update={"min_area": 1e9})
    assert isinstance(decoding, DecodingSettings)
    segmenter.prediction = segmenter.prediction.model_copy(update={"decoding": decoding})
    assert sum(len(nuclei) for _, nuclei in segmenter.segment_bands(_Window(slide.image))) == 0


class _Window:
    """An image that is no array."""

    def __init__(self, path):
        self._pixels = tifffile.imread(path)
        self.shape, self.dtype = self._pixels.shape, self._pixels.dtype

    def __getitem__(self, window):
        return self._pixels[window]
