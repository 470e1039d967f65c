"""Every method of the table: what it draws, predicts and finds where the answer is known."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import center_of_mass
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from nucleigan.artifacts import write_json, write_stack
from nucleigan.config import (
    ComputeSettings,
    DecodingSettings,
    GeneratorSettings,
    JitterSettings,
    MaskSettings,
    OptimiserSettings,
    SegmentationSettings,
    StainSettings,
)
from nucleigan.errors import NucleiganError
from nucleigan.masks import encode
from nucleigan.metrics import aggregated_jaccard
from nucleigan.models import cnn3, dist, mask_rcnn
from nucleigan.models.classical import METHOD as CLASSICAL
from nucleigan.models.methods import METHODS, load_method, method_module
from nucleigan.models.supervised import cross_entropy, seeded
from nucleigan.models.train import (
    Source,
    _batches,
    agreeing,
    choose_slides,
    drawing,
    train_segmenter,
)
from nucleigan.networks import effective_state
from nucleigan.stain import StainProfile
from nucleigan.stain.vectors import TEXTBOOK
from nucleigan.training.compute import prepare
from nucleigan.training.data import Pairs, Patches, to_network

COMPUTE = ComputeSettings(device="cpu", precision="float32", threads=1)
SETTINGS = SegmentationSettings(
    batch_size=2,
    crop=64,
    average_decay=0.0,
    adversarial=0.0,
    l1=0.0,
    cross_entropy=1.0,
    optimiser=OptimiserSettings(learning_rate=1e-3, init_std=0.05),
    generator=GeneratorSettings(kind="unet", width=4, depth=2, norm="batch"),
    backbone="resnet18",
    jitter=JitterSettings(),
)
LEARNING = sorted(name for name in METHODS if load_method(name).trainable is not None)


def discs(*places, side=64):
    """A label map of discs: row, column, radius."""
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.int32)
    for number, (row, column, radius) in enumerate(places, 1):
        labels[np.hypot(y - row, x - column) < radius] = number
    return labels


def stained(labels, haematoxylin=0.9, eosin=0.5):
    """Discs of haematoxylin on eosin, with the textbook's stains."""
    amount = np.stack([np.where(labels > 0, haematoxylin, 0.05), np.full(labels.shape, eosin)], -1)
    return np.rint(255 * 10 ** -(amount @ TEXTBOOK)).astype(np.uint8)


LABELS = discs((16, 16, 9), (16, 34, 9), (45, 40, 14))


def test_every_row_is_a_method_of_its_own():
    assert len({method_module(name) for name in METHODS}) == len(METHODS)
    for name in METHODS:
        method = load_method(name)
        assert (method.trainable is None) == (method.network is None)
        assert (method.network is None) == (method.predict is not None)


def test_an_unknown_method_is_named():
    with pytest.raises(NucleiganError, match=r"'resunet'.*cgan.*unet"):
        load_method("resunet")


@pytest.mark.parametrize("name", LEARNING)
def test_a_stored_network_predicts_what_the_trained_one_did(name):
    method, masks = load_method(name), MaskSettings()
    learner = method.trainable(SETTINGS, masks, prepare(COMPUTE), 3)
    image = to_network(stained(LABELS))
    batch = np.stack([image] * 2), np.stack([method.draw(LABELS, masks, SETTINGS)] * 2)
    torch.manual_seed(0)
    losses = learner.step(batch, np.random.default_rng(0))
    assert all(torch.isfinite(loss) for loss in losses.values())

    trained = learner.average.network
    facts = {
        "generator": SETTINGS.generator.model_dump(),
        "backbone": SETTINGS.backbone,
        "masks": masks.model_dump(),
    }
    stored = method.network(facts)
    stored.load_state_dict(effective_state(trained))
    stored.eval()
    assert 64 % stored.factor == 0
    with torch.inference_mode():
        given = torch.from_numpy(image)[None]
        expected, found = trained(given), stored(given)
    torch.testing.assert_close(found, expected)
    mask = torch.tanh(found)[0].numpy()
    assert mask.shape[1:] == (64, 64)
    labels = method.decode(mask, masks, DecodingSettings())
    assert labels.shape == (64, 64) and labels.dtype == np.int32


@pytest.mark.parametrize("name", LEARNING)
def test_the_seed_alone_decides_the_first_weights(name):
    method = load_method(name)
    first, again, other = (
        method.trainable(SETTINGS, MaskSettings(), prepare(COMPUTE), seed).average.network
        for seed in (1, 1, 2)
    )
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(one, same) for one, same in pairs)
    different = zip(first.parameters(), other.parameters(), strict=True)
    assert any(not torch.equal(one, another) for one, another in different)


@pytest.mark.parametrize(
    # CNN3 takes two discs that touch for one.
    ("name", "steps", "least"),
    [("unet", 150, 0.8), ("dist", 150, 0.8), ("cnn3", 45, 0.35), ("mask_rcnn", 60, 0.5)],
)
def test_a_baseline_learns_discs_and_finds_them(name, steps, least, monkeypatch):
    # For the sake of time.
    monkeypatch.setattr(mask_rcnn, "BOXES", 12)
    method, masks = load_method(name), MaskSettings(boundary_width=2)
    learner = method.trainable(SETTINGS, masks, prepare(COMPUTE), 0)
    learner.set_rate(3.0 if name == "mask_rcnn" else 1.0)
    image = to_network(stained(LABELS))
    batch = np.stack([image] * 2), np.stack([method.draw(LABELS, masks, SETTINGS)] * 2)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    losses = [sum(learner.step(batch, rng).values()).item() for _ in range(steps)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    network = learner.average.network.eval()
    with torch.inference_mode():
        mask = torch.tanh(network(torch.from_numpy(image)[None]))[0].numpy()
    decoding = DecodingSettings(min_area=0).model_copy(update=method.thresholds)
    assert aggregated_jaccard(LABELS, method.decode(mask, masks, decoding)) > least


def test_centres_are_learned_beside_the_mask_and_leave_the_network_as_it_was():
    settings = SETTINGS.model_copy(update={"centres": 3.0})
    method, masks = load_method("cgan"), MaskSettings(boundary_width=2)
    learner = method.trainable(settings, masks, prepare(COMPUTE), 0)
    drawn = method.draw(LABELS, masks, settings)
    assert drawn.shape == (4, 64, 64)
    batch = np.stack([to_network(stained(LABELS))] * 2), np.stack([drawn] * 2)
    rng = np.random.default_rng(0)
    missed = [learner.step(batch, rng)["centres"].item() for _ in range(150)]
    assert np.mean(missed[-5:]) < 0.5 * missed[0]

    plain = method.trainable(SETTINGS, masks, prepare(COMPUTE), 0)
    stored, expected = learner.average.network.state_dict(), plain.average.network.state_dict()
    assert [(name, one.shape) for name, one in stored.items()] == [
        (name, one.shape) for name, one in expected.items()
    ]


def test_distances_of_a_square_and_of_touching_nuclei():
    labels = np.zeros((9, 12), np.int32)
    labels[1:6, 1:6] = 1
    labels[1:6, 6:9] = 2
    found = dist.distances(labels)
    np.testing.assert_array_equal(found[3, :10], [0, 1, 2, 3, 2, 1, 1, 2, 1, 0])
    assert found[1:6, 1:6].max() == 3 and (found[labels == 0] == 0).all()


def test_a_window_within_one_nucleus_is_as_far_from_any_border_as_can_be_told():
    assert (dist.distances(np.ones((8, 8), np.int32)) == dist.GREATEST).all()


def test_the_image_edge_is_no_border():
    labels = np.zeros((8, 8), np.int32)
    labels[:, :3] = 1
    np.testing.assert_array_equal(dist.distances(labels)[4, :4], [3, 2, 1, 0])


def test_drawn_distances_come_back_as_the_same_nuclei():
    method = load_method("dist")
    drawn = method.draw(LABELS, MaskSettings(), SETTINGS)
    found = method.decode(drawn, MaskSettings(), DecodingSettings())
    np.testing.assert_array_equal(found > 0, LABELS > 0)
    assert aggregated_jaccard(LABELS, found) > 0.95


def test_cnn3_on_an_image_is_cnn3_on_its_windows():
    network = load_method("cnn3").network({}).eval()
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 60, 64)).astype("f4"))
    with torch.inference_mode():
        dense = network.scores(image)
        for y, x in ((26, 26), (26, 30), (32, 38)):
            window = image[:, :, y - 23 : y + 24, x - 23 : x + 24]
            torch.testing.assert_close(
                dense[:, :, y // 2, x // 2], network.windows(window), atol=1e-5, rtol=1e-4
            )
        full = torch.tanh(network(image))
    assert full.shape == (1, 2, 60, 64)
    probability = dense.softmax(dim=1)
    torch.testing.assert_close(
        (full[:, 1, ::2, ::2] + 1) / 2, probability[:, cnn3.INSIDE], atol=1e-3, rtol=1e-3
    )


def test_cnn3_has_three_classes():
    drawn = torch.from_numpy(encode(LABELS, MaskSettings(boundary_width=2)))[None]
    found = cnn3.classes(drawn)[0].numpy()
    assert found[16, 16] == cnn3.INSIDE and found[16, 8] == cnn3.BOUNDARY
    np.testing.assert_array_equal(found == cnn3.BACKGROUND, LABELS == 0)


def test_boxes_of_nuclei():
    labels = torch.zeros((20, 20), dtype=torch.int64)
    labels[2:7, 3:12] = 4
    labels[10, 10:18] = 7
    found = mask_rcnn.boxes(labels)
    assert found["boxes"].tolist() == [[2.5, 1.5, 11.5, 6.5]]
    assert found["labels"].tolist() == [1]
    np.testing.assert_array_equal(found["masks"][0], labels == 4)
    assert mask_rcnn.boxes(torch.zeros((20, 20), dtype=torch.int64))["boxes"].shape == (0, 4)


def test_instances_are_drawn_by_their_score():
    """Where two overlap the surer one is in front; each is as certain as its score."""
    network = mask_rcnn.InstanceNetwork("resnet18", MaskSettings())
    instances = torch.zeros(2, 1, 64, 64)
    instances[0, 0, 10:30, 10:30] = 1
    instances[1, 0, 10:30, 25:45] = 1
    found = {"scores": torch.tensor([0.9, 0.6]), "masks": instances}
    drawn = network._draw(found, torch.Size((64, 64)))
    probability = (drawn + 1) / 2
    assert probability[0, 20, 27] == pytest.approx(0.9)
    assert probability[0, 20, 40] == pytest.approx(0.6)
    assert probability[0, 50, 50] == 0
    decoding = DecodingSettings(foreground=0.5, marker=0.5)
    labels = load_method("mask_rcnn").decode(drawn, MaskSettings(), decoding)
    assert labels.max() == 2 and labels[20, 28] == labels[20, 12] != labels[20, 40]


@pytest.mark.parametrize("diameter", [10, 16, 24])
def test_instances_are_drawn_where_they_were_learned(diameter):
    """Masks that are what the detector learns them to be come back as the discs they are of."""
    rng = np.random.default_rng(diameter)
    apart, overlaps = [], []
    for _ in range(60):
        row, column = rng.uniform(30, 70, 2)
        y, x = np.mgrid[:100, :110]
        disc = torch.from_numpy((np.hypot(y - row, x - column) < diameter / 2).astype(np.int64))
        target = mask_rcnn.boxes(disc)
        noisy = target["boxes"] + torch.from_numpy(rng.normal(0, 0.3, (1, 4))).float()
        learned = project_masks_on_boxes(
            target["masks"].float(), noisy, torch.zeros(1, dtype=torch.int64), 28
        )
        found = mask_rcnn.pasted(learned[:, None], noisy, 100, 110)[0, 0] > 0.5
        apart.append(np.subtract(center_of_mass(found.numpy()), center_of_mass(disc.numpy())))
        overlaps.append(((found & (disc > 0)).sum() / (found | (disc > 0)).sum()).item())
    assert np.abs(np.mean(apart, axis=0)).max() < 0.1
    assert np.mean(overlaps) > {10: 0.93, 16: 0.96, 24: 0.97}[diameter]
    # With boxes that fit, however small.
    small = torch.zeros(20, 20, dtype=torch.int64)
    small[3:6, 4:9] = 1
    target = mask_rcnn.boxes(small)
    learned = project_masks_on_boxes(
        target["masks"].float(), target["boxes"], torch.zeros(1, dtype=torch.int64), 28
    )
    found = mask_rcnn.pasted(learned[:, None], target["boxes"], 20, 20)[0, 0] > 0.5
    assert torch.equal(found, small > 0)
    nothing = mask_rcnn.pasted(torch.zeros(0, 1, 28, 28), torch.zeros(0, 4), 5, 6)
    assert nothing.shape == (0, 1, 5, 6)


def test_boxes_are_not_rounded_where_networks_are():
    """In bfloat16 corners beyond 256 pixels would lie at every second pixel."""
    with seeded(0):
        network = mask_rcnn.InstanceNetwork("resnet18", MaskSettings()).eval()
    image = torch.rand(1, 3, 64, 320, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = []
    network.detector.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        expected = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(image)
    assert found.unique().numel() > 1
    assert torch.equal(found, expected)
    # Nor is the image made larger or smaller, once trained as little as before.
    assert torch.equal(seen[0], image)


def test_the_classical_method_finds_stained_discs():
    apart = discs((16, 16, 9), (16, 44, 9), (45, 40, 12))
    reference = StainProfile(TEXTBOOK, np.ones(2)).as_dict()
    for stored in (reference, None):
        facts = {"stain": {}, "stain_reference": stored}
        mask = CLASSICAL.predict(stained(apart), facts)
        found = CLASSICAL.decode(mask, MaskSettings(), DecodingSettings(foreground=0.9))
        assert found.max() == 3
        assert aggregated_jaccard(apart, found) > 0.85


def test_of_several_processes_one_writes_what_needs_no_training(tmp_path, monkeypatch):
    write_json(tmp_path / "reference.json", StainProfile(TEXTBOOK, np.ones(2)).as_dict())
    apart = discs((16, 16, 9), (45, 40, 12))
    write_stack(tmp_path / "images.tif", (1, 64, 64, 3), np.uint8, [stained(apart)])
    write_stack(tmp_path / "labels.tif", (1, 64, 64), np.int32, [apart])
    pd.DataFrame({"slide": ["a"], "organ": ["liver"]}).to_csv(tmp_path / "patches.csv")
    outputs = [tmp_path / name for name in ("weights", "history.csv", "samples.png")]
    for rank in (1, 0):
        monkeypatch.setattr("nucleigan.training.processes.rank", lambda rank=rank: rank)
        assert not any(path.exists() for path in outputs)
        train_segmenter(
            "classical",
            "real",
            ([tmp_path / "images.tif"], [tmp_path / "labels.tif"]),
            ([], []),
            tmp_path / "patches.csv",
            [],
            *outputs,
            tmp_path / "checkpoint",
            SETTINGS,
            MaskSettings(),
            StainSettings(),
            COMPUTE,
            0,
            0.25,
            tmp_path / "reference.json",
        )
    assert all(path.exists() for path in outputs)


def test_the_classical_method_finds_nothing_on_glass():
    facts = {"stain": {}, "stain_reference": None}
    mask = CLASSICAL.predict(np.full((32, 32, 3), 255, np.uint8), facts)
    assert CLASSICAL.decode(mask, MaskSettings(), DecodingSettings()).max() == 0


@pytest.fixture
def patches():
    rows = [(f"s{n}", ("breast", "liver", "kidney")[n % 3]) for n in range(9) for _ in range(4)]
    return pd.DataFrame(rows, columns=["slide", "organ"])


def test_fewer_slides_come_from_as_many_organs(patches):
    organs = dict(patches.itertuples(index=False))
    for seed in range(5):
        for count in (1, 2, 3, 4, 6):
            chosen = choose_slides(patches, count, seed)
            assert len(set(chosen)) == count
            found = pd.Series([organs[slide] for slide in chosen]).value_counts()
            assert found.max() - (found.min() if count >= 3 else 1) <= 1
            assert chosen == choose_slides(patches, 9, seed)[:count]
    assert len({tuple(choose_slides(patches, 2, seed)) for seed in range(10)}) > 3
    assert choose_slides(patches, None, 0) == sorted(organs)


def test_more_slides_than_there_are(patches):
    with pytest.raises(NucleiganError, match=r"10 real slides.*has 9"):
        choose_slides(patches, 10, 0)


def test_pairs_that_do_not_agree_are_left_out(tmp_path, capsys):
    (tmp_path / "0.csv").write_text("pair,aji\n0,0.9\n1,0.2\n2,0.5\n")
    (tmp_path / "1.csv").write_text("pair,aji\n3,0.1\n4,0.6\n")
    tables = [tmp_path / "0.csv", tmp_path / "1.csv"]
    nothing = Patches((np.zeros((5, 4, 4), np.int32),))
    pairs = Pairs(nothing, nothing)
    synthetic = Source("synthetic", pairs, np.arange(5))
    assert agreeing(synthetic, tables, 0.5).chosen.tolist() == [0, 2, 4]
    assert "2 of 5 synthetic pairs agree less than 0.5" in capsys.readouterr().out
    real = Source("real", pairs, np.arange(3))
    assert agreeing(real, tables, 0.5) is real
    with pytest.raises(NucleiganError, match=r"none of the 5 .* best has 0\.9"):
        agreeing(synthetic, tables, 0.95)


@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 1.0])
def test_shares_are_exact_and_every_pair_comes_equally_often(share):
    draw = drawing([7, 5], share, 10**9, seed=1)
    drawn = [draw(number) for number in range(700)]
    synthetic = [place for source, place in drawn if source == 1]
    assert abs(len(synthetic) - 700 * share) < 1
    for number, length in enumerate((7, 5)):
        times = np.bincount(
            [place for source, place in drawn if source == number], minlength=length
        )
        assert len(times) == length and np.ptp(times) <= 1
    # A function of the number alone, as a resumed run needs it.
    assert drawing([7, 5], share, 10**9, seed=1)(431) == drawn[431]


def test_without_a_share_every_pair_of_both_sources_comes_equally_often():
    draw = drawing([7, 5], None, 10**9, seed=1)
    times = Counter(draw(number) for number in range(24))
    assert times == {(0, place): 2 for place in range(7)} | {(1, place): 2 for place in range(5)}


def test_synthetic_pairs_end_with_their_part_of_the_training():
    """Of eight steps of two pairs the first four hold synthetic ones."""
    nothing = Patches((np.zeros((5, 64, 64, 3), np.uint8),))
    pairs = Pairs(nothing, Patches((np.zeros((5, 64, 64), np.int32),)))
    sources = [Source(name, pairs, np.arange(5)) for name in ("real", "synthetic")]
    part = {"epochs": 2, "synthetic_share": 0.5, "synthetic_until": 0.5}
    settings = SETTINGS.model_copy(update=part)
    make_batch = _batches(sources, load_method("cgan"), settings, MaskSettings(), 4, 1)
    named = [make_batch(step)[1] for step in range(8)]
    assert all("synthetic" in names for names in named[:4])
    assert not any("synthetic" in names for names in named[4:])


def test_probabilities_of_supervised_masks_are_those_of_their_loss():
    """A mask in [-1, 1] is the tanh of an output, and so the sigmoid of twice as much."""
    loss = cross_entropy(torch.nn.Identity(), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert loss["cross_entropy"].item() == pytest.approx(np.log1p(np.exp(-2)), rel=1e-6)


def test_synthetic_pairs_first_and_real_ones_last():
    draw = drawing([7, 5], 0.5, 100, seed=1)
    sources = np.array([draw(number)[0] for number in range(200)])
    assert sources[:100].sum() == 50 and sources[100:].sum() == 0
    places = [draw(number)[1] for number in range(200) if draw(number)[0] == 0]
    times = np.bincount(places, minlength=7)
    assert np.ptp(times) <= 1
    with pytest.raises(ValueError, match="synthetic_until"):
        SegmentationSettings(synthetic_until=0.5)


@pytest.mark.parametrize("name", METHODS)
def test_thresholds_to_choose_from_lie_around_those_without_slides(name):
    method = load_method(name)
    for foreground, (marker, summit) in itertools.product(method.foreground, method.markers):
        DecodingSettings(foreground=foreground, marker=marker, summit=summit)
    start = DecodingSettings(**method.thresholds)
    assert min(method.foreground) < start.foreground < max(method.foreground)
