"""Annotations made to harm: each is refused, or read at a bounded cost."""

import json
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage
from scipy.io import savemat

from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError
from nucleigan.slides.annotations import read_annotation, read_labels

SHAPE = (40, 50)
MEGABYTE = 1 << 20
MEMORY, GROWTH = 200 * MEGABYTE, 400 * MEGABYTE
SMALL = IngestionSettings(decoder_memory=MEMORY)
SECRET = "the content of another file"


def complaint(path, settings=SMALL, shape=SHAPE) -> str:
    with pytest.raises(NucleiganError) as caught:
        read_annotation(path, shape, settings)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert len(message) < 600
    return message


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def aperio(folder: Path, regions: str, before: str = "") -> Path:
    text = f"{before}<Annotations><Annotation><Regions>{regions}</Regions></Annotation>"
    return written(folder, "a.xml", f"{text}</Annotations>")


def region(points, name="1", negative=0) -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)
    return f'<Region Id="{name}" NegativeROA="{negative}"><Vertices>{vertices}</Vertices></Region>'


def polygon(*rings, **keys):
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, **keys}


def geojson(folder: Path, content: object) -> Path:
    return written(
        folder, "a.geojson", content if isinstance(content, str) else json.dumps(content)
    )


BOX = [(3, 3), (20, 3), (20, 20), (3, 20)]


# XML


def test_entity_bombs(tmp_path, memory_growth):
    entities = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha" * 50}">' for n in range(12)
    )
    path = aperio(tmp_path, "&e11;", before=f"<!DOCTYPE a [{entities}]>")
    assert "cannot be read" in complaint(path)
    assert memory_growth() < 50 * MEGABYTE


@pytest.mark.parametrize("kind", ["SYSTEM", 'PUBLIC "x"'])
def test_entities_of_other_files_are_not_opened(tmp_path, kind):
    written(tmp_path, "secret.txt", SECRET)
    where = f'"{(tmp_path / "secret.txt").as_uri()}"'
    for before in (f"<!ENTITY s {kind} {where}>", f"<!ENTITY % s {kind} {where}> %s;"):
        path = aperio(tmp_path, region(BOX, name="&s;"), before=f"<!DOCTYPE a [{before}]>")
        assert SECRET not in complaint(path)


def test_a_document_type_of_another_file_is_not_fetched(tmp_path):
    path = aperio(tmp_path, region(BOX), before='<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">')
    assert read_labels(path, SHAPE).max() == 1


def test_elements_in_elements(tmp_path, memory_growth):
    path = aperio(tmp_path, "<a>" * 1_000_000 + "</a>" * 1_000_000)
    assert "deeper than the 100 levels of ingestion.max_depth" in complaint(path)
    assert memory_growth() < 100 * MEGABYTE


def test_regions_in_regions_cost_no_more_than_beside_each_other(tmp_path):
    depth = 90
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in BOX)
    path = aperio(tmp_path, f"<Region>{vertices}" * depth + "</Region>" * depth)
    # Each takes its own vertices alone; the second and further ones lie under the first.
    labels, (warning,) = read_annotation(path, SHAPE)
    assert (labels == 1).sum() == 17 * 17
    assert "and 69 more lie wholly under earlier ones" in warning


def test_elements_that_are_no_vertices_take_no_memory(tmp_path, memory_growth):
    path = aperio(tmp_path, "<a/>" * 2_000_000)
    assert not read_annotation(path, SHAPE, SMALL)[0].any()
    assert memory_growth() < 100 * MEGABYTE


def test_regions_without_vertices_count(tmp_path):
    settings = IngestionSettings(max_vertices=100)
    message = complaint(aperio(tmp_path, "<Region/>" * 101), settings)
    assert "101 vertices" in message
    assert not read_annotation(aperio(tmp_path, "<Region/>" * 100), SHAPE, settings)[0].any()


def test_names_cannot_forge_messages(tmp_path):
    name = "1&#10;error: all is well&#8238;&#133;" + "x" * 10_000
    path = aperio(tmp_path, region([(5, 5)], name=name))
    (warning,) = read_annotation(path, SHAPE)[1]
    assert warning.isprintable() and len(warning) < 300
    complaint(aperio(tmp_path, region([("nan", 5)], name=name)))
    complaint(written(tmp_path, "a.xml", f"<{'x' * 10_000}/>"))


# Outlines


@pytest.mark.parametrize("kind", ["xml", "geojson"])
def test_a_million_vertices(tmp_path, kind, memory_growth):
    angles = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    ring = np.stack([20 + 15 * np.cos(angles), 20 + 15 * np.sin(angles)], axis=1).round(3).tolist()
    path = aperio(tmp_path, region(ring)) if kind == "xml" else geojson(tmp_path, [polygon(ring)])
    memory_growth()
    assert (read_labels(path, SHAPE) == 1).sum() == pytest.approx(np.pi * 15**2, rel=0.02)
    assert memory_growth() < 1000 * MEGABYTE
    message = complaint(path, IngestionSettings(max_vertices=999_999))
    assert "1000000 vertices" in message and "ingestion.max_vertices" in message


def zigzag(height: int, vertices: int) -> list[tuple[float, float]]:
    """From the upper to the lower border and back, as many times as there are vertices."""
    return [(k * 40 / vertices, -5 if k % 2 else height + 5) for k in range(vertices)]


def test_zigzags_are_filled_in_bounded_memory(tmp_path, memory_growth):
    # 60 million crossings, which took 5 GB at once.
    shape = (6000, 50)
    path = geojson(tmp_path, [polygon(zigzag(6000, 10_000))])
    memory_growth()
    # Tests before this one may have left memory in pieces that nothing large fits into.
    settings = SMALL.model_copy(update={"decoder_memory": 500 * MEGABYTE})
    labels, _ = read_annotation(path, shape, settings)
    assert labels.any()
    assert memory_growth() < 600 * MEGABYTE


def test_zigzags_of_a_hundred_thousand_vertices_are_refused(tmp_path, memory_growth):
    shape = (100_000, 50)
    path = geojson(tmp_path, [polygon(zigzag(100_000, 100_000))])
    memory_growth()
    start = time.process_time()
    assert "ingestion.max_crossings" in complaint(path, shape=shape)
    assert memory_growth() < 200 * MEGABYTE
    assert time.process_time() - start < 10


def test_the_number_of_crossings_is_limited(tmp_path):
    path = geojson(tmp_path, [polygon([(1, 1), (9, 1), (9, 11), (1, 11)])])
    # Two sides over ten rows.
    read_annotation(path, SHAPE, IngestionSettings(max_crossings=20))
    assert "the 19 times" in complaint(path, IngestionSettings(max_crossings=19))


def test_outlines_over_the_whole_image_again_and_again(tmp_path):
    shape = (4000, 4000)
    whole = polygon([(0, 0), (4000, 0), (4000, 4000), (0, 4000)])
    assert read_annotation(geojson(tmp_path, [whole] * 5), shape)[0].all()
    message = complaint(geojson(tmp_path, [whole] * 1000), shape=shape)
    assert "ingestion.max_cover" in message
    # Holes are filled like outlines.
    whole["geometry"]["coordinates"] *= 1000
    assert "ingestion.max_cover" in complaint(geojson(tmp_path, [whole]), shape=shape)


def test_many_holes_in_many_nuclei_take_time_by_their_number(tmp_path):
    rows = "".join(region(BOX, name=n) + region(BOX, name=n, negative=1) for n in range(20_000))
    path = aperio(tmp_path, rows)
    start = time.process_time()
    assert not read_labels(path, SHAPE).any()
    assert time.process_time() - start < 60


# 1.7e308 is a number, but twice that is none.
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "1.7e308", "-1.7e308"])
def test_coordinates_that_are_no_place(tmp_path, value):
    text = json.dumps([polygon([["x", 5], [9, 9], [3, 9]], id="n7")]).replace('"x"', value)
    message = complaint(geojson(tmp_path, text))
    assert "region n7" in message and "finite" in message
    path = aperio(tmp_path, region([(value, 5), (9, 9), (3, 9)], name="n7"))
    assert "region n7" in complaint(path)


@pytest.mark.parametrize("digits", [400, 100_000])
def test_whole_numbers_of_many_digits(tmp_path, digits):
    text = json.dumps([polygon([["x", 5], [9, 9], [3, 9]])]).replace('"x"', "9" * digits)
    complaint(geojson(tmp_path, text))


# GeoJSON


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"geometry":'])
def test_json_in_json(tmp_path, opening):
    complaint(geojson(tmp_path, opening * 200_000))


@pytest.mark.parametrize(
    "content",
    [
        [polygon(5)],
        [polygon([5])],
        [polygon({"a": 1})],
        [polygon("12")],
        [polygon(["12", "34", "56"])],
        [polygon([[1], [2], [3]])],
        [polygon([[None, 1], [2, 2], [3, 3]])],
        [polygon([[[1, 2], 1], [2, 2], [3, 3]])],
        [{"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[], []]}}],
        [{"type": "Feature", "geometry": {"type": {"a": "x" * 9999}, "coordinates": []}}],
        [polygon([[1, 1]], properties=[1])],
        [polygon(None, id={"a": ["b\n" * 9999]})],
        {"features": 5},
        {"features": {"a": 1}},
    ],
)
def test_other_types_than_geojson_has(tmp_path, content):
    complaint(geojson(tmp_path, content))


def test_large_texts_are_not_parsed(tmp_path):
    settings = IngestionSettings(max_text_bytes=1000)
    for path in (aperio(tmp_path, " " * 1000), geojson(tmp_path, " " * 1001)):
        message = complaint(path, settings)
        assert "1000 of ingestion.max_text_bytes" in message


def test_little_text_that_needs_much_memory(tmp_path, memory_growth):
    path = geojson(tmp_path, f"[{','.join(['[]'] * 20_000_000)}]")
    message = complaint(path)
    assert "ingestion.decoder_memory" in message
    assert memory_growth() < GROWTH


# Label maps


def test_pickles_are_not_loaded(tmp_path):
    class Bait:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    for name in ("a.npy", "a.mat"):
        content = np.array([Bait()], dtype=object)
        np.save(tmp_path / "pickle.npy", content, allow_pickle=True)
        path = written(tmp_path, name, (tmp_path / "pickle.npy").read_bytes())
        complaint(path)
        np.array([Bait()], dtype=object).dump(path)
        complaint(path)
    assert not (tmp_path / "sprung").exists()


def test_archives_are_no_arrays(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", labels=np.zeros((2000, 2000)))
    complaint(written(tmp_path, "a.npy", (tmp_path / "a.npz").read_bytes()))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1000000, 1000000), }",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (-40, -50), }",
        f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({'9' * 4000}, 1), }}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (40, 50), }",
        "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (40, 50), }",
        "{'descr': '<c16', 'fortran_order': False, 'shape': (40, 50), }",
        "__import__('os').abort()",
        "(" * 5000,
    ],
)
def test_headers_of_arrays(tmp_path, header):
    text = header.encode().ljust(10_000) + b"\n"
    content = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + bytes(16 * 2000)
    complaint(written(tmp_path, "a.npy", content))


def test_maps_of_large_images_are_not_read(tmp_path):
    settings = IngestionSettings(max_pixels=1999)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "a.png")
    assert "ingestion.max_pixels" in complaint(tmp_path / "a.png", settings)


def test_label_maps_have_a_limit_of_pixels_of_their_own(tmp_path):
    within, beyond = (IngestionSettings(max_pixels_whole=number) for number in (2000, 1999))
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", aperio(tmp_path, region([(1, 1), (9, 1), (9, 9)]))):
        read_annotation(path, SHAPE, within)
        message = complaint(path, beyond)
        assert "40×50 pixels, more than the 1999 of ingestion.max_pixels_whole" in message
        # What counts is what is made of it, too.
        with pytest.raises(NucleiganError, match=r"80×100 .*max_pixels_whole"):
            read_annotation(path, SHAPE, within, (80, 100))
    # Outlines of a larger image are drawn at the size that is wanted.
    assert read_annotation(path, (80, 100), within, SHAPE)[0].shape == SHAPE


def test_the_depth_of_elements_and_the_variables_of_a_file_are_limited(tmp_path):
    path = aperio(tmp_path, region([(1, 1), (9, 1), (9, 9)]))
    read_annotation(path, SHAPE, IngestionSettings(max_depth=5))
    assert "the 4 levels of ingestion.max_depth" in complaint(path, IngestionSettings(max_depth=4))
    savemat(tmp_path / "a.mat", {"inst_map": np.ones(SHAPE), "type": np.ones(3)})
    read_annotation(tmp_path / "a.mat", SHAPE, IngestionSettings(max_variables=2))
    message = complaint(tmp_path / "a.mat", IngestionSettings(max_variables=1))
    assert "more variables than the 1 of ingestion.max_variables" in message


def test_filling_outlines_takes_no_more_memory_than_it_may(tmp_path, monkeypatch):
    """What comes after the reading counts, too."""

    def hungry(*_):
        return np.zeros(4 * MEMORY, np.uint8)

    monkeypatch.setattr("nucleigan.slides.annotations.rasterise", hungry)
    path = aperio(tmp_path, region([(1, 1), (9, 1), (9, 9)]))
    assert "ingestion.decoder_memory" in complaint(path)


def test_a_label_map_of_noise_takes_seconds(tmp_path):
    """Every id all over the image, as in a picture taken for a label map."""
    noise = np.random.default_rng(0).integers(0, 2**16, (1000, 1000)).astype(np.uint16)
    Image.fromarray(noise).save(tmp_path / "a.png")
    start = time.process_time()
    labels, _ = read_annotation(tmp_path / "a.png", noise.shape)
    assert len(np.unique(labels)) == len(np.unique(noise))
    assert time.process_time() - start < 20


def tidied(labels: np.ndarray, least: float) -> np.ndarray:
    """Each nucleus by itself: its largest piece and all pieces of the least area."""
    result = np.zeros(labels.shape, np.int32)
    for number, name in enumerate(np.unique(labels[labels > 0]), 1):
        pieces, count = ndimage.label(labels == name, np.ones((3, 3)))
        areas = [(pieces == piece).sum() for piece in range(1, count + 1)]
        for piece, area in enumerate(areas, 1):
            if area >= least or piece == 1 + int(np.argmax(areas)):
                result[pieces == piece] = number
    return result


@given(arrays(np.int32, (9, 11), elements=st.integers(0, 4)), st.integers(0, 6))
def test_crumbs_are_those_of_each_nucleus_alone(tmp_path_factory, labels, least):
    # Beside so many whole nuclei the four that lie about are no map of classes.
    whole = np.arange(5, 50, dtype=np.int32).reshape(9, 5)
    labels = np.hstack([labels, whole])
    path = tmp_path_factory.mktemp("maps") / "a.npy"
    np.save(path, labels)
    found = read_labels(path, labels.shape, min_piece_area=least)
    np.testing.assert_array_equal(found, tidied(labels, least))


def test_tiff_label_maps_that_were_cut_short(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones(SHAPE, np.uint16))
    path.write_bytes(path.read_bytes()[:-1])
    assert "ends after" in complaint(path)


# MATLAB


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64, np.float32, np.float64, bool])
def test_matlab_numbers_of_every_type(tmp_path, kind, compressed):
    labels = np.zeros(SHAPE, kind)
    labels[2:9, 3:15] = 1
    other = {"note": "text", "cell": np.array([[1], "a"], object), "struct": {"a": labels}}
    path = tmp_path / "a.mat"
    savemat(path, {**other, "labels": labels}, do_compression=compressed)
    np.testing.assert_array_equal(read_labels(path, SHAPE), labels.astype(int))


@pytest.mark.parametrize(
    "content",
    [
        {"inst_map": np.array([[1, 2], ["a", 3]], object)},
        {"inst_map": "text"},
        {"inst_map": {"inst_map": np.ones(SHAPE)}},
        {"inst_map": np.ones(SHAPE) * 1j},
        {"a": np.ones((*SHAPE, 2))},
        {"a": np.zeros((0, 0))},
        {},
    ],
)
def test_what_matlab_files_hold_besides(tmp_path, content):
    savemat(tmp_path / "a.mat", content)
    complaint(tmp_path / "a.mat")


def test_other_versions_of_matlab_files_are_named(tmp_path):
    savemat(tmp_path / "a.mat", {"inst_map": np.ones(SHAPE)}, format="4")
    assert "save it with -v7" in complaint(tmp_path / "a.mat")
    text = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    assert "save it with -v7" in complaint(written(tmp_path, "a.mat", text + bytes(1000)))


def test_matlab_variables_that_unpack_to_a_gigabyte(tmp_path, memory_growth):
    packer = zlib.compressobj(9)
    head = struct.pack("<IIIIII", 14, 2**31, 6, 8, 9, 0)
    head += struct.pack("<IIii", 5, 8, *SHAPE) + struct.pack("<HH4s", 1, 1, b"a") + bytes(0)
    bomb = packer.compress(head + struct.pack("<II", 2, SHAPE[0] * SHAPE[1]))
    bomb += b"".join(packer.compress(b"\1" * MEGABYTE) for _ in range(1024)) + packer.flush()
    preamble = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path = written(tmp_path, "a.mat", preamble + struct.pack("<II", 15, len(bomb)) + bomb)
    memory_growth()
    assert (read_annotation(path, SHAPE, SMALL)[0] == 1).all()
    assert memory_growth() < 50 * MEGABYTE
