"""A digest of the code that a result depends on, so that changed code reruns exactly its rules.

Imports are followed statically, in functions too, from a script or module to every module of this
package that it may load. Comments, docstrings and formatting do not count.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "nucleigan"
ROOT = Path(__file__).parent.parent
# What these modules decide reaches a job as its parameters, or only shapes its messages.
EXCLUDED = frozenset(
    f"{PACKAGE}.{name}" for name in ("config", "errors", "jobs", "provenance", "cli")
)


def script_digest(path: str | Path) -> str:
    """Digest of all package modules that a script may import, directly or not."""
    return _digest(_imports(Path(path)))


def package_digest(module: str) -> str:
    """Digest of a module of the package and of all that it may import from the package."""
    return _digest({module})


def modules(start: set[str]) -> list[str]:
    """The package's modules reachable from some of them, sorted."""
    found: set[str] = set()
    waiting = set(start)
    while waiting:
        module = waiting.pop()
        if module in found or module in EXCLUDED or _file(module) is None:
            continue
        found.add(module)
        # Importing a.b.c runs a and a.b first.
        parents = module.split(".")[:-1]
        waiting |= {".".join(parents[: n + 1]) for n in range(len(parents))}
        path = _file(module)
        assert path is not None
        waiting |= _imports(path)
    return sorted(found)


def _digest(start: set[str]) -> str:
    digest = hashlib.sha256()
    for module in modules(start):
        path = _file(module)
        assert path is not None
        digest.update(f"{module}\n{_normalised(path)}\n".encode())
    return digest.hexdigest()[:16]


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> set[str]:
    """Names that may be modules of the package; ``from a import b`` may mean ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE}


@cache
def _normalised(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        documented = isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        if documented and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
            node.body = node.body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)
