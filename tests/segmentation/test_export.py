"""GeoJSON that QuPath reads."""

import json

import numpy as np
from shapely.geometry import shape

from nucleigan.config import IngestionSettings
from nucleigan.masks.streaming import Nucleus, nuclei_of
from nucleigan.segmentation import outlines, write_geojson
from nucleigan.segmentation.export import geojson, read_origin
from nucleigan.slides import read_annotation


def test_squares_come_out_with_their_area_and_place(tmp_path):
    labels = np.zeros((40, 50), np.int32)
    labels[5:15, 10:30] = 3
    labels[0:8, 40:50] = 9
    write_geojson(tmp_path / "nuclei.geojson", labels, mpp=0.5)
    features = json.loads((tmp_path / "nuclei.geojson").read_text())["features"]
    assert [feature["id"] for feature in features] == ["3", "9"]
    first, second = (shape(feature["geometry"]) for feature in features)
    assert first.is_valid and second.is_valid
    assert first.centroid.coords[0] == (20.0, 10.0)
    # The contour runs through pixel edges, its corners are cut by half a pixel at most.
    assert abs(first.area - 200) < 2 and abs(second.area - 80) < 2
    assert features[0]["properties"]["measurements"] == {"Area px^2": 200, "Area µm^2": 50.0}


def test_areas_in_a_coarser_file_are_not_rounded_before_they_are_measured(tmp_path):
    nucleus = Nucleus(0, 0, np.ones((5, 2), bool), 1)
    with geojson(tmp_path / "nuclei.geojson", 1.0, (0.5, 0.5)) as features:
        features.add([nucleus])
    (feature,) = json.loads((tmp_path / "nuclei.geojson").read_text())["features"]
    assert feature["properties"]["measurements"] == {"Area px^2": 2, "Area µm^2": 2.5}


def test_a_file_says_what_its_nuclei_were_found_by(tmp_path):
    origin = {"model": "abc", "shift": [-0.5, 0.0], "mpp": None, "odd": ', "features": ['}
    labels = np.zeros((30, 30), np.int32)
    labels[5:15, 5:15] = 1
    path = tmp_path / "nuclei.geojson"
    with geojson(path, 0.25, origin=origin) as features:
        features.add(nuclei_of(labels))
    assert read_origin(path) == json.loads(path.read_text())["nucleigan"] == origin
    found, _ = read_annotation(path, labels.shape, IngestionSettings())
    np.testing.assert_array_equal(found, labels)
    for other in ("", "mine", '{"type": "FeatureCollection", "features": []}', "[1]", "\xff"):
        path.write_text(other, encoding="latin-1")
        assert read_origin(path) is None


def test_no_nuclei_is_an_empty_collection(tmp_path):
    write_geojson(tmp_path / "none.geojson", np.zeros((5, 5), np.int32))
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []


def test_a_nucleus_within_another_and_one_in_pieces_come_back(tmp_path):
    labels = np.zeros((60, 80), np.int32)
    labels[10:50, 10:50] = 1
    labels[15:45, 15:45] = 0
    labels[25:35, 25:35] = 2
    # The contour of this hole is longer than the outer one.
    labels[5:55, 55:75] = 3
    labels[8:52:4, 58:72] = 0
    labels[8:52, 58] = 0
    # In pieces that touch at a corner, and in pieces that do not.
    labels[2:4, 2:4] = labels[4:6, 4:6] = 4
    labels[52:55, 5:9] = labels[56:59, 20:24] = 5
    write_geojson(tmp_path / "nuclei.geojson", labels)
    features = json.loads((tmp_path / "nuclei.geojson").read_text())["features"]
    kinds = [feature["geometry"]["type"] for feature in features]
    assert kinds == ["Polygon"] * 4 + ["MultiPolygon"]
    for feature in features:
        number = int(feature["id"])
        drawn = shape(feature["geometry"])
        corners = sum(len(ring) for piece in dict(outlines(labels))[number] for ring in piece)
        # Every corner of the contour cuts an eighth of a pixel off, or adds it.
        assert abs(drawn.area - (labels == number).sum()) <= corners / 8
    back, _ = read_annotation(
        tmp_path / "nuclei.geojson", labels.shape, IngestionSettings(min_piece_area=1)
    )
    assert [len(np.unique(back[labels == number])) for number in range(1, 6)] == [1] * 5
    np.testing.assert_array_equal(back > 0, labels > 0)
