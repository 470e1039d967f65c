"""Nuclei whose colour and chromatin are known."""

import math

import pytest
import torch

from nucleigan.models.looks import LEAST_NUCLEUS, STRIDE, NucleiLoss, _Cut, _places
from nucleigan.models.looks import SIDE as WINDOW

SIDE = 64
NOWHERE = torch.zeros(8, SIDE, SIDE, dtype=torch.bool)
EVERYWHERE = ~NOWHERE


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def looks(colour=-0.3, spread=0.1, grain=0.05, seed=0, count=8):
    """Images that differ in colour by a spread, each with white noise."""
    shift = spread * noise(seed, count, 3, 1, 1)
    return colour + shift + grain * noise(seed + 1, count, 3, SIDE, SIDE)


def distance(painted, real, loss=None, within=EVERYWHERE):
    return (loss or NucleiLoss())(painted, within[: len(painted)], real, EVERYWHERE[: len(real)])


def settled(make, steps=60):
    """The distance once the means are of many images."""
    loss = NucleiLoss()
    for step in range(steps):
        far = distance(make(2 * step), looks(seed=1000 + 2 * step), loss)
    return far.item()


def test_the_same_looks_are_no_distance_apart():
    # Colours of four pairs of images a step are few to know their spread by.
    assert settled(lambda seed: looks(seed=seed)) < 0.1


@pytest.mark.parametrize("kind", ["dark and pale", "even and grainy"])
def test_nuclei_of_several_kinds_are_no_distance_from_others_like_them(kind):
    def mixed(seed):
        chance = noise(seed + 5, 8, 1, 1, 1)
        if kind == "dark and pale":
            return looks(spread=0.05, seed=seed) + 0.25 * chance.sign()
        return looks(grain=0.05 * (0.8 * chance).exp(), seed=seed)

    loss = NucleiLoss()
    for step in range(80):
        far = distance(mixed(20 * step), mixed(20 * step + 10), loss)
    assert far.item() < 0.1


@pytest.mark.parametrize(
    "change", [{"colour": -0.1}, {"spread": 0.02}, {"spread": 0.4}, {"grain": 0.02}, {"grain": 0.1}]
)
def test_other_looks_are(change):
    assert settled(lambda seed: looks(seed=seed, **change)) > 0.5


def test_what_the_mask_alone_decides_is_no_variation():
    """Each two images of a mask are the same: their colour and grain follow the mask."""
    assert settled(lambda seed: looks(seed=seed, count=4).repeat_interleave(2, dim=0)) > 10


def test_a_distance_of_colours_by_hand():
    """Painted and real windows that differ in brightness alone, by twice its spread."""
    real = looks(spread=0.1, seed=4)
    brightness = real.mean(dim=(-2, -1)).sum(dim=1) / 3**0.5
    step = 2 * brightness.std(correction=0) / 3**0.5
    same, moved = distance(real, real).item(), distance(real + step, real).item()
    assert moved - same == pytest.approx(math.log(1 + 4) / 3, rel=0.02)


def test_only_windows_within_nuclei_count():
    within = NOWHERE.clone()
    within[:, 16:48, 16:48] = True
    painted, real = looks(seed=0), looks(seed=2)
    other = torch.where(within[:, None], painted, torch.tensor(0.9))
    assert distance(painted, real, within=within) == distance(other, real, within=within)
    # A window that reaches out by an eighth counts, one that reaches out by more does not.
    for outside, counts in ((2, True), (4, False)):
        assert (outside / 16 <= 1 - LEAST_NUCLEUS) == counts
        within = NOWHERE.clone()
        within[:, 16:32, 16 + outside : 32] = True
        assert (distance(painted, real, within=within) > 0) == counts


def test_without_nuclei_nothing_is_asked():
    painted = looks().requires_grad_(True)
    loss = NucleiLoss()
    far = loss(painted, EVERYWHERE, looks(), NOWHERE)
    far.backward()
    assert far.item() == 0 and painted.grad.abs().max() == 0
    far = NucleiLoss()(painted, NOWHERE, looks(), EVERYWHERE)
    far.backward()
    assert far.item() == 0 and painted.grad.isfinite().all() and painted.grad.abs().max() == 0
    # Nuclei of earlier steps are remembered.
    loss(looks(), EVERYWHERE, looks(), EVERYWHERE)
    assert loss(looks(colour=0.5), EVERYWHERE, looks(), NOWHERE).item() > 0.1


@pytest.mark.parametrize(("spread", "grain"), [(0.02, 0.1), (0.4, 0.01)])
def test_the_gradient_leads_to_the_looks_of_real_nuclei(spread, grain):
    values = torch.tensor([0.2, math.log(spread), math.log(grain)]).requires_grad_(True)
    optimiser = torch.optim.Adam([values], 0.01)
    loss = NucleiLoss()
    path = []
    for step in range(500):
        colour, wide, fine = values[0], values[1].exp(), values[2].exp()
        optimiser.zero_grad()
        distance(looks(colour, wide, fine, 2 * step), looks(seed=2 * step + 1000), loss).backward()
        optimiser.step()
        path.append(values.detach().clone())
    # The last steps wander around it.
    colour, wide, fine = torch.stack(path[250:]).mean(dim=0).tolist()
    assert colour == pytest.approx(-0.3, abs=0.05)
    assert math.exp(wide) == pytest.approx(0.1, rel=0.2)
    assert math.exp(fine) == pytest.approx(0.05, rel=0.1)


def test_windows_give_their_gradients_back_to_where_they_were_cut():
    """Of every window that fits; the last pixels are in none."""
    images = noise(3, 2, 3, 45, 36).double().requires_grad_(True)
    places, counts = _places(torch.ones(2, 4, 3, dtype=torch.bool))
    cut, weights = _Cut.apply(images, places, counts), noise(4, 24, 3, WINDOW, WINDOW).double()
    (gradient,) = torch.autograd.grad((cut * weights).sum(), images)
    expected = torch.zeros_like(images)
    for place, (image, y, x) in enumerate(zip(*places)):
        window = image, slice(None), slice(STRIDE * y, STRIDE * y + WINDOW)
        window += (slice(STRIDE * x, STRIDE * x + WINDOW),)
        assert torch.equal(cut[place], images[window])
        expected[window] += weights[place]
    assert (gradient - expected).abs().max() < 1e-12


@pytest.mark.parametrize("side", [16, 23, 24, 40])
def test_images_may_be_as_small_as_a_window(side):
    painted = looks()[..., :side, :side].requires_grad_(True)
    within = EVERYWHERE[:, :side, :side]
    NucleiLoss()(painted, within, looks(seed=2)[..., :side, :side], within).backward()
    assert painted.grad.abs().max() > 0


def test_it_goes_on_from_its_state():
    one, other = NucleiLoss(), NucleiLoss()
    for step in range(3):
        distance(looks(seed=step), looks(seed=step + 10), one)
    other.load(one.state())
    assert distance(looks(seed=5), looks(seed=6), one) == distance(
        looks(seed=5), looks(seed=6), other
    )
