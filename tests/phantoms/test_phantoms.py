"""Phantoms: known exactly, the same every time, read back through the package's own readers."""

import numpy as np
import pytest

from nucleigan.config import PhantomSettings
from nucleigan.errors import NucleiganError
from nucleigan.phantoms.draw import draw_phantom
from nucleigan.phantoms.organs import ORGANS
from nucleigan.phantoms.render import render
from nucleigan.phantoms.sheet import phantom_slides
from nucleigan.slides import check_slides, read_image, read_labels, read_mpp
from nucleigan.stain import estimate_stains
from nucleigan.stain.profile import angles

SMALL = PhantomSettings(size=256)


def test_slides_follow_the_methods_split(tmp_path):
    slides = phantom_slides(PhantomSettings(), tmp_path)
    assert check_slides(slides) == []
    assert len({slide.slide for slide in slides}) == len(slides) == 32
    trained = [slide.organ for slide in slides if slide.split == "train"]
    tested = [slide.organ for slide in slides if slide.split == "test"]
    assert sorted(trained) == sorted(4 * ["breast", "liver", "kidney", "prostate"])
    assert len(set(tested)) == 9
    single = [organ for organ in set(tested) if tested.count(organ) == 1]
    assert sorted(single) == ["esophagus", "ovary"]


@pytest.mark.parametrize("organ", ORGANS)
def test_a_phantom_is_consistent(organ):
    phantom = render(0, "one", organ, SMALL)
    assert phantom.image.shape == (256, 256, 3) and phantom.image.dtype == np.uint8
    assert phantom.labels.shape == (256, 256)
    ids = np.unique(phantom.labels)
    assert np.array_equal(ids, np.arange(len(ids))) and len(ids) > 10
    assert len(phantom.polygons) == len(ids) - 1
    assert np.allclose(np.linalg.norm(phantom.stain_matrix, axis=1), 1)
    inside = phantom.labels > 0
    # Nuclei hold the haematoxylin.
    amounts = phantom.concentrations[..., 0]
    assert amounts[inside].mean() > 5 * amounts[~inside].mean()
    assert phantom.image[inside].mean() < phantom.image[~inside].mean() - 20


def test_the_seed_and_the_name_decide_everything():
    first, again = (render(3, "one", "liver", SMALL) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    for other in (render(4, "one", "liver", SMALL), render(3, "two", "liver", SMALL)):
        assert not np.array_equal(first.image, other.image)
        assert not np.allclose(first.stain_matrix, other.stain_matrix)


@pytest.mark.parametrize("organ", ["breast", "bladder", "ovary"])
def test_written_slides_read_back_exactly(tmp_path, organ):
    slide = next(s for s in phantom_slides(SMALL, tmp_path) if s.organ == organ)
    draw_phantom(slide, 0, SMALL)
    phantom = render(0, slide.slide, organ, SMALL)
    assert np.array_equal(read_image(slide.image), phantom.image)
    assert read_mpp(slide.image) == pytest.approx(0.25, rel=1e-3)
    labels = read_labels(slide.annotation, phantom.labels.shape)
    assert np.mean((labels > 0) == (phantom.labels > 0)) > 0.9995
    assert labels.max() == phantom.labels.max()


def test_stains_are_found_within_five_degrees():
    """All 32 slides of the demo, at its size."""
    settings = PhantomSettings()
    errors = []
    for slide in phantom_slides(settings, "unused"):
        phantom = render(0, slide.slide, slide.organ, settings)
        profile = estimate_stains(phantom.image)
        assert profile.warnings == (), slide.slide
        errors.append(angles(profile.matrix, phantom.stain_matrix))
    assert np.max(errors) < 5


def test_unknown_organ_is_said():
    with pytest.raises(NucleiganError, match="no phantom is known of organ `heart`"):
        render(0, "one", "heart", SMALL)
