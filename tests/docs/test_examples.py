"""The examples of README, docs and the model card, run as a reader would run them.

Python blocks of a page run in their order, in a folder that holds what they name: a drawn slide and
its annotation. ``nucleigan`` commands run there, too; those of Snakemake and make are planned only.
YAML blocks are checked as overlays, CSV blocks as sample sheets.
"""

import argparse
import os
import re
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import warm_snakemake
import yaml

from nucleigan.cli import main
from nucleigan.config import PhantomSettings, load
from nucleigan.evaluation import MEASURES, MODEL, SLIDE, write_rows
from nucleigan.phantoms.draw import draw_phantom
from nucleigan.slides import annotations
from nucleigan.slides.monuseg import KUMAR
from nucleigan.slides.sheet import Slide, read_sheet, write_sheet

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "models" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOWNLOAD = "MoNuSeg 2018 Training Data"
CHALLENGE = "MoNuSegTestData"
# A block of YAML, and the name that the page gives it.
SAVED = re.compile(r"^```yaml\n((?:(?!^```).*\n)*)^```\n\nSaved as `(\S+)`", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    """Every command of the pages once, without comments; paths to `.venv` fall away."""
    lines = [line for page in PAGES for block in blocks(page, "bash") for line in spelled(block)]
    return sorted({re.sub(r"\s+#.*", "", line) for line in lines if line})


def spelled(block: str) -> list[str]:
    """The commands of a block, each in a line, those of a loop as often as it runs."""
    block = block.replace(".venv/bin/", "")
    if not re.search(r"^for ", block, re.MULTILINE):
        return re.sub(r"\\\n\s*", "", block).splitlines()
    said = "".join(
        f"{program}() {{ printf '%q ' {program} \"$@\"; echo; }}\n"
        for program in ("snakemake", "python")
    )
    done = subprocess.run(
        ["bash", "-euc", said + block], capture_output=True, text=True, check=True, timeout=60
    )
    return [line.strip() for line in done.stdout.splitlines()]


def commands(program: str) -> list[str]:
    """Those of one program."""
    return [line for line in shell_lines() if line.split()[0] == program]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    slide = Slide("slide", "breast", "test", folder / "slide.tif", folder / "slide.xml", mpp=0.25)
    draw_phantom(slide, seed=0, settings=PhantomSettings(size=128))
    for copy in ("slide.svs", f"{DOWNLOAD}/Tissue Images/TCGA-A7-A13E-01Z-00-DX1.tif"):
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "slide.tif", folder / copy)
    (folder / DOWNLOAD / "Annotations").mkdir()
    shutil.copy(folder / "slide.xml", folder / DOWNLOAD / "Annotations/TCGA-A7-A13E-01Z-00-DX1.xml")
    write_png(folder / "slide.png", folder / "slide.tif")
    (folder / CHALLENGE).mkdir()
    for ending in (".tif", ".xml"):
        shutil.copy(folder / f"slide{ending}", folder / CHALLENGE / f"TCGA-44-2665-01B{ending}")
    kumar = [
        Slide(
            f"TCGA-{tile}-01Z-00-DX1", organ, split, folder / f"{tile}.tif", folder / f"{tile}.xml"
        )
        for organ, both in KUMAR.items()
        for split, tiles in zip(("train", "test"), both, strict=True)
        for tile in tiles
    ]
    (folder / "monuseg").mkdir()
    write_sheet(folder / "monuseg/slides.csv", kumar)
    for sheet in ("slides.csv", "monuseg-test/slides.csv"):
        (folder / sheet).parent.mkdir(exist_ok=True)
        # No image may be in two splits, nor a copy of it under another name.
        with (folder / "slide.svs").open("ab") as file:
            file.write(b"\0")
        train = Slide("train", "breast", "train", folder / "slide.svs", slide.annotation, mpp=0.25)
        write_sheet(folder / sheet, [train, slide])
    for month in ("january", "february"):
        row = {"method": "cgan", "data": "both", "seed": 0, "slide": "slide", "organ": "breast"}
        table = folder / "results" / month / "evaluation/slides.csv"
        row |= {"split": "test", **dict.fromkeys(MEASURES, 0.5)}
        write_rows(table, (*MODEL, *SLIDE, *MEASURES), [row])
    for run in ("demo", "mine"):
        (folder / "results" / run / "logs").mkdir(parents=True)
    for page in PAGES:
        for overlay, file in SAVED.findall(page.read_text(encoding="utf-8")):
            (folder / file).write_text(overlay, encoding="utf-8")
    for part in ("models", "configs", "profiles", "benchmarks"):
        (folder / part).symlink_to(ROOT / part)
    return folder


def write_png(path: Path, image: Path) -> None:
    from PIL import Image

    from nucleigan.slides import read_image

    Image.fromarray(read_image(image)).save(path)


@pytest.fixture
def folder(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working folder."""
    copy = tmp_path / "work"
    shutil.copytree(drawn, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


@pytest.mark.parametrize("page", pages_with("python"), ids=name)
def test_python_runs(page, folder, monkeypatch):
    # An example adds a row to this table; other tests must not see it.
    monkeypatch.setattr(annotations, "OUTLINES", dict(annotations.OUTLINES))
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), names)


@pytest.fixture
def run(folder: Path) -> Callable[..., None]:
    """Run a command, and fail with its output where it fails."""

    def run(*command: str, cwd: Path = folder) -> None:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout

    return run


@pytest.mark.parametrize("command", commands("nucleigan"))
def test_nucleigan_runs(command, folder):
    _, name, *options = shlex.split(command)
    if name == "sheet":
        # Other examples need it: it is what this one makes.
        Path(options[options.index("--output") + 1]).unlink()
    assert main([name, *options]) == 0


@pytest.mark.parametrize("command", commands("snakemake"))
def test_snakemake_finds_what_to_do(command, folder):
    arguments = ["--snakefile", str(ROOT / "Snakefile"), "--dry-run", "--quiet", "all"]
    arguments += shlex.split(command)[1:]
    log = folder / "planned.log"
    status = warm_snakemake.call(arguments, ROOT, folder, log, patience=300)
    assert status == 0, log.read_text()


class Understood(Exception):
    """A script's options were read without an error."""


@pytest.mark.parametrize("command", commands("python"))
def test_scripts_know_their_options(command, folder, monkeypatch):
    script, *arguments = shlex.split(command)[1:]
    read = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser) -> None:
        read(parser, arguments)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Understood):
        runpy.run_path(script, run_name="__main__")


@pytest.mark.parametrize("command", commands("make"))
def test_make_knows_its_targets(command, run):
    run("make", "--dry-run", *shlex.split(command)[1:], cwd=ROOT)


def test_no_other_program_stands_in_the_examples():
    known = {"nucleigan", "snakemake", "make", "cp", "python"}
    assert {line.split()[0] for line in shell_lines()} <= known


@pytest.mark.parametrize("page", pages_with("yaml"), ids=name)
def test_yaml_is_an_overlay(page, tmp_path):
    for block in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)
        overlay = tmp_path / "overlay.yaml"
        overlay.write_text(block, encoding="utf-8")
        load(ROOT / "config.yaml", overlay)


@pytest.mark.parametrize("page", pages_with("csv"), ids=name)
def test_csv_is_a_sheet(page, tmp_path):
    for block in blocks(page, "csv"):
        sheet = tmp_path / "slides.csv"
        sheet.write_text(block, encoding="utf-8")
        assert {slide.split for slide in read_sheet(sheet)} == {"train", "val", "test"}
