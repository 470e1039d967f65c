"""Agreement of images with their masks, where it is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from nucleigan.artifacts import write_stack
from nucleigan.config import ComputeSettings, MaskSettings
from nucleigan.errors import NucleiganError
from nucleigan.models.weights import write_weights
from nucleigan.stain.vectors import TEXTBOOK
from nucleigan.synthesis.agreement import judge_agreement

COMPUTE = ComputeSettings(device="cpu", precision="float32", threads=1)


@pytest.fixture
def pairs(tmp_path):
    """Discs of haematoxylin with: their mask, the mask beside them, glass with an empty mask."""
    y, x = np.mgrid[:80, :80]
    disc = (np.hypot(y - 30, x - 30) < 12).astype(np.int32)
    amount = np.stack([np.where(disc > 0, 0.9, 0.05), np.full(disc.shape, 0.4)], -1)
    shown = np.rint(255 * 10 ** -(amount @ TEXTBOOK)).astype(np.uint8)
    images = np.stack([shown, shown, np.full_like(shown, 255)])
    labels = np.stack([disc, np.roll(disc, 30, axis=0), 0 * disc])
    write_stack(tmp_path / "images.tif", images.shape, np.uint8, images)
    write_stack(tmp_path / "labels.tif", labels.shape, np.int32, labels)
    return [str(tmp_path / "images.tif")], [str(tmp_path / "labels.tif")]


def model(folder, data):
    """A segmenter that finds haematoxylin."""
    facts = {
        "kind": "segmenter",
        "method": "classical",
        "masks": MaskSettings().model_dump(),
        "mpp": 0.25,
        "stain": {},
        "stain_reference": None,
        "training": {"data": data},
    }
    write_weights(folder / "model.safetensors", dict[str, torch.Tensor](), facts)
    return folder / "model.safetensors"


def test_agreement_of_known_pairs(pairs, tmp_path, capsys):
    judge_agreement(model(tmp_path, "real"), *pairs, 8, tmp_path / "agreement.csv", COMPUTE)
    table = pd.read_csv(tmp_path / "agreement.csv")
    assert table["pair"].tolist() == [8, 9, 10]
    assert table["nuclei"].tolist() == [1, 1, 0] and table["found"].tolist() == [1, 1, 0]
    assert table["aji"][0] > 0.85 and table["dice"][0] > 0.9
    assert table["aji"][1] == 0 and table["aji"][2] == 1
    assert "3 pairs" in capsys.readouterr().out


def test_a_segmenter_of_synthetic_pairs_is_no_judge(pairs, tmp_path):
    with pytest.raises(NucleiganError, match="learned from both"):
        judge_agreement(
            model(tmp_path, "both"),
            *pairs,
            0,
            tmp_path / "agreement.csv",
            COMPUTE,
        )
    assert not (tmp_path / "agreement.csv").exists()
