"""The command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy.ndimage import center_of_mass
from tiny_workflow import SIDE, draw_slide

from nucleigan.cli import main
from nucleigan.config import ComputeSettings, Config
from nucleigan.errors import NucleiganError
from nucleigan.segmentation import Segmenter
from nucleigan.segmentation.stage import _working_in, workspace
from nucleigan.slides import read_image, read_labels
from nucleigan.slides.sheet import read_sheet

MODEL = Path(__file__).parents[1] / "models" / "kumar-cpu.safetensors"
ANNOTATION = (
    '<Annotations><Annotation><Regions><Region Id="1"><Vertices><Vertex X="2" Y="2"/>'
    '<Vertex X="9" Y="2"/><Vertex X="9" Y="9"/></Vertices></Region></Regions></Annotation>'
    "</Annotations>"
)


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A folder as the public download has it, with one known tile of each split and a stranger."""
    for name in ("TCGA-A7-A13E-01Z-00-DX1", "TCGA-DK-A2I6-01A-01-TS1", "TCGA-XX-0000-01Z-00-DX1"):
        image = tmp_path / "Tissue Images" / f"{name}.tif"
        annotation = tmp_path / "Annotations" / f"{name}.xml"
        for path in (image, annotation):
            path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(image)
        annotation.write_text(ANNOTATION)
    return tmp_path


def test_sheet_of_a_public_download(download, capsys):
    output = download / "slides.csv"
    assert main(["sheet", str(download), "--output", str(output)]) == 0
    rows = {slide.slide: slide for slide in read_sheet(output)}
    known = rows["TCGA-A7-A13E-01Z-00-DX1"]
    assert (known.organ, known.split) == ("breast", "train")
    assert known.sha256 is not None
    assert known.annotation is not None
    assert known.annotation.is_file()
    assert rows["TCGA-DK-A2I6-01A-01-TS1"].split == "test"
    assert rows["TCGA-XX-0000-01Z-00-DX1"].organ == "unknown"
    assert "TCGA-XX-0000" in capsys.readouterr().err
    # Somebody may have changed it.
    output.write_text("mine")
    assert main(["sheet", str(download), "--output", str(output)]) == 1
    assert "is there already" in capsys.readouterr().err and output.read_text() == "mine"
    assert main(["sheet", str(download), "--output", str(output), "--overwrite"]) == 0
    assert len(read_sheet(output)) == len(rows)


def test_mistakes_are_one_sentence(tmp_path, capsys):
    assert main(["sheet", str(tmp_path), "--output", str(tmp_path / "slides.csv")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "slides.csv").exists()


@pytest.mark.parametrize("second", ["b/x.tif", "b/x.svs", "a/x.tif"])
def test_images_whose_results_share_a_name_are_refused(tmp_path, capsys, second):
    images = [str(tmp_path / name) for name in ("a/x.tif", "c/y.tif", second)]
    # There is no model: that is not looked at before.
    output = tmp_path / "o"
    assert main(["segment", "no.safetensors", *images, "--output", str(output)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {images[2]}: ") and said.count("\n") == 1
    assert images[0] in said and "folders" in said
    assert not output.exists()


def test_schema(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == Config.model_json_schema()


def test_config(capsys):
    assert main(["config"]) == 0
    text = (Path(__file__).parents[1] / "config.yaml").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("mpp", ["nan", "inf", "-0.25", "0", "1e-9", "25"])
def test_magnifications_that_no_microscope_has_are_refused(tmp_path, capsys, mpp):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "x.png")
    images = [str(MODEL), str(tmp_path / "x.png"), "--output", str(tmp_path / "o"), "--mpp", mpp]
    assert main(["segment", *images, "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'x.png'}: mpp is ") and said.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_slide_may_be_larger_than_by_default_or_not(tmp_path, capsys):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "x.png")
    given = [str(MODEL), str(tmp_path / "x.png"), "--output", str(tmp_path / "o"), "--mpp", "0.25"]
    for most, status in (("255", 1), ("256", 0), ("0", 1)):
        assert main(["segment", *given, "--device", "cpu", "--max-pixels", most]) == status
    assert "max_pixels" in capsys.readouterr().err


def test_results_that_are_there_are_replaced_if_that_is_asked_for_alone(tmp_path, capsys):
    """As an annotation that somebody has drawn in QuPath beside the slide."""
    for name in ("x.png", "z.png"):
        Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / name)
    (tmp_path / "x.geojson").write_text("mine")
    images = [str(tmp_path / name) for name in ("x.png", "z.png")]
    given = [str(MODEL), *images, "--output", str(tmp_path), "--mpp", "0.25", "--device", "cpu"]
    assert main(["segment", *given]) == 1
    said = capsys.readouterr()
    assert f"error: {tmp_path / 'x.geojson'}: is there already" in said.err
    assert said.out.startswith(f"{images[1]}: ")
    assert (tmp_path / "x.geojson").read_text() == "mine"
    assert not (tmp_path / "x.labels.tif").exists()
    assert main(["segment", *given, "--overwrite"]) == 0
    assert "FeatureCollection" in (tmp_path / "x.geojson").read_text()
    (tmp_path / "x.geojson").write_text("mine again")
    # What a killed call has made it need not make again.
    assert main(["segment", *given]) == 0
    assert capsys.readouterr().err.count("there already, and stay") == 2
    assert (tmp_path / "x.geojson").read_text() == "mine again"
    # One that was killed between both outputs of an image goes on.
    (tmp_path / "z.labels.tif").unlink()
    assert main(["segment", *given]) == 1
    assert f"{tmp_path / 'z.geojson'}: is there already" in capsys.readouterr().err
    workspace(tmp_path / "z.labels.tif").mkdir()
    assert main(["segment", *given]) == 0
    assert (tmp_path / "z.labels.tif").exists()
    capsys.readouterr()
    # Another model, or other options, would have found something else.
    assert main(["segment", *given, "--no-shift"]) == 1
    said = capsys.readouterr().err
    assert said.count("there already, and stay") == 1
    assert f"{tmp_path / 'z.labels.tif'}: is there already, and {tmp_path / 'z.geojson'}" in said


def test_results_of_another_image_of_the_name_are_not_taken_for_its_own(tmp_path, capsys):
    """As scanners call the slide of every patient scan.svs."""
    for number, folder in enumerate(("first", "second")):
        (tmp_path / folder).mkdir()
        for name in ("scan.png", f"{folder}.png"):
            picture = Image.fromarray(np.full((16 + number, 16, 3), 200, np.uint8))
            picture.save(tmp_path / folder / name)
    options = ["--output", str(tmp_path / "o"), "--mpp", "0.25", "--device", "cpu"]
    for folder, status in (("first", 0), ("first", 0), ("second", 1)):
        images = [str(tmp_path / folder / name) for name in ("scan.png", f"{folder}.png")]
        assert main(["segment", str(MODEL), *images, *options]) == status
    said = capsys.readouterr()
    assert "scan.labels.tif: is there already, and" in said.err and "another image" in said.err
    # Of an image that is gone nobody can say whether it is another.
    (tmp_path / "first/scan.png").unlink()
    images = [str(tmp_path / "first" / name) for name in ("scan.png", "first.png")]
    assert main(["segment", str(MODEL), *images, *options]) == 0
    assert capsys.readouterr().err.count("there already, and stay") == 2
    assert said.out.splitlines() == [
        f"{tmp_path / 'first' / name}: 0 nuclei" for name in ("scan.png", "first.png")
    ] + [f"{tmp_path / 'second/second.png'}: 0 nuclei"]


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nucleigan.cli._compare", interrupted)
    assert main(["compare", "a", "--output", "b"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_is_doubtful_about_an_image_is_said(tmp_path, capsys):
    path = tmp_path / "x.tif"
    pixels = np.zeros((32, 32, 3), np.uint8)
    tifffile.imwrite(path, pixels, resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
    given = [str(MODEL), str(path), "--output", str(tmp_path), "--mpp", "0.5"]
    assert main(["segment", *given, "--device", "cpu"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    for doubt in (
        "--mpp 0.5, which is followed",
        "is enlarged to 0.25",
        "100% of the slide is black",
    ):
        assert sum(doubt in warning and str(path) in warning for warning in warnings) == 1, doubt


def test_a_wrong_magnification_makes_no_picture_larger_than_is_accepted(tmp_path, capsys):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "x.png")
    given = [str(MODEL), str(tmp_path / "x.png"), "--output", str(tmp_path / "o"), "--mpp", "2.5"]
    assert main(["segment", *given, "--device", "cpu", "--max-pixels", "1000"]) == 1
    said = capsys.readouterr().err
    assert "at the model's 0.25 µm per pixel it has 160×160 pixels, more than 1000" in said
    assert "--mpp" in said
    assert not (tmp_path / "o").exists()


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "x.png")
    left = tmp_path / "o" / ".x.labels.tif.partial"
    left.mkdir(parents=True)
    (left / "image.tif").write_bytes(bytes(100))
    given = [str(MODEL), str(tmp_path / "x.png"), "--output", str(tmp_path / "o"), "--mpp", "0.25"]
    assert main(["segment", *given, "--device", "cpu", "--threads", "1"]) == 0
    assert torch.get_num_threads() == 1
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"x.labels.tif", "x.geojson"}
    assert main(["segment", *given, "--device", "cpu", "--threads", "0"]) == 1


def test_two_runs_do_not_make_one_file_at_once(tmp_path, capsys):
    output = tmp_path / "x.labels.tif"
    with _working_in(workspace(output)) as folder:
        (folder / "image.tif").write_bytes(b"mine")
        with (
            pytest.raises(NucleiganError, match="another run works there"),
            _working_in(workspace(output)),
        ):
            pass
        assert (folder / "image.tif").read_bytes() == b"mine"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "broken"), ValueError("odd")])
def test_whatever_fails_at_one_image_the_next_one_has_its_turn(
    tmp_path, capsys, monkeypatch, error
):
    def segmented(_, path, *rest):
        if path.stem == "x":
            raise error
        return 3

    monkeypatch.setattr("nucleigan.segmentation.segment_file", segmented)
    images = [str(tmp_path / name) for name in ("x.png", "z.png")]
    given = [str(MODEL), *images, "--output", str(tmp_path), "--device", "cpu"]
    assert main(["segment", *given]) == 1
    said = capsys.readouterr()
    assert said.out == f"{images[1]}: 3 nuclei\n"
    assert said.err.splitlines()[-1].endswith(f"not segmented: {images[0]}.")


def test_signs_that_a_terminal_does_not_know_end_nothing(tmp_path):
    """Names of files may be any bytes, and tables hold a minus that is no hyphen."""
    names = [os.fsdecode(b"gew\xe4be.png"), "z.png"]
    for name in names:
        Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / name)
    images = [tmp_path / name for name in names]
    given = [MODEL, *images, "--output", tmp_path / "o", "--mpp", "0.25", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "nucleigan", "segment", *given],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "o").glob("*.labels.tif"))) == 2


def test_an_image_that_fails_leaves_the_next_one_its_turn(tmp_path, capsys):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "x.png")
    images = [str(tmp_path / name) for name in ("nowhere.png", "x.png")]
    given = [str(MODEL), *images, "--output", str(tmp_path / "o"), "--mpp", "0.25"]
    assert main(["segment", *given, "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{images[1]}: ") and said.out.count("\n") == 1
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and "there is no such image" in errors[0]
    assert errors[1] == f"error: 1 of 2 images were not segmented: {images[0]}."
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"x.labels.tif", "x.geojson"}


def test_nuclei_stay_where_they_are_seen_if_that_is_asked_for(tmp_path):
    """The model that comes along else moves them by half a pixel, to the left and up."""
    image = draw_slide(tmp_path, "x001", "breast", "test").image
    found = {}
    for folder, options in (("moved", []), ("seen", ["--no-shift"])):
        given = [str(MODEL), str(image), "--output", str(tmp_path / folder), "--mpp", "0.25"]
        assert main(["segment", *given, "--device", "cpu", *options]) == 0
        found[folder] = read_labels(tmp_path / folder / "x001.labels.tif", (SIDE, SIDE))
    segmenter = Segmenter.load(MODEL, ComputeSettings(device="cpu"))
    segmenter.prediction = segmenter.prediction.model_copy(update={"shift": (0.0, 0.0)})
    seen = segmenter.segment(read_image(image), mpp=0.25)
    assert seen.max() > 20 and np.array_equal(found["seen"], seen)
    centres = [center_of_mass(found[folder] > 0) for folder in ("moved", "seen")]
    assert (np.subtract(*centres) < -0.2).all()


def test_a_device_that_does_not_exist_is_one_sentence(tmp_path, capsys):
    given = [str(MODEL), str(tmp_path / "x.png"), "--output", str(tmp_path / "o")]
    assert main(["segment", *given, "--device", "gpu"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: --device: ") and said.count("\n") == 1
    assert "'gpu'" in said and "cuda:N" in said


def test_an_output_that_is_no_folder_is_one_sentence(tmp_path, capsys):
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "x.png")
    (tmp_path / "o").write_text("mine")
    images = [str(MODEL), str(tmp_path / "x.png"), "--output", str(tmp_path / "o"), "--mpp", "0.25"]
    assert main(["segment", *images, "--device", "cpu"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ") and str(tmp_path / "o") in said
    assert (tmp_path / "o").read_text() == "mine"
