"""Changed code changes exactly the digests that depend on it."""

import shutil
from functools import cache
from pathlib import Path

import pytest

from nucleigan import provenance

FILES = {
    "nucleigan/__init__.py": '"""A package."""\n__version__ = "1"\n',
    "nucleigan/config.py": "VALUE = 1\n",
    "nucleigan/tools.py": "from nucleigan.config import VALUE\ndef tool():\n    return VALUE\n",
    "nucleigan/stain/__init__.py": (
        "from nucleigan.stain.one import first\nfrom nucleigan.stain.two import second\n"
        '__all__ = ["first", "second"]\n'
    ),
    "nucleigan/stain/one.py": (
        '"""One."""\nimport math\n\ndef first(x):\n    """Do."""\n    return math.sqrt(x)\n'
    ),
    "nucleigan/stain/two.py": (
        "def second(x):\n    from nucleigan.tools import tool\n    return tool() + x\n"
    ),
    "nucleigan/odd/__init__.py": "import nucleigan.stain\nSIDE_EFFECT = print()\n",
    "nucleigan/odd/inner.py": "def inner():\n    return 1\n",
    "first.py": "from nucleigan.stain import first\nfirst(1)\n",
    "second.py": "from nucleigan.stain import second as other\nother(1)\n",
    "attribute.py": "from nucleigan import stain\nstain.first(1)\n",
    "package.py": "from nucleigan import stain\nprint(stain)\n",
    "plain.py": "import nucleigan.stain.one\n",
    "inner.py": "from nucleigan.odd.inner import inner\n",
    "lost.py": "from nucleigan.lost import thing\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of the real one."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    for name in ("_code", "_imports", "_hands_on_only", "_tree", "_normalised"):
        getattr(provenance, name).cache_clear()


def short(path: Path) -> list[str]:
    return [name.removeprefix("nucleigan.") for name in provenance.script_modules(path)]


def changed(package: Path, script: str, name: str, before: str, after: str) -> bool:
    """Whether an edit changes a script's digest."""
    old = provenance.script_digest(package / script)
    text = (package / name).read_text()
    assert before in text
    (package / name).write_text(text.replace(before, after))
    forget()
    return provenance.script_digest(package / script) != old


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("first.py", ["stain.one"]),
        ("second.py", ["stain.two", "tools"]),
        ("attribute.py", ["stain.one"]),
        ("package.py", ["stain", "stain.one", "stain.two", "tools"]),
        ("plain.py", ["stain.one"]),
        ("inner.py", ["odd", "odd.inner", "stain", "stain.one", "stain.two", "tools"]),
    ],
)
def test_modules_that_a_script_may_use(package, script, expected):
    assert short(package / script) == expected


def test_edited_function_changes_what_uses_it(package):
    assert changed(package, "first.py", "nucleigan/stain/one.py", "sqrt", "exp")
    assert not changed(package, "second.py", "nucleigan/stain/one.py", "exp", "cos")


def test_import_inside_a_function_counts(package):
    assert changed(package, "second.py", "nucleigan/tools.py", "return VALUE", "return -VALUE")


def test_the_script_itself_counts(package):
    assert changed(package, "first.py", "first.py", "first(1)", "first(2)")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""One."""', '"""Two."""'),
        ('    """Do."""\n', ""),
        ("sqrt(x)\n", "sqrt( x )  # root\n"),
        ("import math\n\n", "import math\n\n\n\n"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_count(package, before, after):
    assert not changed(package, "first.py", "nucleigan/stain/one.py", before, after)


def test_settings_do_not_count(package):
    assert not changed(package, "second.py", "nucleigan/config.py", "1", "2")


def test_code_is_read_once_until_it_changes(package, monkeypatch):
    first, second = (
        provenance.script_digest(package / f"{name}.py") for name in ("first", "second")
    )
    kept = package / "nucleigan/__pycache__" / provenance.KEPT
    read = []
    monkeypatch.setattr(provenance, "_normalised", cache(lambda path: read.append(path) or ""))
    assert provenance.script_digest(package / "first.py") == first
    assert provenance.script_digest(package / "second.py") == second
    assert not read and sorted(path.name for path in kept.parent.iterdir()) == [kept.name]
    (package / "nucleigan/new.py").write_text("")
    provenance._code.cache_clear()
    assert provenance.script_digest(package / "first.py") != first and read


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"code": 1, "digests": 2}'])
def test_what_is_kept_may_be_spoilt(package, content):
    digest = provenance.script_digest(package / "first.py")
    kept = package / "nucleigan/__pycache__" / provenance.KEPT
    kept.write_bytes(content)
    assert provenance.script_digest(package / "first.py") == digest
    shutil.rmtree(kept.parent)
    kept.parent.touch()
    assert provenance.script_digest(package / "first.py") == digest


def test_missing_module_is_named(package):
    with pytest.raises(ModuleNotFoundError, match=r"nucleigan\.lost"):
        provenance.script_digest(package / "lost.py")


def test_real_scripts():
    forget()
    scripts = Path(__file__).parents[1] / "workflow_scripts"
    used = {path.stem: set(short(path)) for path in sorted(scripts.glob("*.py"))}
    assert len(used) >= 15
    for name in ("ingest_slide", "fit_polygons", "draw_polygons", "cut_patches"):
        assert not any(module.startswith("stain") for module in used[name]), name
    # Phantoms share the textbook's stain vectors with the stage, and nothing that it computes.
    assert used["draw_phantom"].isdisjoint(
        {"stain.profile", "stain.separation", "stain.normalization"}
    )
    assert "stain.separation" in used["profile_stain"]
    assert not any(module.startswith(("models", "networks")) for module in used["evaluate_slide"])
    assert "segmentation.export" not in used["train_segmenter"]
    # A change of how images are painted trains no segmenter, nor the other way round.
    assert "models.painter" in used["train_cyclegan"] & used["synthesize_pairs"]
    assert used["train_segmenter"].isdisjoint({"models.cyclegan", "models.painter"})
    assert "models.cyclegan" not in used["synthesize_pairs"] | used["judge_synthesis"]
    assert used["train_cyclegan"].isdisjoint({"models.validation", "models.train"})
