"""What Snakemake remembers of files: settings and code, by the path as it is spelled.

Without such a record a changed setting is no reason to make a file anew.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path

# Below the working directory: of files that are complete, and of those that jobs have begun, which
# Snakemake makes anew by itself.
RECORDS, BEGUN = Path(".snakemake/metadata"), Path(".snakemake/incomplete")
# Longer names are cut into folders.
LONGEST = 255


def spelled(path: str | Path) -> Path:
    """One spelling of a path: relative to the working directory where it lies inside.

    Elsewhere a relative path stays relative, so that a project may move together with its data.
    """
    here = Path.cwd()
    written = here / path
    absolute = Path(os.path.abspath(written))
    # Behind a symbolic link `..` leads to another place.
    if os.path.realpath(absolute) != os.path.realpath(written):
        return Path(path)
    if absolute.is_relative_to(here):
        return absolute.relative_to(here)
    return absolute if Path(path).is_absolute() else Path(os.path.relpath(absolute, here))


def unrecorded(paths: Iterable[str | Path]) -> list[Path]:
    """Those of these files that are there, and of which Snakemake knows nothing here."""
    return [
        path
        for path in map(Path, paths)
        if path.exists() and not any((kept / _name(path)).exists() for kept in (RECORDS, BEGUN))
    ]


def _name(path: Path) -> Path:
    """Of a file's record, as snakemake.persistence.file makes it."""
    name = urlsafe_b64encode(str(path).encode()).decode()
    parts = [name[start : start + LONGEST - 1] for start in range(0, len(name), LONGEST - 1)]
    return Path(*("@" + part for part in parts[:-1]), parts[-1])
