"""What is installed is pinned exactly, and what is committed holds no secrets; all offline."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
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


def test_hashes_are_of_all_packages_or_none():
    hashed = ["--hash=" in line for line in lines()]
    assert all(hashed) or not any(hashed)


def direct() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(text for extra in extras.values() for text in extra)]


@pytest.mark.parametrize("text", direct())
def test_what_the_project_asks_for_is_in_the_lock(text):
    asked = Requirement(text)
    pinned = pins().get(canonicalize_name(asked.name))
    assert pinned is not None, f"{asked.name} is missing in {LOCK.name}"
    assert asked.specifier.contains(pinned, prereleases=True)


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
