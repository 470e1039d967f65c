"""The documentation site: it builds without a warning, and says everything that it should."""

import importlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nucleigan.config import Config, IngestionSettings, Settings
from nucleigan.evaluation import MEASURES, MODEL, NUCLEUS, SLIDE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning fails the build."""
    for package in ("sphinx", "myst_parser", "pydata_sphinx_theme"):
        pytest.importorskip(package, reason=f"{package} of the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


class Text(HTMLParser):
    """Collects the text of code elements and of cells, and what the page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        elif tag in ("script", "img", "iframe"):
            self.loaded.append(values.get("src") or "")
        elif tag == "link" and values.get("rel") == "stylesheet":
            self.loaded.append(values.get("href") or "")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n").replace("\N{NO-BREAK SPACE}", " ")


def read(page: Path) -> Text:
    text = Text()
    text.feed(page.read_text(encoding="utf-8"))
    return text


def keys(settings: Settings) -> list[tuple[str, object]]:
    """Every key and its default; those of a section before those of the sections within it."""
    inner = [value for _, value in settings if isinstance(value, Settings)]
    found = [(key, value) for key, value in settings if not isinstance(value, Settings)]
    return found + [pair for section in inner for pair in keys(section)]


def as_json(value: object) -> str:
    """A default as YAML and JSON have it."""
    return json.dumps(value, ensure_ascii=False)


def test_every_key_of_the_configuration_is_there_with_its_default(site):
    rows = read(site / "configuration.html").rows
    # Other tables stand before them.
    rows = rows[next(place for place, row in enumerate(rows) if row[0] == "key") :]
    rows = [row for row in rows if row[0] != "key"]
    expected = [(key, as_json(value)) for key, value in keys(Config())]
    assert [(row[0], row[2]) for row in rows] == expected
    written = {row[0]: row for row in rows}
    assert written["sparsity"][1:3] == ["number, ≥ 0", "0.02"]
    assert written["max_pixels"][1] == "whole number, ≥ 1000, ≤ 100000000"
    assert written["synthetic_share"][1:3] == ["number, ≥ 0, ≤ 1 or null", "null"]
    assert written["views"][1:3] == ["1, 2, 4, 8", "1"]
    assert written["scale"][1:3] == ["list of 2: number, > 0", "[1.0, 1.0]"]
    assert all(row[3] for row in rows)


def test_formulas_need_no_script(site):
    assert read(site / "metrics.html").tags.count("math") > 20


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.glob("*.html"):
        assert not [url for url in read(page).loaded if re.match(r"\w+:|//", url)], page


def test_the_public_api_is_there(site):
    page = (site / "api.html").read_text(encoding="utf-8")
    for package in ("slides", "stain", "masks", "metrics", "segmentation"):
        module = importlib.import_module(f"nucleigan.{package}")
        missing = [
            name for name in module.__all__ if f'id="nucleigan.{package}.{name}"' not in page
        ]
        assert not missing


def test_every_file_of_the_rules_is_described():
    page = (DOCS / "artifacts.md").read_text(encoding="utf-8")
    found = set()
    for rules in (ROOT / "rules").glob("*.smk"):
        for path in re.findall(r'results\(\s*f?"([^"]+)"', rules.read_text(encoding="utf-8")):
            path = path.replace("{{", "{").replace("}}", "}")
            # Of each comparison of models.
            folders = ("evaluation", "baselines", "ablation") if "{folder}" in path else ("",)
            found |= {
                path.replace("{RUN}", "{method}/{data}/{seed}").replace("{folder}", folder)
                for folder in folders
            }
    made = {path for path in found if not re.match("logs/|benchmarks/", path)}
    # Inputs whose kind a helper fills in.
    made = {path for path in made if not re.search(r"{(kind|ending)}", path)}
    assert len(made) > 40
    assert not {path for path in made if f"`{path}`" not in page}


def test_every_column_of_the_evaluation_is_described():
    page = (DOCS / "artifacts.md").read_text(encoding="utf-8")
    assert not [name for name in (*MODEL, *SLIDE, *MEASURES, *NUCLEUS) if f"`{name}`" not in page]


def test_every_limit_of_what_is_read_is_described():
    page = (DOCS / "untrusted.md").read_text(encoding="utf-8")
    for name, value in IngestionSettings():
        if name not in ("mpp", "min_piece_area"):
            assert f"`{name}`, {value:,.0f}" in page
