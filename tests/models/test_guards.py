"""Guards of a CycleGAN on networks whose failure is known."""

import numpy as np
import pytest
import torch

from nucleigan.config import (
    ComputeSettings,
    CycleGANSettings,
    DiscriminatorSettings,
    GeneratorSettings,
)
from nucleigan.models.cyclegan import CycleGAN
from nucleigan.models.guards import doubts, watch
from nucleigan.training.compute import prepare


def pictures():
    """Masks of squares, and images of other squares that are dark on bright."""
    masks = -torch.ones(4, 2, 32, 32)
    for number, mask in enumerate(masks):
        mask[:, 3 * number : 3 * number + 14, 5:20] = 1
    shifted = masks.roll(6, 3)
    return masks, painted(shifted)


def painted(masks):
    return (-0.5 * masks[:, :1]).repeat(1, 3, 1, 1)


def found(images):
    return torch.where(images[:, :1] < 0, 1.0, -1.0).repeat(1, 2, 1, 1)


def test_honest_networks_raise_no_doubt():
    masks, images = pictures()
    noise = 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    seen = watch(painted, found, masks, images + noise, painted)
    assert 0.5 < seen["spread"] < 2 and seen["hidden"] == pytest.approx(1, abs=0.01)
    assert seen["contrast"] == pytest.approx(1.0) and seen["bright"] == 0
    assert doubts(seen) == []


def test_hollow_masks_have_dark_insides():
    masks, images = pictures()
    hollow = masks.clone()
    for number, mask in enumerate(hollow):
        mask[:, 3 * number + 2 : 3 * number + 12, 7:18] = -1
    noise = 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    networks = (lambda _: painted(masks) + noise), found
    seen = watch(*networks, hollow, images, painted, masks[:, 0] > 0)
    assert seen["contrast"] == pytest.approx(1.0, abs=0.01) and seen["bright"] == 0
    assert watch(*networks, hollow, images, painted)["contrast"] < 0.9


def test_one_image_for_all_masks_is_a_collapse():
    masks, images = pictures()

    def collapsed(given):
        return images[:1].expand(len(given), -1, -1, -1)

    seen = watch(collapsed, found, masks, images, collapsed)
    assert seen["spread"] == 0
    assert any("collapsed" in doubt for doubt in doubts(seen))


def test_images_hidden_in_masks_are_found():
    masks, images = pictures()

    def hides(given):
        return found(given) * 0.9 + 0.01 * given[:, :1]

    def unpacks(given):
        return ((given - 0.9 * torch.sign(given)) / 0.01)[:, :1].repeat(1, 3, 1, 1)

    noisy = images + 0.2 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    noisy = noisy[:, :1].repeat(1, 3, 1, 1)
    seen = watch(painted, hides, masks, noisy, unpacks)
    assert seen["hidden"] > 10
    assert any("hidden in the masks" in doubt for doubt in doubts(seen))
    # What paints the pairs does not decide it, but what takes part in the cycle.
    assert watch(unpacks, hides, masks, noisy, painted)["hidden"] < 1


def test_a_pattern_that_real_images_lack_is_found():
    masks, images = pictures()
    noise = 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    stripes = 0.3 * torch.cos(torch.arange(32) * torch.pi / 2)

    def woven(given):
        return painted(given) + stripes

    honest = watch(painted, found, masks, images + noise, painted)
    assert honest["woven"] < 3 and doubts(honest) == []
    seen = watch(woven, found, masks, images + noise, woven)
    assert seen["woven"] > 20
    (doubt,) = doubts(seen)
    assert "woven" in doubt


def test_bright_nuclei_are_inverted():
    masks, images = pictures()
    seen = watch(lambda given: -painted(given), found, masks, images, painted)
    assert seen["contrast"] == pytest.approx(-1.0)
    assert seen["bright"] == 1.0
    (doubt,) = doubts(seen)
    assert "inverted" in doubt


def test_nuclei_with_white_cores_are_told_from_bright_ones():
    masks, images = pictures()

    def cored(given):
        made = painted(given)
        for number, image in enumerate(made):
            image[:, 3 * number + 4 : 3 * number + 9, 10:15] = 1
        return made

    seen = watch(cored, found, masks, images, cored)
    assert seen["bright"] == pytest.approx(5 * 5 / (14 * 15))
    assert seen["contrast"] > 0
    doubt = doubts(seen)[0]
    assert "12% of the pixels of painted nuclei" in doubt


def small_model(norm):
    settings = CycleGANSettings(
        latent_channels=2,
        generator=GeneratorSettings(width=4, depth=1, norm=norm),
        discriminator=DiscriminatorSettings(width=4, layers=1),
    )
    return CycleGAN(settings, 2, prepare(ComputeSettings(device="cpu", threads=1)), seed=0)


def test_what_paints_the_pairs_is_watched():
    """The averaged generator; what images are hidden in, of those that learn."""
    model = small_model("instance")
    masks, images = pictures()
    before = model.watch(masks.numpy(), images.numpy())
    with torch.no_grad():
        for weight in model.average.network.parameters():
            weight.zero_()
    seen = model.watch(masks.numpy(), images.numpy())
    assert seen["spread"] == seen["contrast"] == 0 < before["spread"]
    assert seen["hidden"] == before["hidden"]
    with torch.no_grad():
        for weight in model.networks.to_image.parameters():
            weight.zero_()
    # One grey comes back whatever the mask is.
    assert model.watch(masks.numpy(), images.numpy()) == seen | {"hidden": 1.0}


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_watching_changes_nothing(norm):
    model = small_model(norm)
    before = {
        name: {key: value.clone() for key, value in network.state_dict().items()}
        for name, network in model.networks.all().items()
    }
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    masks, images = pictures()
    first = model.watch(masks.numpy(), images.numpy())
    assert torch.rand(1) == expected
    assert first == model.watch(masks.numpy(), images.numpy())
    assert all(np.isfinite(value) for value in first.values())
    for name, network in model.networks.all().items():
        assert network.training
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[name][key])
