from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from nucleigan.artifacts import read_json, write_image, write_json
from nucleigan.config import StainSettings
from nucleigan.errors import NucleiganError
from nucleigan.stain import (
    StainProfile,
    choose_reference,
    estimate_stains,
    normalize,
    normalize_slide,
    profile_slide,
)
from nucleigan.stain.profile import angles
from nucleigan.stain.vectors import TEXTBOOK

OTHER = np.array([[0.65, 0.70, 0.29], [0.15, 0.90, 0.40]])
OTHER = OTHER / np.linalg.norm(OTHER, axis=1, keepdims=True)
MPP = 0.25


@pytest.fixture
def slides(tmp_path: Path, render: Callable[..., np.ndarray]) -> dict[str, Path]:
    """Two slides of different stains."""
    paths = {"one": tmp_path / "slides/one/image.tif", "two": tmp_path / "slides/two/image.tif"}
    write_image(paths["one"], render(OTHER, (0.8, 1.2), 160), MPP)
    write_image(paths["two"], render(TEXTBOOK, size=160), MPP)
    return paths


def run_stage(
    folder: Path, slide: str, slides: dict[str, Path], settings: StainSettings, reference: str
) -> tuple[Path, Path, Path]:
    for name, path in slides.items():
        profile_slide(name, path, folder / name / "profile.json", settings)
    choose_reference([folder / reference / "profile.json"], folder / "reference.json", settings)
    outputs = (
        folder / slide / "image.tif",
        folder / slide / "stain.json",
        folder / slide / "before_after.png",
    )
    normalize_slide(
        slide,
        slides[slide],
        folder / slide / "profile.json",
        folder / "reference.json",
        *outputs,
        settings,
        MPP,
    )
    return outputs


def test_slide_gets_the_stains_of_the_reference(tmp_path: Path, slides: dict[str, Path]) -> None:
    settings = StainSettings()
    image_path, facts_path, picture_path = run_stage(
        tmp_path / "stain", "one", slides, settings, "two"
    )
    image, target = (tifffile.imread(slides[name]) for name in ("one", "two"))
    source, reference = estimate_stains(image), estimate_stains(target)
    result = tifffile.imread(image_path)
    np.testing.assert_array_equal(result, normalize(image, source, reference))
    assert (angles(estimate_stains(result).matrix, reference.matrix) < 3).all()

    facts = read_json(facts_path)
    assert facts["slide"] == "one"
    assert facts["reference"] == "two"
    assert facts["normalized"] is True
    assert facts["warnings"] == []
    assert facts["matrix"] == source.matrix.tolist()
    assert facts["percentiles"] == source.percentiles.tolist()
    np.testing.assert_allclose(
        facts["angles_to_reference"], angles(source.matrix, reference.matrix), atol=1e-3
    )
    change = np.abs(image.astype(int) - result).mean()
    assert facts["mean_absolute_change"] == pytest.approx(change, abs=1e-3)
    assert Image.open(picture_path).size == (4 * 160, 160)


def test_files_are_complete_and_nothing_else_is_left(
    tmp_path: Path, slides: dict[str, Path]
) -> None:
    folder = tmp_path / "stain"
    image_path, *_ = run_stage(folder, "one", slides, StainSettings(), "two")
    assert sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    ) == [
        "one/before_after.png",
        "one/image.tif",
        "one/profile.json",
        "one/stain.json",
        "reference.json",
        "two/profile.json",
    ]
    with tifffile.TiffFile(image_path) as file:
        page = file.pages.first
        assert page.is_tiled
        assert page.shape == (160, 160, 3)
        assert page.tags["XResolution"].value[0] / page.tags["XResolution"].value[1] == 1e4 / MPP


def test_failure_leaves_no_half_written_file(
    tmp_path: Path, slides: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fails)
    with pytest.raises(OSError, match="no space"):
        run_stage(tmp_path / "stain", "one", slides, StainSettings(), "two")
    left = sorted(path.name for path in (tmp_path / "stain" / "one").iterdir())
    assert left == ["image.tif", "profile.json"]


def test_without_normalisation_pixels_pass_unchanged(
    tmp_path: Path, slides: dict[str, Path]
) -> None:
    settings = StainSettings(normalize=False)
    image_path, facts_path, picture_path = run_stage(
        tmp_path / "stain", "one", slides, settings, "two"
    )
    np.testing.assert_array_equal(tifffile.imread(image_path), tifffile.imread(slides["one"]))
    facts = read_json(facts_path)
    assert facts["normalized"] is False
    assert facts["mean_absolute_change"] == 0
    assert facts["after"] is None
    assert picture_path.is_file()


def test_repeated_stage_writes_the_same_bytes(tmp_path: Path, slides: dict[str, Path]) -> None:
    first = run_stage(tmp_path / "a", "one", slides, StainSettings(), "two")
    second = run_stage(tmp_path / "b", "one", slides, StainSettings(), "two")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 3)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_odd_slides_pass_through_the_stage(
    tmp_path: Path,
    slides: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    shape: tuple[int, int],
    value: int,
) -> None:
    odd = tmp_path / "odd.tif"
    write_image(odd, np.full((*shape, 3), value, np.uint8), MPP)
    image_path, facts_path, picture_path = run_stage(
        tmp_path / "stain", "odd", {**slides, "odd": odd}, StainSettings(), "two"
    )
    result = tifffile.imread(image_path)
    assert result.shape == (*shape, 3)
    if value == 255:
        assert (result == 255).all()
    assert read_json(facts_path)["warnings"]
    assert picture_path.is_file()
    assert "warning: slide odd: " in capsys.readouterr().out


def test_a_stain_that_is_hardly_there_is_said(
    tmp_path: Path,
    slides: dict[str, Path],
    render: Callable[..., np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pale = tmp_path / "pale.tif"
    write_image(pale, render(TEXTBOOK, (0.2, 0.2), 160), MPP)
    _, facts, _ = run_stage(
        tmp_path / "stain", "pale", {**slides, "pale": pale}, StainSettings(), "two"
    )
    doubts = read_json(facts)["warnings"]
    assert any("eosin is amplified 4.0 times, not 5." in text for text in doubts)
    said = capsys.readouterr().out
    assert all(f"warning: slide pale: {text}" in said for text in doubts)
    run_stage(tmp_path / "stain", "one", slides, StainSettings(), "two")
    assert "amplified" not in capsys.readouterr().out


def test_profile_file_holds_the_estimate_exactly(tmp_path: Path, slides: dict[str, Path]) -> None:
    profile_slide("one", slides["one"], tmp_path / "profile.json", StainSettings())
    facts = read_json(tmp_path / "profile.json")
    restored = StainProfile.from_dict(facts)
    expected = estimate_stains(tifffile.imread(slides["one"]))
    assert facts["slide"] == "one"
    assert restored.matrix.tobytes() == expected.matrix.tobytes()
    assert restored.percentiles.tobytes() == expected.percentiles.tobytes()
    assert restored.warnings == expected.warnings


# The reference.


def turned(degrees: float) -> np.ndarray:
    """TEXTBOOK turned about the axis of green."""
    angle = np.radians(degrees)
    rotation = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    return TEXTBOOK @ rotation


def write_profiles(
    folder: Path, slides: dict[str, tuple[np.ndarray, tuple[str, ...]]]
) -> list[Path]:
    paths = []
    for slide, (matrix, warnings) in slides.items():
        path = folder / slide / "profile.json"
        profile = StainProfile(matrix, np.array([1.5, 1.0]), warnings)
        write_json(path, {"slide": slide, **profile.as_dict()})
        paths.append(path)
    return paths


def chosen(paths: list[Path], reference: str = "auto") -> dict[str, Any]:
    output = paths[0].parent.parent / "reference.json"
    choose_reference(paths, output, StainSettings(reference=reference))
    return dict(read_json(output))


def test_reference_is_closest_to_the_median(tmp_path: Path) -> None:
    paths = write_profiles(
        tmp_path, {name: (turned(n), ()) for name, n in dict(a=-9, b=1, c=0, d=4, e=-3).items()}
    )
    for order in (paths, paths[::-1]):
        found = chosen(order)
        assert found["slide"] == "c"
        assert "median of 5 training slides" in found["rule"]
    assert StainProfile.from_dict(found).matrix.tobytes() == turned(0).tobytes()
    assert StainProfile.from_dict(found).percentiles.tolist() == [1.5, 1.0]


def test_an_outlier_does_not_move_the_reference(tmp_path: Path) -> None:
    # The mean, 8.4°, is closest to d.
    degrees = dict(a=0, b=1, c=2, d=14, e=25)
    paths = write_profiles(tmp_path, {k: (turned(v), ()) for k, v in degrees.items()})
    assert chosen(paths)["slide"] == "c"


@pytest.mark.parametrize("names", [("b", "a"), ("a", "b"), ("a", "c", "b")])
def test_name_decides_between_equals(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert chosen(write_profiles(tmp_path, dict.fromkeys(names, (TEXTBOOK, ()))))["slide"] == "a"


@pytest.mark.parametrize("degrees", [1.0, 3.3, 7.7, 12.1, 14.9])
def test_name_decides_between_two_slides(tmp_path: Path, degrees: float) -> None:
    """Both lie equally far from their mean; rounding of the last bit must not decide."""
    slides = {"b": (turned(-degrees), ()), "a": (turned(degrees), ())}
    assert chosen(write_profiles(tmp_path, slides))["slide"] == "a"


def test_slides_with_warnings_are_passed_over(tmp_path: Path) -> None:
    paths = write_profiles(
        tmp_path,
        {"a": (turned(0), ("doubtful",)), "b": (turned(0), ("doubtful",)), "c": (turned(9), ())},
    )
    found = chosen(paths)
    assert found["slide"] == "c"
    assert "median of 1 training slides" in found["rule"]


def test_all_slides_count_when_all_have_warnings(tmp_path: Path) -> None:
    degrees = dict(a=5, b=0, c=-6)
    paths = write_profiles(tmp_path, {k: (turned(v), ("doubtful",)) for k, v in degrees.items()})
    found = chosen(paths)
    assert found["slide"] == "b"
    assert found["warnings"] == ["doubtful"]


def test_configured_slide_is_taken_as_it_is(tmp_path: Path) -> None:
    paths = write_profiles(
        tmp_path, {"a": (turned(0), ()), "b": (turned(0), ()), "c": (turned(20), ("doubtful",))}
    )
    for given in (paths[2:], paths):
        found = chosen(given, "c")
        assert found["slide"] == "c"
        assert found["rule"] == "configured as stain.reference = c"


def test_absent_reference_says_what_to_do(tmp_path: Path) -> None:
    paths = write_profiles(tmp_path, {"a": (turned(0), ())})
    with pytest.raises(NucleiganError, match=r"stain\.reference: 'c'.*set it to a slide"):
        chosen(paths, "c")
    with pytest.raises(NucleiganError, match="at least one training slide"):
        choose_reference([], tmp_path / "none.json", StainSettings())
    assert not (tmp_path / "none.json").exists()
