"""GeoJSON that QuPath reads."""

import json

import numpy as np
from shapely.geometry import shape

from nucleigan.segmentation.export import write_geojson


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


def test_no_nuclei_is_an_empty_collection(tmp_path):
    write_geojson(tmp_path / "none.geojson", np.zeros((5, 5), np.int32))
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []
