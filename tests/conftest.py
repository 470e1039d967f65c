"""Fixtures that several test packages share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

# Shared machines stall; a slow example is not a wrong one.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides; tests that need it skip where it is absent.

    ``NUCLEIGAN_REAL_DATA`` names it; otherwise it lies beside the checkout.
    """
    folder = Path(os.environ.get("NUCLEIGAN_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "kumar" / "slides.csv").is_file():
        pytest.skip(f"no real slides in {folder}; set NUCLEIGAN_REAL_DATA to their folder")
    return folder.resolve()
