"""Annotations as label maps: every format; borders, overlaps, holes, crossings."""

import json
import re
import time
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from scipy.io import savemat

from nucleigan.errors import NucleiganError
from nucleigan.metrics import aggregated_jaccard, pixel_dice
from nucleigan.slides.annotations import read_annotation, read_labels
from nucleigan.slides.resample import scaled_shape

SHAPE = (40, 50)
Ring = list[tuple[float, float]]


def box(left: float, top: float, right: float, bottom: float) -> Ring:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def disc(x: float, y: float, radius: float, vertices: int = 200) -> Ring:
    angles = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    return [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]


def aperio(folder: Path, *regions: Ring, negative: tuple[int, ...] = ()) -> Path:
    """Regions with the ids 101, 102, …; coordinates are written as they are."""
    parts = []
    for number, region in enumerate(regions):
        vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in region)
        parts.append(
            f'<Region Id={quoteattr(str(101 + number))} NegativeROA="{int(number in negative)}">'
            f"<Vertices>{vertices}</Vertices></Region>"
        )
    path = folder / "a.xml"
    path.write_text(
        f"<Annotations><Annotation><Regions>{''.join(parts)}</Regions></Annotation></Annotations>"
    )
    return path


def geojson(folder: Path, content: object) -> Path:
    path = folder / "a.geojson"
    path.write_text(json.dumps(content))
    return path


def polygon(*rings: object, **keys: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, **keys}


def complaint(path: Path, shape: tuple[int, int] = SHAPE, **keywords: int) -> str:
    with pytest.raises(NucleiganError) as caught:
        read_labels(path, shape, **keywords)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


# Outlines


def test_aperio_vertices_are_one_based_pixel_centres(tmp_path):
    # From the centre of pixel 4 to that of pixel 9, of which the right and lower ones belong.
    labels = read_labels(aperio(tmp_path, box(5, 8, 10, 18)), SHAPE)
    expected = np.zeros(SHAPE, np.int32)
    expected[8:18, 5:10] = 1
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int32


def test_geojson_coordinates_are_pixel_corners(tmp_path):
    labels = read_labels(geojson(tmp_path, polygon(box(5, 8, 10, 18))), SHAPE)
    expected = np.zeros(SHAPE, np.int32)
    expected[8:18, 5:10] = 1
    np.testing.assert_array_equal(labels, expected)


def test_a_disc_holds_the_centres_within_its_radius(tmp_path):
    labels = read_labels(aperio(tmp_path, disc(21.3, 17.8, 9.6, 3000)), SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    np.testing.assert_array_equal(labels > 0, np.hypot(x - 20.3, y - 16.8) < 9.6)


@given(
    points=st.lists(
        st.tuples(st.floats(-5, 30, width=32), st.floats(-5, 30, width=32)), min_size=3, max_size=9
    )
)
def test_star_shaped_outlines_agree_with_geometry(tmp_path_factory, points):
    shapely = pytest.importorskip("shapely")
    centre = np.mean(points, axis=0)
    ordered = sorted(points, key=lambda p: (np.arctan2(p[1] - centre[1], p[0] - centre[0]), p))
    shape = shapely.Polygon(ordered)
    path = aperio(tmp_path_factory.mktemp("xml"), [(x + 1, y + 1) for x, y in ordered])
    labels = read_labels(path, (24, 25), min_piece_area=0)
    y, x = np.mgrid[:24, :25]
    pixels = shapely.points(x, y)
    clear = shapely.distance(shape.exterior, pixels) > 1e-3
    if shape.is_valid:
        np.testing.assert_array_equal((labels > 0)[clear], shapely.contains(shape, pixels)[clear])


def test_neighbours_share_every_pixel_once(tmp_path):
    # The common side runs through pixel centres.
    path = aperio(tmp_path, box(1, 1, 11, 21), box(11, 1, 31, 21))
    labels = read_labels(path, SHAPE)
    assert (labels == 1).sum() == 10 * 20
    assert (labels == 2).sum() == 20 * 20


def test_the_first_of_two_overlapping_nuclei_keeps_the_pixels(tmp_path):
    labels, warnings = read_annotation(
        aperio(tmp_path, box(1, 1, 11, 11), box(6, 1, 21, 11)), SHAPE
    )
    assert (labels == 1).sum() == 100
    assert (labels == 2).sum() == 100
    assert not warnings


def test_outlines_are_cut_at_the_border_and_dropped_beyond(tmp_path):
    labels, warnings = read_annotation(
        aperio(tmp_path, box(-1, -1, 5, 5), box(45, 35, 62, 52), box(60, 60, 70, 70)), SHAPE
    )
    assert (labels == 1).sum() == 25
    assert (labels == 2).sum() == 25
    assert labels.max() == 2
    assert len(warnings) == 1
    assert "103" in warnings[0]
    assert "no pixel" in warnings[0]


@pytest.mark.parametrize(("beside", "fits"), [(2, True), (3, False)])
def test_outlines_of_another_image_are_refused(tmp_path, beside, fits):
    """As those of a whole slide, with an image of a part of it."""
    inside = [box(5, 5, 12, 12), box(20, 5, 28, 12)]
    others = [box(30_000 + 20 * n, 9000, 30_009 + 20 * n, 9012) for n in range(beside)]
    path = geojson(tmp_path, [polygon(ring) for ring in inside + others])
    if fits:
        assert read_labels(path, SHAPE).max() == 2
    else:
        assert "3 of its 5 outlines lie outside of the image of 40×50 pixels" in complaint(path)


def test_negative_regions_are_holes_in_the_nucleus_that_holds_them(tmp_path):
    path = aperio(tmp_path, box(1, 1, 21, 21), box(26, 1, 36, 11), box(6, 6, 16, 16), negative=(2,))
    labels, warnings = read_annotation(path, SHAPE)
    assert (labels == 1).sum() == 400 - 100
    assert not labels[6:16, 6:16].any()
    assert (labels == 2).sum() == 100
    assert not warnings


def test_a_hole_over_two_nuclei_is_of_the_one_that_holds_most_of_it(tmp_path):
    # 2 of its 12 columns lie in the first.
    boxes = box(1, 1, 11, 11), box(11, 1, 31, 11), box(9, 3, 21, 9)
    labels = read_labels(aperio(tmp_path, *boxes, negative=(2,)), SHAPE)
    assert (labels == 1).sum() == 100 and (labels == 2).sum() == 200 - 60


def test_holes_in_nothing_are_warned_of(tmp_path):
    _, (warning,) = read_annotation(
        aperio(tmp_path, box(1, 1, 11, 11), box(21, 21, 31, 31), negative=(1,)), SHAPE
    )
    assert "102" in warning
    assert "NegativeROA" in warning


def test_geojson_holes_cut_their_own_polygon_alone(tmp_path):
    # A ring with an island in its hole, both of one nucleus.
    island = [box(12, 12, 18, 18)]
    ring = [box(5, 5, 25, 25), box(8, 8, 22, 22)]
    feature = {"type": "MultiPolygon", "coordinates": [ring, island]}
    labels = read_labels(geojson(tmp_path, [{"type": "Feature", "geometry": feature}]), SHAPE)
    assert (labels == 1).sum() == 20 * 20 - 14 * 14 + 6 * 6
    assert labels[15, 15] == 1
    assert labels[9, 9] == 0


def test_pieces_stay_under_one_id_without_crumbs(tmp_path):
    parts = [[box(2, 2, 12, 12)], [box(20, 2, 25, 7)], [box(30, 2, 32, 3)]]
    feature = {"type": "MultiPolygon", "coordinates": parts}
    labels = read_labels(geojson(tmp_path, [{"type": "Feature", "geometry": feature}]), SHAPE)
    assert (labels == 1).sum() == 100 + 25
    kept = read_labels(tmp_path / "a.geojson", SHAPE, min_piece_area=2)
    assert (kept == 1).sum() == 100 + 25 + 2


def test_a_small_nucleus_in_one_piece_is_no_crumb(tmp_path):
    labels = read_labels(aperio(tmp_path, box(1, 1, 3, 2)), SHAPE, min_piece_area=50)
    assert (labels == 1).sum() == 2


def test_crossing_outlines_are_filled_and_named(tmp_path):
    bow_tie = [(1, 1), (21, 21), (21, 1), (1, 21)]
    pentagram = [
        (30 + 9 * np.sin(4 * np.pi * k / 5), 20 - 9 * np.cos(4 * np.pi * k / 5)) for k in range(5)
    ]
    labels, (warning,) = read_annotation(
        aperio(tmp_path, box(41, 1, 46, 6), bow_tie, pentagram), SHAPE
    )
    assert "a.xml" in warning
    assert "102, 103 cross" in warning
    # Both triangles, each half of a quarter of the square.
    assert (labels == 2).sum() == pytest.approx(200, abs=20)
    # Its middle, which the even-odd rule would leave open.
    assert labels[19, 29] == 3


def test_outlines_drawn_around_twice_are_filled(tmp_path):
    twice = disc(20, 20, 10) * 2
    labels, warnings = read_annotation(aperio(tmp_path, twice), SHAPE)
    assert (labels == 1).sum() == pytest.approx(np.pi * 100, rel=0.04)
    assert len(warnings) == 1


def test_degenerate_outlines_are_dropped_and_named(tmp_path):
    path = aperio(
        tmp_path, [], [(5, 5)], [(5, 5), (9, 9)], [(5, 5), (9, 9), (13, 13)], box(1, 1, 4, 4)
    )
    labels, (few, line) = read_annotation(path, SHAPE)
    assert labels.max() == 1
    assert "101, 102, 103 have fewer than three vertices" in few
    assert "104 cover no pixel" in line


def test_corners_of_a_box_are_an_ellipse_or_a_rectangle(tmp_path):
    """As ImageScope writes what was drawn with those tools."""
    path = aperio(tmp_path, [(11.5, 6.5), (31.5, 26.5)], [(45, 38), (35, 34)])
    kinds = iter(["2", "1"])
    path.write_text(
        re.sub("NegativeROA", lambda _: f'Type="{next(kinds)}" NegativeROA', path.read_text())
    )
    labels, warnings = read_annotation(path, SHAPE)
    assert not warnings
    # A circle of radius 10 around (20.5, 15.5), and 10 × 4 pixels.
    assert (labels == 1).sum() == pytest.approx(100 * np.pi, abs=6)
    assert ndimage.center_of_mass(labels == 1) == pytest.approx((15.5, 20.5), abs=0.1)
    assert (labels == 2).sum() == 40


@pytest.mark.parametrize("first", [True, False])
def test_an_outline_around_the_others_is_named(tmp_path, first):
    """It may be a frame that was drawn as a nucleus is."""
    nuclei = [box(5 + 9 * n, 5, 10 + 9 * n, 10) for n in range(4)]
    frame = box(2, 2, 48, 38)
    path = aperio(tmp_path, *([frame, *nuclei] if first else [*nuclei, frame]))
    *_, warning = read_annotation(path, SHAPE)[1]
    assert f"{101 if first else 105} lie around several others" in warning
    # A nucleus over a few others is not said to be one.
    few = aperio(tmp_path, *nuclei[:3], frame)
    assert read_annotation(few, SHAPE)[1] == []


def test_repeated_outlines_are_dropped_and_named(tmp_path):
    labels, (warning,) = read_annotation(aperio(tmp_path, *[box(1, 1, 9, 9)] * 2), SHAPE)
    assert labels.max() == 1
    assert "102 lie wholly under earlier ones, or repeat them" in warning


def test_many_regions_are_counted(tmp_path):
    _, (warning,) = read_annotation(aperio(tmp_path, *[[(1, 1)]] * 30), SHAPE)
    assert "120 and 10 more" in warning


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "far", ""])
def test_vertices_are_finite_numbers(tmp_path, value):
    message = complaint(aperio(tmp_path, box(1, 1, 9, 9), [(1, 1), (value, 5), (9, 9)]))
    assert "region 102" in message
    assert "finite" in message


def test_the_number_of_vertices_is_limited(tmp_path):
    path = aperio(tmp_path, disc(20, 20, 9, 50), disc(20, 20, 9, 51))
    read_labels(path, SHAPE, max_vertices=101)
    message = complaint(path, max_vertices=100)
    assert "101 vertices" in message
    assert "ingestion.max_vertices" in message


def test_other_and_damaged_xml(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<ASAP_Annotations/>")
    assert "<ASAP_Annotations>" in complaint(path)
    path.write_text("<Annotations><Annotation>")
    assert "cannot be read" in complaint(path)
    path.write_text('<!DOCTYPE a [<!ENTITY b "ha">]><Annotations>&b;</Annotations>')
    assert "cannot be read" in complaint(path)
    path.write_text("")
    assert "cannot be read" in complaint(path)


def test_no_region_is_no_nucleus(tmp_path):
    labels, warnings = read_annotation(aperio(tmp_path), SHAPE)
    assert labels.shape == SHAPE
    assert not labels.any()
    assert not warnings


@pytest.mark.parametrize("form", ["collection", "list", "feature", "geometry"])
def test_forms_of_geojson(tmp_path, form):
    feature = polygon(box(5, 8, 10, 18), properties={"objectType": "annotation"})
    content = {
        "collection": {"type": "FeatureCollection", "features": [feature]},
        "list": [feature],
        "feature": feature,
        "geometry": feature["geometry"],
    }[form]
    assert (read_labels(geojson(tmp_path, content), SHAPE) == 1).sum() == 50


def said_by_qupath(version, kind):
    """How versions of QuPath write the kind of an object."""
    if version == "0.2":
        return {"id": {"annotation": "PathAnnotationObject", "cell": "PathCellObject"}[kind]}
    return {"properties": {"object_type" if version == "0.3" else "objectType": kind}}


@pytest.mark.parametrize(
    ("version", "kind"),
    [("0.2", "annotation"), ("0.3", "annotation"), ("0.4", "annotation")]
    + [("0.4", kind) for kind in ("tile", "tma_core", "root")],
)
def test_cells_count_by_their_nuclei_and_frames_not_at_all(tmp_path, version, kind):
    frame = polygon(box(0, 0, 50, 40), **said_by_qupath(version, kind))
    cell = polygon(
        box(2, 2, 22, 22),
        **said_by_qupath(version, "cell"),
        nucleusGeometry={"type": "Polygon", "coordinates": [box(8, 8, 13, 13)]},
    )
    labels, (warning,) = read_annotation(geojson(tmp_path, [frame, cell]), SHAPE)
    assert (labels == 1).sum() == 25
    assert labels.max() == 1
    assert "taken as frames" in warning


def test_nuclei_that_were_added_to_detected_ones_count(tmp_path):
    found, kind = said_by_qupath("0.4", "detection"), said_by_qupath("0.4", "annotation")
    features = [
        # A frame of nothing that was found, and a line.
        polygon(box(30, 2, 48, 22), **kind, id="empty"),
        {"geometry": {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}, **kind, "id": "line"},
        {"geometry": {"type": "Polygon", "coordinates": []}, **kind, "id": "nothing"},
        polygon(box(2, 2, 8, 8), **found),
        polygon(box(12, 2, 19, 8), **kind, id="by hand"),
        # Drawn over what was found.
        polygon(box(1, 1, 9, 9), **kind, id="again"),
    ]
    labels, (warning,) = read_annotation(geojson(tmp_path, features), SHAPE)
    assert np.bincount(labels.ravel()).tolist()[1:] == [36, 42]
    assert all(name in warning for name in ("empty", "line", "nothing", "again"))
    assert "by hand" not in warning


@pytest.mark.parametrize("kind", ["classes", "mask", "cut off"])
def test_ids_that_tell_no_nuclei_apart_are_refused(tmp_path, kind):
    nuclei = np.zeros((120, 160), np.int64)
    for number in range(300):
        row, column = divmod(number, 20)
        nuclei[8 * row : 8 * row + 5, 8 * column : 8 * column + 5] = number + 1
    numbers = {"classes": nuclei % 4 + 1, "mask": nuclei * 0 + 255, "cut off": nuclei % 256}[kind]
    path = tmp_path / "a.png"
    Image.fromarray((numbers * (nuclei > 0)).astype(np.uint8)).save(path)
    with pytest.raises(NucleiganError, match="a number of its own for each nucleus"):
        read_annotation(path, nuclei.shape)
    # Cut off as well, but not so many that a few nuclei in pieces could not be the reason.
    few = np.where(nuclei <= 260, nuclei, 0)
    Image.fromarray((few % 256).astype(np.uint8)).save(path)
    (warning,) = read_annotation(path, nuclei.shape)[1]
    assert "all of the 255 ids of 8 bits" in warning
    # One nucleus in a dozen in two pieces, as where others lie over them.
    pieces = np.where(np.isin(nuclei, range(1, 300, 12)), nuclei + 1, nuclei).astype(np.int32)
    tifffile.imwrite(tmp_path / "b.tif", pieces)
    assert read_annotation(tmp_path / "b.tif", nuclei.shape)[0].max() == 275


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"type": "Feature", "id": "x7", "geometry": None}], ["x7", "None"]),
        ([{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}], ["Point"]),
        ([polygon([1, 2, 3], id="x7")], ["x7", "rings"]),
        ([polygon([(1, "a"), (2, 2), (3, 1)], id="x7")], ["x7", "rings"]),
        ([polygon([(1, float("nan")), (2, 2), (3, 1)], id="x7")], ["x7", "finite"]),
        ([1, 2], ["no features"]),
        ("text", ["no features"]),
        ({"nuclei": []}, ["Polygon"]),
    ],
)
def test_faults_of_geojson_are_named(tmp_path, content, words):
    message = complaint(geojson(tmp_path, content))
    for word in words:
        assert word in message


def test_damaged_geojson(tmp_path):
    (tmp_path / "a.geojson").write_text('{"type": "Fea')
    assert "cannot be read" in complaint(tmp_path / "a.geojson")


# Label maps


@pytest.fixture
def label_map() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint16)
    labels[2:10, 3:12] = 7
    labels[20:30, 3:12] = 300
    labels[20:30, 12:20] = 8
    return labels


def write_map(folder: Path, ending: str, labels: np.ndarray, key: str = "inst_map") -> Path:
    path = folder / f"a{ending}"
    if ending == ".png":
        Image.fromarray(labels).save(path)
    elif ending == ".npy":
        np.save(path, labels)
    elif ending == ".mat":
        savemat(path, {key: labels, "inst_type": np.ones((3, 1)), "name": "x"})
    else:
        tifffile.imwrite(path, labels, compression="zlib")
    return path


@pytest.mark.parametrize("ending", [".png", ".tif", ".tiff", ".npy", ".mat"])
def test_label_maps_are_numbered_in_order(tmp_path, label_map, ending):
    labels, warnings = read_annotation(write_map(tmp_path, ending, label_map), SHAPE)
    expected = np.select([label_map == 7, label_map == 8, label_map == 300], [1, 2, 3])
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int32
    assert not warnings


def test_matlab_keys_and_whole_floats(tmp_path, label_map):
    path = write_map(tmp_path, ".mat", label_map.astype(float), key="anything")
    assert read_labels(path, SHAPE).max() == 3
    savemat(path, {"one": label_map, "two": label_map})
    assert "one, two" in complaint(path)
    savemat(path, {"inst_map": label_map + 0.5})
    assert "fractions" in complaint(path)


def test_large_ids_cost_nothing(tmp_path, label_map):
    large = label_map.astype(np.uint64) * (2**50)
    assert read_labels(write_map(tmp_path, ".npy", large), SHAPE).max() == 3
    full = np.full(SHAPE, 2**31 - 1, np.int32)
    np.testing.assert_array_equal(
        read_labels(write_map(tmp_path, ".npy", full), SHAPE), np.ones(SHAPE, np.int32)
    )


@pytest.mark.parametrize("ending", [".png", ".tif", ".npy", ".mat"])
def test_label_maps_of_another_size(tmp_path, label_map, ending):
    message = complaint(write_map(tmp_path, ending, label_map), (50, 40))
    assert "40×50" in message
    assert "50×40" in message


def test_colour_is_no_label_map(tmp_path):
    path = write_map(tmp_path, ".png", np.zeros((*SHAPE, 3), np.uint8))
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(path)
    assert "40×50×3" in complaint(path)


@pytest.mark.parametrize(
    ("value", "kind", "word"),
    [(-1, np.int16, "-1"), (0.5, np.float32, "fractions"), (np.nan, np.float64, "fractions")],
)
def test_impossible_ids(tmp_path, value, kind, word):
    labels = np.zeros(SHAPE, kind)
    labels[3, 3] = value
    assert word in complaint(write_map(tmp_path, ".npy", labels))


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "cannot be read" in complaint(tmp_path / "a.npy")


def test_a_mask_of_all_nuclei_is_warned_of(tmp_path, label_map):
    mask = ((label_map > 0) * 255).astype(np.uint8)
    labels, (warning,) = read_annotation(write_map(tmp_path, ".png", mask), SHAPE)
    assert labels.max() == 1
    assert "255 alone" in warning


def test_missing_unknown_and_damaged_files(tmp_path, label_map):
    assert "no such annotation" in complaint(tmp_path / "a.xml")
    (tmp_path / "a.txt").touch()
    assert "'.txt'" in complaint(tmp_path / "a.txt")
    for ending in (".png", ".tif", ".npy", ".mat"):
        path = write_map(tmp_path, ending, label_map)
        path.write_bytes(path.read_bytes()[:60])
        assert "cannot be read" in complaint(path)


# Another magnification


@pytest.mark.parametrize("factor", [0.5, 0.78, 1.6, 2.0])
def test_outlines_are_filled_at_the_target(tmp_path, factor):
    path = aperio(tmp_path, disc(21, 19, 12), disc(40, 30, 7))
    target = scaled_shape(SHAPE, factor)
    labels, _ = read_annotation(path, SHAPE, target=target)
    assert labels.shape == target
    y, x = (
        (np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(target, SHAPE, strict=True)
    )
    inside = np.hypot(x[None] - 20, y[:, None] - 18) < 12
    assert pixel_dice(inside.astype(int), (labels == 1).astype(int)) > 0.98


def test_nuclei_that_vanish_are_warned_of(tmp_path, label_map):
    label_map[35, 40] = 9
    path = write_map(tmp_path, ".png", label_map)
    labels, (warning,) = read_annotation(path, SHAPE, target=(10, 12))
    assert labels.max() == 3
    assert "1 nuclei are too small" in warning


# Real annotations


TILES = [
    "21-5784",
    "21-5786",
    "50-5931",
    "A7-A13E",
    "AR-A1AK",
    "AR-A1AS",
    "B0-5698",
    "B0-5710",
    "B0-5711",
    "CH-5767",
    "E2-A1B5",
    "G9-6362",
    "NH-A8F7",
]


@pytest.mark.parametrize("tile", TILES)
def test_outlines_agree_with_the_published_label_maps(real_data, tile):
    folder = real_data / "kumar"
    (outlines,) = (folder / "annotations").glob(f"TCGA-{tile}*.xml")
    published = read_labels(folder / "labels" / f"{outlines.stem}.png", (1000, 1000))
    labels = read_labels(outlines, (1000, 1000))
    assert pixel_dice((published > 0).astype(int), (labels > 0).astype(int)) >= 0.985
    # Which nucleus wins an overlap decides this one: .945 to .996 if it is the last.
    assert aggregated_jaccard(published, labels) >= 0.99
    assert abs(int(labels.max()) - int(published.max())) <= 1


def test_scanned_region(real_data):
    labels, _ = read_annotation(real_data / "slides" / "A9K0_1.xml", (1153, 1307))
    assert labels.max() == 321


def test_a_crowded_tile_is_read_in_a_second(tmp_path):
    rng = np.random.default_rng(0)
    discs = [disc(*rng.uniform(0, 1000, 2), rng.uniform(5, 12), 40) for _ in range(1800)]
    path = aperio(tmp_path, *discs)
    start = time.process_time()
    labels = read_labels(path, (1000, 1000))
    assert time.process_time() - start < 2
    assert labels.max() > 1500
