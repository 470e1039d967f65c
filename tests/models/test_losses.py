"""Loss terms against values computed by hand."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from nucleigan.config import (
    ComputeSettings,
    CycleGANSettings,
    DiscriminatorSettings,
    GeneratorSettings,
    SegmentationSettings,
)
from nucleigan.models.cgan import (
    ConditionalGAN,
    centre_loss,
    dice_loss,
    near_border,
    pixel_losses,
)
from nucleigan.models.cyclegan import Batch, CycleGAN, polarity_loss
from nucleigan.networks import build_discriminator, effective_state
from nucleigan.training.adversarial import adversarial_loss, frozen, judge_loss, slope_penalty
from nucleigan.training.compute import prepare

CPU = ComputeSettings(device="cpu", precision="float32", threads=1)
SMALL = {
    "generator": GeneratorSettings(kind="resnet", width=4, depth=1),
    "discriminator": DiscriminatorSettings(width=4, layers=1),
    "batch_size": 2,
    "pool_size": 3,
}


def softplus(x):
    return math.log1p(math.exp(x))


def test_adversarial_loss_is_binary_cross_entropy():
    logits = torch.tensor([0.0, 2.0, -1.0])
    real = (softplus(0) + softplus(-2) + softplus(1)) / 3
    fake = (softplus(0) + softplus(2) + softplus(-1)) / 3
    assert adversarial_loss(logits, True).item() == pytest.approx(real, rel=1e-6)
    assert adversarial_loss(logits, False).item() == pytest.approx(fake, rel=1e-6)


def test_judge_loss_is_half_the_sum():
    real, fake = torch.full((2, 1), 1.5), torch.full((3, 1), -0.5)
    expected = 0.5 * (softplus(-1.5) + softplus(-0.5))
    assert judge_loss(nn.Identity(), real, fake).item() == pytest.approx(expected, rel=1e-6)


def test_slope_penalty_of_a_judge_whose_slope_is_known():
    judge = nn.Conv2d(3, 1, 1, bias=False)
    judge.weight.data.copy_(torch.tensor([1.0, 2.0, -2.0]).reshape(1, 3, 1, 1))
    penalty = slope_penalty(judge, torch.randn(2, 3, 5, 4))
    assert penalty.item() == pytest.approx(1 + 4 + 4, rel=1e-6)
    penalty.backward()
    # Of the sum of the squares of the weights.
    assert judge.weight.grad.flatten().tolist() == pytest.approx([2, 4, -4], rel=1e-6)


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_the_slope_penalty_makes_the_image_judge_flatter(weight):
    torch.manual_seed(0)
    settings = CycleGANSettings(**SMALL, slope_penalty=weight)
    model = CycleGAN(settings, 2, prepare(CPU), 0)
    model.set_rate(20.0)
    images = torch.rand(2, 3, 16, 16).mul(2).sub(1).numpy()
    masks_ = torch.rand(2, 2, 16, 16).sub(0.5).sign().numpy()
    batch = Batch(images, masks_, torch.zeros(2, 2, 0, 16, 16))
    losses = [model.step(batch, np.random.default_rng(n)) for n in range(12)]
    slope = slope_penalty(model.networks.judge_image, torch.from_numpy(images)).item()
    if weight:
        assert losses[-1]["slope"].item() < losses[0]["slope"].item() / 2
        assert slope < 0.02
    else:
        assert "slope" not in losses[0] and slope > 0.05


def test_pixel_losses_by_hand():
    logits = torch.tensor([0.0, 1.0, -2.0, 0.5]).reshape(1, 1, 2, 2)
    guess = torch.tanh(logits)
    mask = torch.tensor([1.0, 1.0, -1.0, -1.0]).reshape(1, 1, 2, 2)
    settings = SegmentationSettings(l1=70, cross_entropy=2, dice=3)
    losses = pixel_losses(logits, guess, mask, settings)
    tanh = [math.tanh(z) for z in (0.0, 1.0, -2.0, 0.5)]
    l1 = sum(abs(t - m) for t, m in zip(tanh, (1, 1, -1, -1), strict=True)) / 4
    assert losses["l1"].item() == pytest.approx(70 * l1, rel=1e-5)
    p = [(t + 1) / 2 for t in tanh]
    entropy = -(math.log(p[0]) + math.log(p[1]) + math.log(1 - p[2]) + math.log(1 - p[3])) / 4
    assert losses["cross_entropy"].item() == pytest.approx(2 * entropy, rel=1e-5)
    dice = 1 - (2 * (p[0] + p[1]) + 1) / (sum(p) + 2 + 1)
    assert losses["dice"].item() == pytest.approx(3 * dice, rel=1e-5)


def test_a_border_is_near_where_a_square_holds_both_values():
    mask = -torch.ones(1, 2, 9, 12)
    mask[0, 0, :, 4:] = 1
    mask[0, 1, 3, 3] = 1
    near = near_border(mask, 2)[0]
    assert near[0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert near[1].sum() == 25 and near[1, 1:6, 1:6].all()


def test_pixels_near_a_border_count_more():
    mask = -torch.ones(1, 1, 1, 9)
    mask[..., 8] = 1
    # With a reach of three pixels the last four are near the border.
    logits = torch.zeros(1, 1, 1, 9)
    logits[..., 0] = 1.0
    settings = SegmentationSettings(l1=70, cross_entropy=2, boundary_weight=3)
    losses = pixel_losses(logits, torch.tanh(logits), mask, settings)
    far, near, total = 5, 4, 5 + 4 * 4
    l1 = (math.tanh(1) + 1 + (far - 1) * 1 + 4 * near) / total
    assert losses["l1"].item() == pytest.approx(70 * l1, rel=1e-5)
    entropy = (softplus(2) + (far - 1 + 4 * near) * math.log(2)) / total
    assert losses["cross_entropy"].item() == pytest.approx(2 * entropy, rel=1e-5)


def test_centres_are_missed_by_the_mean_way_over_nuclei_alone():
    ways = torch.full((1, 2, 3, 4), math.nan)
    ways[0, :, 1, 1:3] = torch.tensor([[8.0, 4.0], [0.0, -16.0]])
    guess = torch.ones_like(ways).requires_grad_()
    expected = (0.75 + 0.875 + 1 + 1.5) / 4
    loss = centre_loss(guess, ways)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert (guess.grad[ways.isnan()] == 0).all() and (guess.grad[~ways.isnan()] > 0).all()
    nothing = torch.full((1, 2, 3, 4), math.nan)
    assert centre_loss(torch.ones_like(ways), nothing).item() == 0


def test_dice_of_a_perfect_guess_is_zero():
    target = (torch.rand(2, 3, 8, 8) > 0.5).float()
    assert dice_loss(target, target).item() == pytest.approx(0, abs=1e-6)
    empty = torch.zeros(1, 1, 4, 4)
    assert dice_loss(empty, empty).item() == pytest.approx(0, abs=1e-6)


class Scale(nn.Module):
    """A network whose output is its input times a constant."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return self.factor * x


def test_cyclegan_generator_losses_by_hand():
    settings = CycleGANSettings(lambda_image=70, lambda_mask=10, **SMALL)
    model = CycleGAN(settings, 3, prepare(CPU), seed=0)
    nets = model.networks
    nets.to_image, nets.to_mask = Scale(0.5), Scale(2.0)
    nets.judge_image, nets.judge_mask = Scale(1.0), Scale(-1.0)
    image, mask = torch.full((1, 3, 4, 4), 0.3), torch.full((1, 3, 4, 4), -0.6)
    latent = torch.zeros(2, 1, 0, 4, 4)
    fake_image, fake_mask, losses = model._generator_losses(image, mask, latent)
    n, m = math.tanh(0.5 * -0.6), math.tanh(2 * 0.3)
    assert fake_image.mean().item() == pytest.approx(n, rel=1e-5)
    assert fake_mask.mean().item() == pytest.approx(m, rel=1e-5)
    assert losses["fool_image"].item() == pytest.approx(softplus(-n), rel=1e-5)
    assert losses["fool_mask"].item() == pytest.approx(softplus(m), rel=1e-5)
    cycle_image = 70 * abs(math.tanh(0.5 * m) - 0.3)
    cycle_mask = 10 * abs(math.tanh(2 * n) + 0.6)
    assert losses["cycle_image"].item() == pytest.approx(cycle_image, rel=1e-4)
    assert losses["cycle_mask"].item() == pytest.approx(cycle_mask, rel=1e-4)


def loud(judge):
    """Weights with which it tells pictures apart."""
    torch.manual_seed(1)
    for weight in judge.parameters():
        torch.nn.init.normal_(weight, 0, 0.3)


def told_apart(judge, real, fake):
    """What it has to learn, and what fools it; both differ with who is taken for whom."""
    with torch.no_grad():
        real, fake = judge(real), judge(fake)
    assert abs(real.mean() - fake.mean()) > 0.05
    learned = 0.5 * (adversarial_loss(real, True) + adversarial_loss(fake, False))
    return pytest.approx(learned.item(), rel=1e-4), adversarial_loss(fake, True).item()


JUDGE = DiscriminatorSettings(width=4, layers=1, spectral_norm=False)


def test_a_step_of_the_segmenter_is_against_its_judge():
    model = build("cgan", discriminator=JUDGE, pool_size=0, adversarial=2.0)
    loud(model.judge)
    model.set_rate(0.0)
    image, mask = map(torch.from_numpy, batch(0, 2, "cgan"))
    losses = model.step((image.numpy(), mask.numpy()), np.random.default_rng(0))
    with torch.no_grad():
        found = torch.tanh(model.segmenter(image))
    pairs = (torch.cat([image, one], dim=1) for one in (mask, found))
    learned, fooled = told_apart(model.judge, *pairs)
    assert losses["judge"].item() == learned
    assert losses["fool"].item() == pytest.approx(2 * fooled, rel=1e-4)


def test_a_step_of_the_painter_is_against_its_judges():
    model = build("cyclegan", discriminator=JUDGE, pool_size=0)
    nets = model.networks
    loud(nets.judge_image)
    loud(nets.judge_mask)
    model.set_rate(0.0)
    given = batch(0, 2, "cyclegan")
    losses = model.step(given, np.random.default_rng(0))
    image, mask = torch.from_numpy(given.images), torch.from_numpy(given.masks)
    with torch.no_grad():
        painted, found = torch.tanh(nets.to_image(mask)), torch.tanh(nets.to_mask(image))
    for kind, real, fake in (("image", image, painted), ("mask", mask, found)):
        learned, fooled = told_apart(getattr(nets, f"judge_{kind}"), real, fake)
        assert losses[f"judge_{kind}"].item() == learned
        assert losses[f"fool_{kind}"].item() == pytest.approx(fooled, rel=1e-4)


def test_frozen_networks_collect_no_gradient_but_pass_it_on():
    network = Scale(3.0)
    given = torch.ones(2, requires_grad=True)
    with frozen(network):
        network(given).sum().backward()
    assert network.factor.grad is None and given.grad.tolist() == [3.0, 3.0]
    assert network.factor.requires_grad


def batch(seed, channels, kind):
    rng = np.random.default_rng(seed)
    pair = (
        rng.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32),
        rng.uniform(-1, 1, (2, channels, 32, 32)).astype(np.float32),
    )
    return Batch(*pair, torch.zeros(2, 2, 0, 32, 32)) if kind == "cyclegan" else pair


def build(kind, seed=0, compute=CPU, **changes):
    if kind == "cyclegan":
        return CycleGAN(CycleGANSettings(**{**SMALL, **changes}), 2, prepare(compute), seed)
    generator = GeneratorSettings(kind="unet", width=4, depth=2, norm="batch")
    settings = SegmentationSettings(**{**SMALL, "generator": generator, **changes})
    return ConditionalGAN(settings, 2, prepare(compute), seed)


@pytest.mark.parametrize("kind", ["cyclegan", "cgan"])
def test_a_restored_model_takes_the_same_next_step(kind):
    model = build(kind)
    for n in range(4):
        model.set_rate(1.0)
        model.step(batch(n, 2, kind), np.random.default_rng(n))
    other = build(kind, seed=9)
    other.load(copy.deepcopy(model.state()))
    for n in range(4, 7):
        ours = model.step(batch(n, 2, kind), np.random.default_rng(n))
        theirs = other.step(batch(n, 2, kind), np.random.default_rng(n))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("kind", ["cyclegan", "cgan"])
def test_every_network_learns(kind):
    model = build(kind)
    networks = (
        model.networks.all()
        if kind == "cyclegan"
        else {"segmenter": model.segmenter, "judge": model.judge}
    )
    before = {
        name: [weight.detach().clone() for weight in net.parameters()]
        for name, net in networks.items()
    }
    model.set_rate(1.0)
    model.step(batch(0, 2, kind), np.random.default_rng(0))
    for name, net in networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True)]
        assert any(moved), name


def test_spectral_norms_bound_every_layer():
    """Another normalisation behind a layer would undo its own, whatever its largest value is."""
    settings = DiscriminatorSettings(width=8, layers=2)
    bounded = build_discriminator(settings, 3).eval()
    free = build_discriminator(settings.model_copy(update={"spectral_norm": False}), 3).eval()
    weights = effective_state(bounded)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    layers = [name for name in weights if name.endswith("weight")]
    assert len(layers) == 4
    with torch.inference_mode():
        expected = bounded(images)
        for name in layers:
            free.load_state_dict(weights | {name: 100 * weights[name]})
            assert (free(images) - expected).std() > 10 * expected.std()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["cyclegan", "cgan"])
def test_spectral_norms_are_one_after_training(kind, precision):
    judge = DiscriminatorSettings(width=8, layers=2)
    compute = CPU.model_copy(update={"precision": precision})
    model = build(kind, compute=compute, discriminator=judge)
    judges = (
        [model.networks.judge_image, model.networks.judge_mask]
        if kind == "cyclegan"
        else [model.judge]
    )
    first = [judge.state_dict() for judge in copy.deepcopy(judges)]
    for step in range(40):
        # A faster rate than any configuration's.
        model.set_rate(5.0)
        model.step(batch(step, 2, kind), np.random.default_rng(step))
    for before, trained in zip(first, judges, strict=True):
        layers = [module for module in trained.modules() if isinstance(module, nn.Conv2d)]
        assert len(layers) == 4 and all(map(parametrize.is_parametrized, layers))
        for name, original in trained.state_dict().items():
            if name.endswith("weight.original") and original.numel() > 500:
                assert abs(before[name].std().item() - 0.02) < 0.002
                assert not torch.equal(original, before[name])
        trained.eval()
        for layer in layers:
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item()
            assert abs(largest - 1) < 0.05


def test_rate_zero_stops_learning():
    model = build("cgan")
    model.set_rate(0.0)
    before = [weight.detach().clone() for weight in model.segmenter.parameters()]
    model.step(batch(0, 2, "cgan"), np.random.default_rng(0))
    after = list(model.segmenter.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_polarity_by_hand():
    """Nuclei at red -0.5 in surroundings at -0.4 miss the margin of 0.3 by 0.2."""
    masks_ = torch.full((2, 2, 4, 4), -1.0)
    masks_[:, 0, :2] = 1.0
    images = torch.full((2, 3, 4, 4), -0.4)
    images[:, 0, :2] = -0.5
    assert polarity_loss(images, masks_).item() == pytest.approx(0.2, rel=1e-5)
    # Blue light says nothing, and an image without nuclei costs nothing.
    images[:, 2] = 1.0
    assert polarity_loss(images, masks_).item() == pytest.approx(0.2, rel=1e-5)
    assert polarity_loss(images, torch.full_like(masks_, -1.0)).item() == 0
    images[:, 0, :2] = -0.9
    assert polarity_loss(images, masks_).item() == 0
