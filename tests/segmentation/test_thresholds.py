"""Thresholds are chosen where the answer is known."""

import numpy as np
import pandas as pd
import pytest

from nucleigan.artifacts import write_image
from nucleigan.config import (
    ComputeSettings,
    DecodingSettings,
    GeneratorSettings,
    MaskSettings,
    PredictionSettings,
)
from nucleigan.masks import channels, decode
from nucleigan.metrics import aggregated_jaccard
from nucleigan.models.contract import MARKERS, PEAKS
from nucleigan.models.methods import METHODS, load_method
from nucleigan.models.weights import read_weights, write_weights
from nucleigan.networks import build_generator
from nucleigan.segmentation import Segmenter, choose_thresholds, try_thresholds
from nucleigan.training.compute import prepare

GENERATOR = GeneratorSettings(kind="unet", width=4, depth=2, norm="none")
COMPUTE = ComputeSettings(device="cpu", precision="float32", threads=1)


def discs():
    y, x = np.mgrid[:96, :96]
    labels = np.zeros((96, 96), np.int32)
    for number, (row, column) in enumerate([(20, 20), (20, 60), (60, 30), (70, 75)], 1):
        labels[np.hypot(y - row, x - column) < 11] = number
    return labels


def test_a_halo_of_half_probability_asks_for_a_higher_threshold():
    """Around each disc the network half believes: .52 must be cut off, .9 kept."""
    labels = discs()
    y, x = np.mgrid[:96, :96]
    probability = np.zeros((2, 96, 96))
    for row, column in [(20, 20), (20, 60), (60, 30), (70, 75)]:
        distance = np.hypot(y - row, x - column)
        probability[0][distance < 15] = 0.52
        probability[0][distance < 11] = 0.9
        probability[1][distance < 8] = 0.7
    table = try_thresholds(
        2 * probability - 1,
        labels,
        lambda mask, decoding: decode(mask, MaskSettings(), decoding),
        DecodingSettings(min_area=0),
        MARKERS,
    )
    good = table[(table["foreground"] >= 0.55) & ~(table["marker"] >= 0.7)]
    assert (good["aji"] == 1).all() and len(good) > 0
    rest = table[table["foreground"] < 0.52]
    assert (rest["aji"] < 0.6).all()


def test_what_is_never_sure_asks_for_a_peak():
    """Beside each disc another one that the network half believes all over."""
    labels = discs()
    probability = np.stack([0.95 * (labels > 0), 0.9 * (labels > 0)])
    probability[:, labels > 2] = 0.6
    decoding = DecodingSettings(min_area=0)

    def found(mask, decoding):
        return decode(mask, MaskSettings(), decoding)

    truth = np.where(labels <= 2, labels, 0)
    mask = 2 * probability - 1
    table = try_thresholds(mask, truth, found, decoding, MARKERS, peaks=PEAKS)
    low = table[table["foreground"] < 0.6]
    assert (low.loc[low["peak"] > 0.6, "aji"] == 1).all()
    assert (low.loc[low["peak"] < 0.6, "aji"] < 0.6).all()
    for row in table.sample(20, random_state=0).itertuples():
        summit = None if pd.isna(row.summit) else row.summit
        chosen = DecodingSettings(
            foreground=row.foreground, marker=row.marker, summit=summit, peak=row.peak, min_area=0
        )
        assert aggregated_jaccard(truth, found(mask, chosen)) == pytest.approx(row.aji)


@pytest.mark.parametrize("method", METHODS)
def test_a_peak_is_for_probabilities(method):
    peaks = load_method(method).peaks_of(MaskSettings())
    assert bool(peaks) == (method in ("cgan", "unet", "fcn", "cnn3"))
    assert not load_method(method).peaks_of(MaskSettings(encoding="outline"))


@pytest.mark.parametrize(("encoding", "tried"), [("filled", ()), ("interior_boundary", MARKERS)])
def test_markers_are_tried_where_an_encoding_has_them(encoding, tried, weights):
    facts = read_weights(weights)[1]
    masks = MaskSettings(encoding=encoding)
    outputs = channels(masks)
    facts |= {"masks": masks.model_dump()}
    network = build_generator(GENERATOR, 3, outputs)
    segmenter = Segmenter(network.state_dict(), facts, prepare(COMPUTE))
    assert segmenter.markers == tried
    table = try_thresholds(
        np.zeros((outputs, 8, 8)) - 1,
        np.zeros((8, 8), int),
        segmenter.decode,
        DecodingSettings(),
        segmenter.markers,
    )
    assert table["foreground"].is_unique == (not tried)


@pytest.fixture
def weights(tmp_path):
    network = build_generator(GENERATOR, 3, 2, seed=3)
    facts = {
        "kind": "segmenter",
        "method": "cgan",
        "generator": GENERATOR.model_dump(),
        "masks": MaskSettings().model_dump(),
        "mpp": 0.25,
        "stain": {},
        "stain_reference": None,
    }
    write_weights(tmp_path / "weights.safetensors", network.state_dict(), facts)
    return tmp_path / "weights.safetensors"


def test_without_validation_slides_the_configured_thresholds_stay(weights, tmp_path):
    settings = PredictionSettings(tile=64, tile_overlap=8, decoding=DecodingSettings(marker=0.7))
    model, table = tmp_path / "model.safetensors", tmp_path / "thresholds.csv"
    choose_thresholds(weights, [], model, table, settings, COMPUTE, "CC0")
    assert len(pd.read_csv(table)) == 0
    loaded = Segmenter.load(model, COMPUTE)
    assert loaded.prediction == settings
    assert loaded.facts["data_licence"] == "CC0"
    before, after = read_weights(weights)[0], read_weights(model)[0]
    assert all(before[name].equal(after[name]) for name in before)


def test_thresholds_in_pixels_are_not_those_of_probabilities(tmp_path):
    """DIST's hills rise by pixels; what is configured is meant for masks."""
    generator = GeneratorSettings(kind="unet", width=4, depth=2, norm="batch")
    facts = {
        "kind": "segmenter",
        "method": "dist",
        "generator": generator.model_dump(),
        "masks": MaskSettings().model_dump(),
    }
    network = build_generator(generator, 3, 1, seed=0)
    write_weights(tmp_path / "weights.safetensors", network.state_dict(), facts)
    settings = PredictionSettings(decoding=DecodingSettings(foreground=0.55, summit=0.1, peak=0.8))
    model = tmp_path / "model.safetensors"
    choose_thresholds(
        tmp_path / "weights.safetensors", [], model, tmp_path / "t.csv", settings, COMPUTE
    )
    decoding = read_weights(model)[1]["prediction"]["decoding"]
    assert (decoding["foreground"], decoding["summit"], decoding["peak"]) == (0.5, 1.0, 0.0)


def written(folder, name, labels):
    """A slide whose nuclei are dark."""
    image = np.where(labels[..., None] > 0, 90, 220).astype(np.uint8).repeat(3, axis=2)
    paths = {kind: folder / f"{name}.{kind}.tif" for kind in ("image", "labels")}
    write_image(paths["image"], image)
    write_image(paths["labels"], labels)
    return {"slide": name} | {kind: str(path) for kind, path in paths.items()}


def test_slides_without_nuclei_choose_nothing(weights, tmp_path):
    """With nothing to find, a threshold that finds nothing would be right."""
    model, settings = tmp_path / "model.safetensors", PredictionSettings()
    full, empty = written(tmp_path, "a", discs()), written(tmp_path, "b", 0 * discs())
    tables = []
    for name, slides in (("one", [full]), ("both", [full, empty]), ("none", [empty])):
        choose_thresholds(weights, slides, model, tmp_path / name, settings, COMPUTE)
        tables.append(pd.read_csv(tmp_path / name))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert set(tables[2]["aji"]) <= {0.0, 1.0}


def test_slides_have_the_same_say_whatever_they_hold(weights, tmp_path):
    model, settings = tmp_path / "model.safetensors", PredictionSettings()
    full = written(tmp_path, "a", discs())
    half = written(tmp_path, "b", discs() * (discs() < 3))
    found = []
    for number, slides in enumerate(([full], [half], [full, half])):
        table = tmp_path / f"{number}.csv"
        choose_thresholds(weights, slides, model, table, settings, COMPUTE)
        found.append(pd.read_csv(table)["aji"].to_numpy())
    assert not np.allclose(found[0], found[1])
    np.testing.assert_allclose(found[2], (found[0] + found[1]) / 2, atol=2e-6)


def test_parts_of_a_large_slide_count_by_their_nuclei(weights, tmp_path, monkeypatch):
    """Three discs in the upper third, none in the middle and one in the lower third."""
    y, x = np.mgrid[:288, :96]
    labels = np.zeros((288, 96), np.int32)
    for number, (row, column) in enumerate([(20, 20), (20, 60), (60, 30), (250, 50)], 1):
        labels[np.hypot(y - row, x - column) < 11] = number
    model, settings = tmp_path / "model.safetensors", PredictionSettings()

    def tried(name, *parts):
        slides = [written(tmp_path, f"{name}{n}", part) for n, part in enumerate(parts)]
        choose_thresholds(weights, slides, model, tmp_path / name, settings, COMPUTE)
        return pd.read_csv(tmp_path / name)["aji"].to_numpy()

    upper, lower = tried("upper", labels[:96]), tried("lower", labels[192:])
    monkeypatch.setattr("nucleigan.models.validation.SIDE", 96)
    monkeypatch.setattr("nucleigan.models.validation.FIELDS", 2)
    whole = tried("whole", labels)
    assert not np.allclose(upper, lower)
    np.testing.assert_allclose(whole, 0.75 * upper + 0.25 * lower, atol=2e-6)


def test_the_model_file_holds_what_was_chosen(weights, tmp_path):
    slide = written(tmp_path, "a", discs())
    model, table = tmp_path / "model.safetensors", tmp_path / "thresholds.csv"
    choose_thresholds(weights, [slide], model, table, PredictionSettings(), COMPUTE)
    tried = pd.read_csv(table)
    facts = read_weights(model)[1]
    assert facts["validation"] == {"slides": ["a"], "aji": round(tried["aji"].max(), 6)}
    decoding = facts["prediction"]["decoding"]
    best = tried.loc[tried["aji"].idxmax()]
    for name in ("foreground", "marker", "summit"):
        assert decoding[name] == (None if pd.isna(best[name]) else best[name])
