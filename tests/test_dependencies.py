"""What is imported is declared, what is installed is pinned exactly with hashes, and what is
committed holds no secrets; all offline."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "envs" / "requirements.lock"
PIN = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.+!]*)((?: +--hash=sha256:[0-9a-f]{64})*)"
)

SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----",
    "AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[opsur]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60,})",
    "GitLab token": r"\bglpat-[0-9A-Za-z_-]{20}",
    "Slack token": r"\bxox[abprs]-[0-9A-Za-z-]{10,}",
    "package index token": r"\bpypi-[0-9A-Za-z_-]{50,}",
    "model hub token": r"\bhf_[0-9A-Za-z]{30,}",
    "web token": r"\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.",
    "password in an address": r"[a-z]{3,}://[^\s/:@\"'<>{}]+:[^\s/@\"'<>{}]+@[\w.-]+",
    "password": r"(?i)\b(?:password|passwd|secret|api_key|token) *[:=] *[\"'][^\"'\s{}<>]{8,}[\"']",
    "package registry": r"(?i)\b(?:"
    + r"|".join(
        name.replace(".", r"\.")
        for name in ("files.pythonhosted" + ".org", "pypi" + ".org", "registry.npmjs" + ".org")
    )
    + r")\b|--(?:extra-)?index-url|--trusted-host|--find-links",
}
LARGEST = 2_000_000


def lines() -> list[str]:
    text = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def pins() -> dict[str, str]:
    found = [PIN.fullmatch(line.split(" ;")[0].strip()) for line in lines()]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


def test_every_package_is_pinned_exactly():
    assert [line for line in lines() if not PIN.fullmatch(line.split(" ;")[0].strip())] == []
    assert len(pins()) == len(lines())


def test_every_package_has_hashes():
    assert [line for line in lines() if "--hash=" not in line] == []


# The oldest Python that the project allows, and systems have: a package may want more than its own
# oldest patch release.
OLDEST = "3.11.0"


def test_every_package_takes_the_oldest_python():
    refused, looked_at = {}, 0
    for name, pinned in pins().items():
        try:
            found = metadata(name)
        except PackageNotFoundError:
            # Of another system or Python.
            continue
        if found["Version"] == pinned:
            looked_at += 1
            wanted = found["Requires-Python"] or ""
            if not SpecifierSet(wanted).contains(OLDEST):
                refused[name] = wanted
    assert refused == {}
    assert looked_at > 0.9 * len(pins())


@cache
def declared() -> dict[str, list[str]]:
    """What pyproject.toml asks for: at run time, by extra, and to build."""
    toml = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = toml["project"]
    groups = {"run time": project["dependencies"], "build": toml["build-system"]["requires"]}
    return groups | project["optional-dependencies"]


@pytest.mark.parametrize("text", sorted({text for group in declared().values() for text in group}))
def test_what_the_project_asks_for_is_in_the_lock(text):
    asked = Requirement(text)
    pinned = pins().get(canonicalize_name(asked.name))
    assert pinned is not None, f"{asked.name} is missing in {LOCK.name}"
    assert asked.specifier.contains(pinned, prereleases=True)


def test_the_conda_file_takes_its_versions_from_the_lock():
    conda = yaml.safe_load((ROOT / "envs" / "nucleigan.yaml").read_text(encoding="utf-8"))
    python, pip, packages = conda["dependencies"]
    assert (pip, packages) == ("pip", {"pip": [f"-r {LOCK.name}"]})
    toml = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = Requirement("python" + toml["project"]["requires-python"])
    assert asked.specifier.contains(python.removeprefix("python="))


def imports(node: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Each module that is imported, and whether only when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            if child.module and not child.level:
                yield child.module, inside
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from imports(child, inside or function)


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Imported top-level modules that are neither Python's nor the project's."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":  # Snakemake's language
        modules = re.findall(r"^ *(?:import|from) +(\w+)", text, re.MULTILINE)
        text = "".join(f"import {module}\n" for module in modules)
    for module, inside in imports(ast.parse(text)):
        name = module.split(".")[0]
        folders = (ROOT, ROOT / "tests", path.parent)
        ours = any(
            (folder / name).is_dir() or (folder / f"{name}.py").is_file() for folder in folders
        )
        if not ours and name not in sys.stdlib_module_names:
            yield name, inside


RUN = ("run time",)
EXTRAS = {  # where imports at the top of a file, and those in functions, may be declared
    "nucleigan": (RUN, (*RUN, "workflow", "s3", "tensorboard")),
    "Snakefile": ((*RUN, "workflow"),) * 2,
    "rules": ((*RUN, "workflow"),) * 2,
    "workflow_scripts": ((*RUN, "workflow"),) * 2,
    "docs": ((*RUN, "docs"),) * 2,
    "benchmarks": ((*RUN, "workflow", "dev"),) * 2,
    "tests": (tuple(declared()),) * 2,
}


@cache
def distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def names(texts: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in texts}


def undeclared(path: Path, folder: str) -> list[str]:
    found = []
    for module, inside in imported(path):
        packages = {canonicalize_name(name) for name in distributions().get(module, [module])}
        allowed = set().union(*(names(declared()[group]) for group in EXTRAS[folder][inside]))
        if folder == "benchmarks" and inside:  # what it compares with stands in its first lines
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            commands = " ".join(re.findall(r"pip install (.*)", text))
            allowed |= {canonicalize_name(word) for word in commands.split()}
        if not packages & allowed:
            found.append(module)
    return found


def test_what_is_imported_is_declared():
    found = {}
    for folder in EXTRAS:
        for path in [ROOT / folder, *(ROOT / folder).rglob("*.*")]:
            if path.is_file() and (path.suffix in {".py", ".smk"} or path.name == "Snakefile"):
                modules = undeclared(path, folder)
                if modules:
                    found[str(path.relative_to(ROOT))] = modules
    assert found == {}


@pytest.mark.parametrize(
    ("name", "folder", "text", "expected"),
    [
        ("a.py", "nucleigan", "import json, numpy, missing_one.part", ["missing_one"]),
        ("a.py", "nucleigan", "from missing_one import b\nfrom . import c", ["missing_one"]),
        ("a.py", "nucleigan", "import requests", ["requests"]),
        ("a.py", "nucleigan", "def f():\n    import requests", []),
        ("a.py", "nucleigan", "import pytest", ["pytest"]),
        ("a.py", "tests", "import pytest, PIL, yaml", []),
        (
            "a.smk",
            "rules",
            "rule a:\n    output: 'b'\n\nfrom missing_one import (",
            ["missing_one"],
        ),
        ("a.py", "benchmarks", '"""pip install b-c"""\ndef f():\n    import b_c, d_e', ["d_e"]),
    ],
)
def test_an_undeclared_import_is_seen(tmp_path, name, folder, text, expected):
    (tmp_path / name).write_text(text)
    assert undeclared(tmp_path / name, folder) == expected


def committed() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no git checkout")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.stat().st_size < LARGEST]


def found_in(text: str) -> list[str]:
    return [name for name, pattern in SECRETS.items() if re.search(pattern, text)]


def test_no_file_holds_secrets_or_names_registries():
    found = {}
    for path in committed():
        if path.resolve() != Path(__file__).resolve():
            kinds = found_in(path.read_bytes().decode("utf-8", "replace"))
            if kinds:
                found[str(path.relative_to(ROOT))] = kinds
    assert found == {}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("private key", "-----BEGIN " + "OPENSSH PRIVATE KEY-----"),
        ("AWS key", "id = AKIA" + "Q" * 16),
        ("GitHub token", "ghp_" + "a1" * 18),
        ("GitLab token", "glpat-" + "a1" * 10),
        ("Slack token", "xoxb-" + "1" * 12),
        ("package index token", "pypi-" + "Ag" * 30),
        ("model hub token", "hf_" + "aB" * 17),
        ("web token", "eyJ" + "a" * 12 + ".eyJ" + "b" * 12 + "."),
        ("password in an address", "https" + "://user:pass" + "@host.example"),
        ("password", "api_key" + ' = "0123456789abcdef"'),
        ("package registry", "pip install --index-url " + "https://host.example a"),
        ("package registry", "see pypi" + ".org/project/a"),
    ],
)
def test_each_kind_of_secret_is_seen(kind, text):
    assert kind in found_in(text)
