"""What a model file decides in the configuration of a run that applies it."""

import re

import pytest
from safetensors.torch import save_file

from nucleigan.config import (
    Config,
    DecodingSettings,
    MaskSettings,
    PredictionSettings,
    StainSettings,
)
from nucleigan.errors import NucleiganError
from nucleigan.models.given import check_start, has_reference, settings_of_model
from nucleigan.models.weights import write_weights

REFERENCE = {"matrix": [[0.6, 0.7, 0.4], [0.1, 0.9, 0.3]], "percentiles": [2, 1], "slide": "a"}
FACTS = {
    "kind": "segmenter",
    "method": "unet",
    "mpp": 0.5,
    "masks": MaskSettings(encoding="filled").model_dump(),
    "stain": StainSettings(reference="a", sparsity=0.03).model_dump(),
    "stain_reference": REFERENCE,
    "prediction": {"tile": 128, "decoding": DecodingSettings(foreground=0.7).model_dump()},
    "training": {"data": "real-4"},
}
OWN = Config.model_validate(
    {
        "stain": {"reference": "mine"},
        "segmentation": {"choose_epoch": True, "validate_every": 2, "seeds": [3, 4]},
        "evaluation": {"splits": ["val"]},
    }
)


@pytest.fixture
def model(tmp_path):
    def write(**changed):
        path = tmp_path / "model.safetensors"
        write_weights(path, {}, {**FACTS, **changed})
        return path

    return write


def test_what_the_model_decides(model):
    found = settings_of_model(OWN, model())
    assert found.ingestion.mpp == 0.5
    assert found.stain.sparsity == 0.03 and found.stain.normalize
    # No slide of this run has the name of the model's.
    assert found.stain.reference == "auto"
    assert found.masks.encoding == "filled"
    assert found.prediction.tile == 128 and found.prediction.decoding.foreground == 0.7
    assert not found.prediction.choose
    segmentation = found.segmentation
    assert (segmentation.methods, segmentation.data, segmentation.seeds) == (
        ("unet",),
        ("real-4",),
        (0,),
    )
    assert segmentation.validate_every == 0 and not segmentation.choose_epoch


def test_nuclei_are_moved_as_the_model_says_unless_the_configuration_does(model):
    moving = model(prediction={**FACTS["prediction"], "shift": [-0.5, -0.5]})
    assert settings_of_model(OWN, moving).prediction.shift == (-0.5, -0.5)
    still = OWN.model_copy(update={"prediction": PredictionSettings(shift=(0, 0))})
    assert settings_of_model(still, moving).prediction.shift == (0, 0)
    assert settings_of_model(still, model()).prediction.tile == 128


def test_all_else_stays_as_configured(model):
    found = settings_of_model(OWN, model())
    decided = {"ingestion", "stain", "masks", "segmentation", "prediction"}
    assert found.model_dump(exclude=decided) == OWN.model_dump(exclude=decided)
    own = OWN.model_dump(exclude={"ingestion": {"mpp"}})["ingestion"]
    assert found.model_dump(exclude={"ingestion": {"mpp"}})["ingestion"] == own


def test_a_model_without_reference_takes_slides_as_they_are(model):
    assert not settings_of_model(OWN, model(stain_reference=None)).stain.normalize


@pytest.mark.parametrize(
    "changed",
    [
        {"mpp": "a"},
        {"mpp": -1},
        {"stain": []},
        {"stain": {"unheard": 1}},
        {"masks": {"encoding": "x" * 10_000}},
        {"prediction": 5},
        {"prediction": {"tile": float("nan")}},
        {"training": None},
        {"training": {}},
        {"training": {"data": [["both"]]}},
        {"training": {"data": "../../else"}},
        {"method": {"a": 1}},
        {"kind": "generator"},
    ],
    ids=str,
)
def test_facts_that_do_not_fit(model, changed):
    path = model(**changed)
    with pytest.raises(NucleiganError) as caught:
        settings_of_model(OWN, path)
    message = str(caught.value)
    assert message.startswith(str(path)) and message.isprintable() and len(message) < 1500


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(NucleiganError, match="no such model file"):
        settings_of_model(OWN, path)
    for content in (b"", b"\x00" * 100, b"PK\x03\x04" * 10):
        path.write_bytes(content)
        with pytest.raises(NucleiganError, match="cannot be used as a model file"):
            settings_of_model(OWN, path)
    save_file({}, path)
    with pytest.raises(NucleiganError, match="cannot be used as a model file"):
        settings_of_model(OWN, path)


def starting(**changed):
    """A configuration with the network of such a model, and what the model's facts say of it."""
    stain = {"sparsity": 0.03} | changed.pop("stain", {})
    own = Config.model_validate(
        {"masks": FACTS["masks"], "ingestion": {"mpp": 0.5}, "stain": stain, **changed}
    )
    return own, {
        "method": "cgan",
        "generator": own.segmentation.generator.model_dump(),
        "backbone": own.segmentation.backbone,
    }


def test_a_start_at_another_magnification_is_told(model):
    own, network = starting()
    assert check_start(own, model(**network)) == []
    (said,) = check_start(own, model(**network, mpp=0.25))
    assert "0.25" in said and "ingestion.mpp 0.5" in said


@pytest.mark.parametrize(
    ("stain", "reference", "takes", "said"),
    [
        ({}, REFERENCE, True, None),
        ({"reference": "b"}, REFERENCE, False, "those of stain.reference b; auto takes the file's"),
        ({"normalize": False}, REFERENCE, False, "of normalised stains, .*normalize false"),
        ({}, None, False, "with the stains that they have, .*normalize true"),
        ({"normalize": False}, None, False, None),
        ({"percentile": 95}, REFERENCE, True, r"with other stain\.percentile: "),
    ],
)
def test_a_start_takes_slides_with_the_stains_it_has_learned(model, stain, reference, takes, said):
    _, network = starting()
    path = model(**network, stain_reference=reference)
    own, _ = starting(stain=stain, segmentation={"start_from": str(path)})
    assert has_reference(own) == takes
    warnings = check_start(own, path)
    assert len(warnings) == (said is not None)
    assert all(re.search(said, warning) for warning in warnings)
    assert not has_reference(starting(stain=stain)[0])


def test_weights_alone_are_no_model(tmp_path):
    path = tmp_path / "weights.safetensors"
    own, network = starting()
    facts = {key: value for key, value in FACTS.items() if key != "prediction"}
    write_weights(path, {}, facts | network)
    for use in (settings_of_model, check_start):
        with pytest.raises(NucleiganError, match=r"holds weights alone, .*; give the model"):
            use(own, path)
