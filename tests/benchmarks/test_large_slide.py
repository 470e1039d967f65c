"""The drawn slide is a pyramid, and ingestion takes the level that it needs."""

import numpy as np
import pytest
import tifffile

from nucleigan.artifacts import read_tiff
from nucleigan.config import IngestionSettings
from nucleigan.slides import ingest
from nucleigan.slides.images import read_header
from nucleigan.slides.sheet import Slide

SIDE, STRIDE = 2944, 448


@pytest.fixture(scope="module")
def drawn(script, tmp_path_factory):
    """A slide with one island in its upper left corner."""
    path = tmp_path_factory.mktemp("large") / "slide.tif"
    script("large_slide").draw(path, SIDE, SIDE, [(0, 0)], STRIDE)
    return path


def test_levels_show_the_same(drawn):
    header = read_header(drawn)
    assert header.levels == ((2944, 2944), (736, 736), (184, 184)) and header.mpp == 0.25
    with tifffile.TiffFile(drawn) as file:
        whole, *smaller = (level.asarray().astype(int) for level in file.series[0].levels)
    assert whole[0, 0].tolist() == [244] * 3 and whole[STRIDE:-600, STRIDE:-600].std() > 10
    for level in smaller:
        step = SIDE // len(level)
        means = whole.reshape(len(level), step, len(level), step, 3).mean((1, 3))
        assert np.abs(means - level).max() <= 0.5


@pytest.mark.parametrize(("mpp", "level"), [(0.25, 0), (1.0, 1), (4.0, 2)])
def test_ingestion_reads_the_level_of_the_working_magnification(drawn, tmp_path, mpp, level):
    ingest(
        Slide("large", "breast", "test", drawn),
        tmp_path / "image.tif",
        tmp_path / "slide.json",
        tmp_path / "slide.png",
        IngestionSettings(mpp=mpp),
    )
    with tifffile.TiffFile(drawn) as file:
        wanted = file.series[0].levels[level].asarray()
    np.testing.assert_array_equal(read_tiff(tmp_path / "image.tif"), wanted)
