"""A digest of the code that a result depends on, so that changed code reruns exactly its rules.

Imports are followed statically, inside functions too, from a script or module to every module of
this package that it may use. A name that a package only hands on (``from nucleigan.stain import
normalize``) leads to the module that defines it, not to all its neighbours. Comments, docstrings
and formatting do not count. What is imported under a name made at run time is not seen.

Reading the code takes a second, and every job of a cluster asks again: digests are kept beside the
package's byte code for as long as no file of it changes.
"""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

PACKAGE = "nucleigan"
ROOT = Path(__file__).parent.parent
# Settings reach a job as its parameters, which the workflow compares by itself; the others shape
# messages, or this digest, or wait for a GPU, but make no result.
EXCLUDED = frozenset(
    f"{PACKAGE}.{name}"
    for name in ("config", "defaults", "errors", "gpus", "jobs", "progress", "provenance", "cli")
)

KEPT = "digests.json"


def script_digest(path: str | Path) -> str:
    """Digest of a workflow script and of all package modules that it may use.

    Parameters
    ----------
    path
        A Python file outside of the package.

    Returns
    -------
    16 hexadecimal digits.
    """
    name = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return _kept(
        name, lambda: _digest([_normalised(Path(path)), *map(_source, script_modules(path))])
    )


def package_digest(module: str) -> str:
    """Digest of a module of the package and of all that it may use from the package."""
    return _kept(module, lambda: _digest(map(_source, _closure({module}))))


def script_modules(path: str | Path) -> list[str]:
    """The package's modules that a script may use, directly or not, sorted."""
    return _closure(set(_imports(Path(path))))


def _kept(name: str, compute: Callable[[], str]) -> str:
    """A digest that was computed before from the same code, or is computed now."""
    try:
        code = _code()
    except OSError:  # a file that comes or goes at this moment
        return compute()
    path = ROOT / PACKAGE / "__pycache__" / KEPT
    found: dict[str, str] = {}
    # Whatever is wrong with the file, or with its folder, costs a second.
    with suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["code"] == code:
            found = dict(stored["digests"])
    if name not in found:
        found[name] = compute()
        # Not where a file was saved between the two looks at it.
        with suppress(OSError):
            if _code.__wrapped__() != code:
                return found[name]
            temporary = path.with_suffix(f".{os.getpid()}")
            path.parent.mkdir(exist_ok=True)
            temporary.write_text(json.dumps({"code": code, "digests": found}), encoding="utf-8")
            temporary.replace(path)
    return found[name]


@cache
def _code() -> str:
    """SHA-256 of all files of the package, and of the Python that reads them."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        # Editors leave hidden names that lead nowhere.
        if path.name.startswith(".") or not path.is_file():
            continue
        digest.update(f"\n{path.relative_to(ROOT)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _closure(start: set[str]) -> list[str]:
    found: set[str] = set()
    waiting = set(start)
    while waiting:
        module = waiting.pop()
        if module in found or module in EXCLUDED:
            continue
        found.add(module)
        parts = module.split(".")
        parents = {".".join(parts[:n]) for n in range(1, len(parts))}
        # Importing a.b runs a's __init__ first; one that hands on names decides nothing.
        waiting |= {parent for parent in parents if not _hands_on_only(_existing(parent))}
        waiting |= _imports(_existing(module))
    return sorted(found)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()[:16]


def _source(module: str) -> str:
    return f"{module}\n{_normalised(_existing(module))}"


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _existing(module: str) -> Path:
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"{module} is imported, but {ROOT} has no such module")
    return path


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules of the package that a file uses."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                names |= _used(path, _definition(node.module, alias.name), alias)
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE)


def _used(path: Path, module: str, alias: ast.alias) -> set[str]:
    """Modules behind an imported name; of a package, only those whose names the file reads."""
    if not module.endswith(f".{alias.name}") or not _is_package(module):
        return {module}
    bound = alias.asname or alias.name
    everywhere = [n for n in ast.walk(_tree(path)) if isinstance(n, ast.Name) and n.id == bound]
    read = [
        node.attr
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute) and node.value in everywhere
    ]
    if len(read) < len(everywhere):
        return {module}
    return {_definition(module, name) for name in read}


def _is_package(module: str) -> bool:
    path = _file(module)
    return path is not None and path.name == "__init__.py"


def _definition(module: str, name: str) -> str:
    """The module that ``from module import name`` takes the name from."""
    if module.split(".")[0] != PACKAGE or not _is_package(module):
        return module
    if _file(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    for node in _tree(_existing(module)).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _definition(node.module, alias.name)
    return module


@cache
def _hands_on_only(path: Path) -> bool:
    """Whether a package's ``__init__`` holds nothing but imports, a docstring and plain names."""
    return all(
        isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Assign) and _is_literal(node.value))
        for node in _tree(path).body
    )


def _is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.List | ast.Tuple) and all(map(_is_literal, node.elts))
    )


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _normalised(path: Path) -> str:
    """The source without comments, docstrings and formatting."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
