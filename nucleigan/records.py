"""What Snakemake remembers of files: settings and code, by the path as it is spelled.

Without such a record a changed setting is no reason to make a file anew.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path

# Below the working directory.
RECORDS = Path(".snakemake/metadata")
# Longer names are cut into folders.
LONGEST = 255


def spelled(path: str | Path) -> Path:
    """One spelling of a path: relative to the working directory where it lies inside."""
    absolute, here = Path(os.path.abspath(path)), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def unrecorded(paths: Iterable[str | Path]) -> list[Path]:
    """Those of these files that are there, and of which Snakemake knows nothing here."""
    return [Path(path) for path in paths if Path(path).exists() and not _record(path).exists()]


def _record(path: str | Path) -> Path:
    # As snakemake.persistence.file does it.
    name = urlsafe_b64encode(str(path).encode()).decode()
    parts = [name[start : start + LONGEST - 1] for start in range(0, len(name), LONGEST - 1)]
    return RECORDS.joinpath(*("@" + part for part in parts[:-1]), parts[-1])
