"""The readers that are fuzzed, with small limits, and what must be true of what they accept."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from nucleigan import artifacts
from nucleigan.artifacts import open_stack, read_json, read_table, read_tiff
from nucleigan.config import ComputeSettings, Config, IngestionSettings, load
from nucleigan.errors import NucleiganError
from nucleigan.models.given import settings_of_model
from nucleigan.slides.annotations import read_annotation
from nucleigan.slides.images import read_level
from nucleigan.slides.sheet import NAME, read_sheet

LIMITS = IngestionSettings(
    max_pixels=8_000_000,
    max_vertices=200_000,
    max_crossings=2_000_000,
    max_cover=2,
    max_text_bytes=8_000_000,
    decoder_memory=200_000_000,
)
# Of the label maps and images among the generated seeds; real outlines are cut at it.
SHAPE = (40, 50)
# Of the training that the generated checkpoints belong to.
IDENTITY = '{"seed": 0}'


def image(path: Path) -> None:
    pixels, _ = read_level(path, 1.0, LIMITS)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3 and pixels.shape[2] == 3
    assert 0 < pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels


def annotation(path: Path) -> None:
    labels, warnings = read_annotation(path, SHAPE, LIMITS)
    assert labels.shape == SHAPE and labels.dtype == np.int32
    assert set(np.unique(labels)) <= set(range(SHAPE[0] * SHAPE[1] + 1))
    assert not any("\n" in warning for warning in warnings)


def sheet(path: Path) -> None:
    for slide in read_sheet(path, LIMITS.max_text_bytes):
        assert NAME.fullmatch(slide.slide) and slide.slide not in (".", "..")
        # The system must be able to look for it.
        slide.image.is_file()
        assert slide.mpp is None or np.isfinite(slide.mpp)


def configuration(path: Path) -> None:
    assert load(path).results is not None


def model(path: Path) -> None:
    from nucleigan.segmentation import Segmenter

    segmenter = Segmenter.load(path, ComputeSettings(device="cpu", threads=1))
    assert segmenter.segment(np.full((32, 32, 3), (200, 120, 180), np.uint8)).shape == (32, 32)


def application(path: Path) -> None:
    """What a run reads of the model that it applies, before any tensor."""
    settings = settings_of_model(Config(), path)
    assert settings.prediction.tile > 0 and settings.segmentation.seeds == (0,)


class Right(str):
    """A digest that is equal to any other."""

    def __radd__(self, _: object) -> "Right":
        return self

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False

    __hash__ = str.__hash__


@contextmanager
def digests_made_right() -> Iterator[None]:
    """Inside, digests are computed and fit, as if whoever changed a file had changed them, too."""
    with ExitStack() as patches:
        for name in ("_pixel_digest", "_stack_digest", "_item_digest", "_facts_digest"):
            compute = getattr(artifacts, name)

            def fits(*given: Any, compute: Callable = compute) -> Right:
                compute(*given)
                return Right()

            patches.enter_context(mock.patch.object(artifacts, name, fits))
        yield


def past_digests(read: Callable[[Path], None]) -> Callable[[Path], None]:
    """Reads a file as it is, and then as if its digests were right."""

    def both(path: Path) -> None:
        # Refused or not: the second look tells more.
        with suppress(NucleiganError):
            read(path)
        with digests_made_right():
            read(path)

    return both


def artifact(path: Path) -> None:
    assert read_tiff(path).ndim in (2, 3)


def stack(path: Path) -> None:
    items = open_stack(path)
    assert len(items) > 0
    assert np.asarray(items).ndim >= 2


def facts(path: Path) -> None:
    assert isinstance(read_json(path), dict)


def table(path: Path) -> None:
    """One without a digest, which would refuse it before it is read."""
    assert read_table(path).ndim == 2


def checkpoint(path: Path) -> None:
    """A damaged one is skipped, another's set aside; what is printed must not fill the pipe."""
    from nucleigan.training import checkpoint as checkpoints

    with tempfile.TemporaryDirectory() as name, redirect_stdout(StringIO()):
        shutil.copy(path, Path(name) / checkpoints.CURRENT)
        state = checkpoints.load(name, IDENTITY)
        assert state is None or isinstance(state, dict)


READERS = {
    "tiff": image,
    "png": image,
    "jpeg": image,
    "aperio": annotation,
    "geojson": annotation,
    "label png": annotation,
    "label tiff": annotation,
    "npy": annotation,
    "mat": annotation,
    "sheet": sheet,
    "configuration": configuration,
    "model": model,
    "application": application,
    "artifact": past_digests(artifact),
    "stack": past_digests(stack),
    "json": past_digests(facts),
    "table": table,
    "checkpoint": checkpoint,
}
