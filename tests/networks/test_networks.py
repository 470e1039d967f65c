"""Shapes, initial weights and spectral norms of the networks."""

import pytest
import torch
from torch import nn

from nucleigan.config import DiscriminatorSettings, GeneratorSettings
from nucleigan.networks import (
    build_discriminator,
    build_generator,
    build_head,
    effective_state,
)
from nucleigan.networks.blocks import (
    InstanceNorm,
    LastConvolution,
    ReflectionPad,
    ResizedConvolution,
)

KINDS = [("resnet", 3), ("pix2pix_unet", 5), ("unet", 4)]


def convolutions(network):
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_generators_keep_size(kind, depth):
    settings = GeneratorSettings(kind=kind, width=8, depth=depth)
    network = build_generator(settings, 2, 3)
    assert network(torch.zeros(2, 2, 64, 96)).shape == (2, 3, 64, 96)
    assert 64 % network.factor == 0


@pytest.mark.parametrize(("kind", "depth"), [*KINDS, ("pix2pix_unet", 1)])
def test_another_last_layer_answers_beside_the_first(kind, depth):
    settings = GeneratorSettings(kind=kind, width=8, depth=depth, norm="none", reduction=2)
    network = build_generator(settings, 2, 3).eval()
    head = build_head(network, 5, seed=1)
    image = torch.randn(2, 2, 64, 96)
    features = network.features(image)
    torch.testing.assert_close(network.finish(features), network(image))
    assert head(features).shape == (2, 5, 64, 96)
    # With the first layer's weights it says the same.
    twin = network.head(3)
    last = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d)]
    outermost = last[-1] if kind != "pix2pix_unet" else network.up[0][-1]
    next(one for one in twin if hasattr(one, "weight")).load_state_dict(outermost.state_dict())
    torch.testing.assert_close(twin(features), network(image))


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_reduction_folds_squares_into_channels(reduction):
    settings = GeneratorSettings(kind="unet", width=8, depth=3, norm="none", reduction=reduction)
    network = build_generator(settings, 3, 2)
    assert network.factor == 4 * reduction
    seen = []
    network.down[0].register_forward_hook(lambda module, given, made: seen.append(made.shape))
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 2, 64, 96)
    assert seen == [(1, 8, 64 // reduction, 96 // reduction)]


@pytest.mark.parametrize("kind", ["resnet", "pix2pix_unet", "unet"])
def test_the_configuration_knows_what_sizes_must_be_multiples_of(kind):
    for depth, reduction in ((1, 1), (3, 2)):
        settings = GeneratorSettings(kind=kind, width=2, depth=depth, reduction=reduction)
        assert build_generator(settings, 3, 2).factor == settings.factor()


@pytest.mark.parametrize("norm", ["none", "instance"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_configuration_knows_the_smallest_picture_of_a_judge(layers, norm):
    settings = DiscriminatorSettings(width=2, layers=layers, norm=norm)
    judge = build_discriminator(settings, 1, init_std=0.5)
    assert judge(torch.zeros(1, 1, settings.least(), settings.least())).numel() == 1
    with pytest.raises((ValueError, RuntimeError)):
        judge(torch.zeros(1, 1, settings.least() - 1, settings.least() - 1))


def resized(bias):
    convolution = nn.Conv2d(6, 5, 3, bias=bias)
    large = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(large, nn.ReflectionPad2d(1), convolution)


@pytest.mark.parametrize("size", [(10, 12), (7, 9)])
@pytest.mark.parametrize(
    ("layer", "known"),
    [
        (InstanceNorm(6), nn.InstanceNorm2d(6)),
        (ReflectionPad(3), nn.ReflectionPad2d(3)),
        (ResizedConvolution(6, 5, bias=True), resized(bias=True)),
        (ResizedConvolution(6, 5, bias=False), resized(bias=False)),
        (LastConvolution(6, 2, 7), nn.Conv2d(6, 2, 7)),
    ],
    ids=["norm", "pad", "resized", "resized without bias", "last"],
)
def test_layers_keep_layout_and_precision_and_give_the_known_numbers(layer, known, size):
    drawn = torch.Generator().manual_seed(0)
    layer, known = layer.double(), known.double()
    weights = list(zip(layer.parameters(), known.parameters(), strict=True))
    for mine, theirs in weights:
        mine.data = torch.randn(mine.shape, generator=drawn, dtype=torch.float64)
        theirs.data = mine.detach().clone()
    x = torch.randn(3, 6, *size, generator=drawn, dtype=torch.float64)
    fast = x.to(memory_format=torch.channels_last).requires_grad_()
    plain, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    with torch.no_grad():
        torch.testing.assert_close(layer(plain), known(expected))
    made, wanted = layer(fast), known(expected)
    assert made.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made, wanted)
    slope = torch.randn(wanted.shape, generator=drawn, dtype=torch.float64)
    made.backward(slope)
    wanted.backward(slope)
    torch.testing.assert_close(fast.grad, expected.grad)
    for mine, theirs in weights:
        torch.testing.assert_close(mine.grad, theirs.grad)
        mine.grad = theirs.grad = None
    layer.float()
    half = x.bfloat16().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(half).dtype == torch.bfloat16


def test_an_instance_norm_has_gradients_of_gradients():
    """A slope penalty takes them."""
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, generator=drawn, dtype=torch.float64)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(InstanceNorm(3), x)
    assert torch.autograd.gradgradcheck(InstanceNorm(3), x)


@pytest.mark.parametrize("mean", [0, 3, 100])
def test_an_instance_norm_knows_its_statistics_finer_than_it_stores_images(mean):
    drawn = torch.Generator().manual_seed(0)
    x = (mean + torch.randn(2, 3, 32, 32, generator=drawn)).bfloat16()
    made = InstanceNorm(3)(x.to(memory_format=torch.channels_last))
    exact = nn.InstanceNorm2d(3)(x.double())
    # Of the nine digits that bfloat16 has, the last is rounded.
    torch.testing.assert_close(made.double(), exact, rtol=2**-8, atol=1e-3)


def test_an_instance_norm_keeps_an_image_free_of_its_batch():
    x = torch.randn(3, 64, 64, 64).to(memory_format=torch.channels_last)
    together = InstanceNorm(64)(x)
    assert all(torch.equal(InstanceNorm(64)(x[n : n + 1]), together[n : n + 1]) for n in range(3))
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm(64)(x[:, :, :1, :1])


@pytest.mark.parametrize("width", [1, 7, 28, 60, 97, 100])
def test_groups_of_channels_are_of_one_size(width):
    settings = DiscriminatorSettings(width=width, layers=1, norm="group")
    assert build_discriminator(settings, 3)(torch.randn(1, 3, 16, 16)).isfinite().all()


@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
def test_a_resizing_generator_learns_with_every_norm(norm):
    settings = GeneratorSettings(kind="resnet", width=8, depth=1, norm=norm, upsampling="resize")
    network = build_generator(settings, 2, 3).to(memory_format=torch.channels_last)
    image = torch.randn(2, 2, 16, 24).to(memory_format=torch.channels_last)
    network(image).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())
    assert network.layers[-1].weight.grad.abs().sum() > 0


def test_patchgan_sees_70_pixels():
    """With three strided layers one logit depends on 70×70 pixels, as published."""
    settings = DiscriminatorSettings(width=2, layers=3, norm="none", spectral_norm=False)
    judge = build_discriminator(settings, 1, init_std=0.5)
    image = torch.randn(1, 1, 256, 256, requires_grad=True)
    logits = judge(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    touched = image.grad[0, 0].abs().sum(0).nonzero().ravel()
    assert touched[-1] - touched[0] + 1 == 70


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_initial_weights_have_the_stated_spread(kind, depth, spectral):
    settings = GeneratorSettings(kind=kind, width=32, depth=depth, spectral_norm=spectral)
    network = build_generator(settings, 3, 3, init_std=0.02, seed=1)
    for layer in convolutions(network):
        stored = layer.parametrizations.weight.original if spectral else layer.weight
        if stored.numel() > 5000:
            assert abs(stored.std().item() - 0.02) < 0.001
            assert abs(stored.mean().item()) < 0.001


def test_weights_follow_their_seed_and_not_the_global_state():
    settings = DiscriminatorSettings(width=8)
    torch.manual_seed(5)
    first = build_discriminator(settings, 3, seed=7).state_dict()
    torch.manual_seed(6)
    again = build_discriminator(settings, 3, seed=7).state_dict()
    other = build_discriminator(settings, 3, seed=8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_effective_weights_load_into_a_bare_network():
    settings = GeneratorSettings(kind="resnet", width=8, depth=2, spectral_norm=True)
    wrapped = build_generator(settings, 3, 2, seed=2).eval()
    bare = build_generator(settings.model_copy(update={"spectral_norm": False}), 3, 2).eval()
    bare.load_state_dict(effective_state(wrapped))
    image = torch.randn(1, 3, 32, 32)
    assert torch.allclose(wrapped(image), bare(image), atol=1e-6)
