"""Stain vectors before and after normalisation."""

import numpy as np
import pandas as pd
import pytest

from nucleigan.artifacts import write_image
from nucleigan.config import StainSettings
from nucleigan.stain import choose_reference, normalize_slide, profile_slide
from nucleigan.stain.comparison import compare_stains

VECTORS = {
    "one": [[0.65, 0.70, 0.29], [0.07, 0.95, 0.25]],
    "two": [[0.55, 0.75, 0.37], [0.20, 0.90, 0.40]],
}


def slides(folder, settings):
    """Two slides of known stains, profiled and normalised to the first."""
    rng = np.random.default_rng(0)
    for name, vectors in VECTORS.items():
        matrix = np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
        nucleus = rng.uniform(size=(80, 80)) < 0.4
        amounts = np.stack([np.where(nucleus, 1.0, 0.02), np.where(nucleus, 0.05, 0.5)], axis=-1)
        density = (amounts * rng.uniform(0.8, 1.2, (80, 80, 1))) @ matrix
        write_image(folder / f"{name}.tif", (255 * np.exp(-density)).astype(np.uint8))
        profile_slide(name, folder / f"{name}.tif", folder / f"{name}.json", settings)
    choose_reference([folder / f"{name}.json" for name in VECTORS], folder / "r.json", settings)
    for name in VECTORS:
        normalize_slide(
            name,
            folder / f"{name}.tif",
            folder / f"{name}.json",
            folder / "r.json",
            folder / f"{name}.after.tif",
            folder / f"{name}.facts.json",
            folder / f"{name}.png",
            settings,
            0.25,
        )
    outputs = folder / "vectors.csv", folder / "vectors.png"
    compare_stains(
        [folder / f"{name}.facts.json" for name in VECTORS],
        folder / "r.json",
        *outputs,
    )
    assert outputs[1].stat().st_size > 5000
    return pd.read_csv(outputs[0]).set_index(["slide", "stain", "time"])


def test_after_normalisation_all_slides_have_the_stains_of_the_reference(tmp_path):
    table = slides(tmp_path, StainSettings(reference="one"))
    assert len(table) == 2 * 2 * 2
    for stain, vector in zip(("haematoxylin", "eosin"), VECTORS["two"], strict=True):
        before = table.loc["two", stain, "before"]
        found = before[["red", "green", "blue"]].to_numpy(float)
        assert found @ np.array(vector) / np.linalg.norm(vector) > np.cos(np.radians(5))
        assert before["angle"] > 5
        assert table.loc["two", stain, "after"]["angle"] < before["angle"] / 3
        assert table.loc["one", stain, "before"]["angle"] == pytest.approx(0, abs=1e-4)


def test_without_normalisation_there_is_no_after_and_before_is_what_the_slides_have(tmp_path):
    normalized = slides(tmp_path, StainSettings(reference="one"))
    table = slides(tmp_path, StainSettings(reference="one", normalize=False))
    assert set(table.index.get_level_values("time")) == {"before"}
    pd.testing.assert_frame_equal(table, normalized.xs("before", level="time", drop_level=False))
