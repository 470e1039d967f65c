"""The filling of outlines against point-in-polygon tests written another way."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleigan.config import IngestionSettings
from nucleigan.slides.annotations import read_annotation, read_labels

HEIGHT, WIDTH = 18, 22
# Closer to an outline than this, floating point may decide.
CLEAR = 1e-6


def outlined(folder, *rings):
    """A GeoJSON file whose coordinates are such that pixel (0, 0) has its centre at (0, 0)."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[(x + 0.5, y + 0.5) for x, y in ring]]},
        }
        for ring in rings
    ]
    path = folder / "a.geojson"
    path.write_text(json.dumps(features))
    return path


def edges(ring):
    return zip(ring, ring[1:] + ring[:1], strict=True)


def distance(x, y, ring):
    """To the nearest edge."""
    found = math.inf
    for (ax, ay), (bx, by) in edges(ring):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length if length else 0.0
        along = min(1.0, max(0.0, along))
        found = min(found, math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y))
    return found


def turns(x, y, ring):
    """The angle that the outline sweeps as seen from a point, in full turns."""
    angle = 0.0
    for (ax, ay), (bx, by) in edges(ring):
        ax, ay, bx, by = ax - x, ay - y, bx - x, by - y
        angle += math.atan2(ax * by - ay * bx, ax * bx + ay * by)
    return round(angle / (2 * math.pi))


def crossings(x, y, ring):
    """Edges that a ray to the right meets."""
    count = 0
    for (ax, ay), (bx, by) in edges(ring):
        if (ay > y) != (by > y):
            count += x < ax + (y - ay) / (by - ay) * (bx - ax)
    return count


def centres(ring):
    """Pixel centres that are clearly on one side of an outline."""
    return [(x, y) for y in range(HEIGHT) for x in range(WIDTH) if distance(x, y, ring) > CLEAR]


@st.composite
def stars(draw):
    """Simple polygons: one vertex in each of several directions from a centre."""
    x, y = draw(st.floats(-2, WIDTH + 2)), draw(st.floats(-2, HEIGHT + 2))
    radii = draw(st.lists(st.floats(0.3, 14), min_size=3, max_size=12))
    start = draw(st.floats(0, 2 * math.pi))
    way = draw(st.sampled_from([1, -1]))
    return [
        (
            x + radius * math.cos(start + way * 2 * math.pi * n / len(radii)),
            y + radius * math.sin(start + way * 2 * math.pi * n / len(radii)),
        )
        for n, radius in enumerate(radii)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("outlines")


@given(stars())
def test_simple_outlines(folder, ring):
    settings = IngestionSettings(min_piece_area=0)
    labels, warnings = read_annotation(outlined(folder, ring), (HEIGHT, WIDTH), settings)
    for x, y in centres(ring):
        assert labels[y, x] == crossings(x, y, ring) % 2, (x, y)
    assert not any("cross" in warning for warning in warnings)


@given(
    st.lists(st.tuples(st.floats(-3, WIDTH + 3), st.floats(-3, HEIGHT + 3)), min_size=3, max_size=8)
)
def test_outlines_that_may_cross_themselves(folder, ring):
    labels = read_labels(outlined(folder, ring), (HEIGHT, WIDTH), min_piece_area=0)
    for x, y in centres(ring):
        assert labels[y, x] == (turns(x, y, ring) != 0), (x, y)


@given(
    st.lists(st.integers(0, 2 * WIDTH), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(0, 2 * HEIGHT), min_size=2, max_size=2),
    st.booleans(),
)
def test_neighbours_share_no_pixel_and_leave_none(folder, cuts, reach, reverse):
    """Strips between common sides, whose vertices lie on pixel centres and between them."""
    sides = [-1.0, *(cut / 2 for cut in sorted(cuts)), WIDTH + 0.0]
    low, high = -1.0 - reach[0], HEIGHT + 0.0 + reach[1]
    strips = [
        [(left, low), (right, low), (right, high), (left, high)]
        for left, right in itertools.pairwise(sides)
    ]
    if reverse:
        strips = [strip[::-1] for strip in strips]
    alone = [
        read_labels(outlined(folder, strip), (HEIGHT, WIDTH), min_piece_area=0) for strip in strips
    ]
    np.testing.assert_array_equal(sum(alone), np.ones((HEIGHT, WIDTH)))


@pytest.mark.parametrize("far", [1e6, 1e12, 1e18, 1e100, 1e300])
def test_vertices_far_outside(tmp_path, far):
    around = [(-far, -far), (far, -far), (far, far), (-far, far)]
    assert (read_labels(outlined(tmp_path, around), (HEIGHT, WIDTH)) == 1).all()
    for sign in (1, -1):
        beyond = [(sign * far * x, sign * far * y) for x, y in ((1, 1), (2, 1), (1, 2))]
        labels, (warning,) = read_annotation(outlined(tmp_path, beyond), (HEIGHT, WIDTH))
        assert not labels.any()
        assert "no pixel" in warning


def test_geojson_with_a_byte_order_mark(tmp_path):
    path = outlined(tmp_path, [(1, 1), (9, 1), (9, 9), (1, 9)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert (read_labels(path, (HEIGHT, WIDTH)) == 1).sum() == 64
