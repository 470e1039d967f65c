"""config.yaml, the overlays and the models say the same."""

from pathlib import Path

import pytest
import yaml

from nucleigan.config import Config, IngestionSettings, Settings, load, validate
from nucleigan.defaults import default_yaml
from nucleigan.errors import NucleiganError

ROOT = Path(__file__).parents[1]


def test_config_yaml_repeats_every_default():
    values = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert values == Config().model_dump(mode="json")


def test_config_yaml_is_what_the_command_prints():
    assert (ROOT / "config.yaml").read_text(encoding="utf-8") == default_yaml()


def fields(model: type[Settings], path: str = ""):
    """Every key with its description."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            assert kind.__doc__, f"{path}{name} has no comment"
            yield from fields(kind, f"{path}{name}.")
        else:
            yield f"{path}{name}", field.description


def test_every_key_is_described():
    assert [name for name, description in fields(Config) if not description] == []


@pytest.mark.parametrize("overlay", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_overlays_are_valid_and_keep_their_results_apart(overlay):
    config = load(ROOT / "config.yaml", overlay)
    assert config.results == f"results/{overlay.stem}"


def test_schema_forbids_unknown_keys():
    schema = Config.model_json_schema()
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


def test_later_files_win(tmp_path):
    low, high = tmp_path / "low.yaml", tmp_path / "high.yaml"
    low.write_text("seed: 1\npatches: {size: 300, stride: 200}\n")
    high.write_text("patches: {stride: 100}\n")
    config = load(low, high)
    assert (config.seed, config.patches.size, config.patches.stride) == (1, 300, 100)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stains": {}}, ["`stains`", "did you mean `stain`"]),
        ({"cyclegan": {"generator": {"widht": 3}}}, ["cyclegan.generator.widht", "`width`"]),
        ({"cyclegan": {"lambda_image": -1}}, ["cyclegan.lambda_image", "-1", "greater than"]),
        ({"stain": {"sparsity": float("nan")}}, ["stain.sparsity", "nan"]),
        ({"stain": None}, ["`stain` is None", "expected keys and values"]),
        ({"segmentation": {"methods": []}}, ["segmentation.methods", "at least 1"]),
        ({"ablation": {"seeds": [0, -1]}}, ["ablation.seeds.1", "-1", "greater than"]),
        ({"masks": {"encoding": "round"}}, ["masks.encoding", "'round'", "'filled'"]),
        ({"cyclegan": {"epochs": 10, "decay_from": 11}}, ["decay_from (11)", "epochs (10)"]),
        (
            {"cyclegan": {"lambda_nuclei": 1, "latent_channels": 4, "batch_size": 3}},
            ["cyclegan", "batch_size is 3", "even"],
        ),
        (
            {"cyclegan": {"lambda_nuclei": 1, "batch_size": 2}},
            ["cyclegan", "latent_channels is 0", "3 or more"],
        ),
        (
            {"cyclegan": {"lambda_nuclei": 1, "latent_channels": 3, "batch_size": 2, "crop": 8}},
            ["cyclegan", "crop is 8", "16 or more"],
        ),
        ({"cyclegan": {"choose_epoch": True, "crop": 8}}, ["crop is 8", "choose_epoch", "16 or"]),
        ({"synthesis": {"count": 9}, "polygons": {"count": 8}}, ["(9)", "polygons.count", "(8)"]),
        ({"segmentation": {"crop": 300}}, ["segmentation.crop (300)", "patches.size (256)"]),
        (
            {"segmentation": {"crop": 128}},
            ["segmentation.crop (128)", "multiple of 256", "pix2pix_unet of depth 8"],
        ),
        ({"patches": {"size": 258}}, ["patches.size (258)", "multiple of 4", "cyclegan"]),
        ({"cyclegan": {"crop": 20}}, ["cyclegan.crop (20)", "24 or more", "3 layers"]),
        (
            {"compute": {"processes": 3}, "segmentation": {"batch_size": 4}},
            ["segmentation.batch_size (4)", "multiple of 3"],
        ),
        ({"segmentation": {"data": "both"}}, ["segmentation.data", "'both'", "a list", "[ and ]"]),
        ({"results": "runs/{y}"}, ["`results`", "runs/{y}", "without braces"]),
        ({"results": "~/runs"}, ["`results`", "~/runs", "not begin with ~"]),
        ({"results": ""}, ["`results`", "expected a folder"]),
        (
            {"masks": {"encoding": "outline"}, "cyclegan": {"lambda_polarity": 5}},
            ["cyclegan.lambda_polarity", "encoding: outline", "hollow"],
        ),
        (
            {"cyclegan": {"generator": {"kind": "unet", "depth": 9}}},
            ["patches.size (256)", "512 or more", "unet of depth 9", "a single pixel"],
        ),
        (
            {"segmentation": {"generator": {"kind": "unet", "depth": 9, "norm": "batch"}}},
            ["segmentation.batch_size (1)", "2 or more", "segmentation.generator", "single pixel"],
        ),
        (
            {
                "segmentation": {"methods": ["unet"], "generator": {"depth": 3}, "crop": 200},
                "baselines": {"generator": {"kind": "unet", "depth": 5}},
            },
            ["segmentation.crop (200)", "multiple of 16", "baselines.generator"],
        ),
        (
            {"segmentation": {"adversarial": 0, "l1": 0, "centres": 1}},
            ["segmentation.adversarial, l1, dice and cross_entropy", "set one"],
        ),
        (
            {"segmentation": {"boundary_weight": 2, "l1": 0, "dice": 1}},
            ["segmentation.boundary_weight (2)", "l1 and cross_entropy"],
        ),
        (
            {"prediction": {"scales": [1, 1.25]}},
            ["prediction.scales: 1.25", "tile of 256 pixels", "to 256", "multiple of the 256"],
        ),
        (
            {
                "segmentation": {"generator": {"kind": "unet", "depth": 7}},
                "prediction": {"tile": 64, "tile_overlap": 16},
            },
            ["prediction.tile (64)", "128 or more", "a single pixel"],
        ),
        ({"compute": {"device": "gpu"}}, ["compute.device", "'gpu'", "cuda:N"]),
        (
            {"compute": {"device": "cuda:1", "processes": 2}},
            ["compute", "cuda:1, one GPU", "processes is 2"],
        ),
        ({"baselines": {"methods": ["cgan"]}}, ["baselines", "cgan", "segmentation.methods"]),
        (
            {"segmentation": {"methods": ["cnn3"]}, "masks": {"encoding": "filled"}},
            ["cnn3", "masks.encoding is filled", "interior_boundary"],
        ),
        ({"segmentation": {"jitter": {"scale": [0, 2]}}}, ["jitter.scale.0", "greater than 0"]),
        (
            {"segmentation": {"jitter": {"scale": [1.5, 0.7]}}},
            ["segmentation.jitter.scale", "smaller number first"],
        ),
        ({"prediction": {"tile": 64}}, ["tile_overlap (64)", "tile (64)"]),
        (
            {"slides": "phantoms", "phantoms": {"size": 128}},
            ["patches.size (256)", "phantoms.size (128)"],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_in_one_sentence(values, words):
    with pytest.raises(NucleiganError) as caught:
        validate(values)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["seed: [", "- a list", "text"])
def test_what_is_no_yaml_mapping_is_named(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(NucleiganError, match=r"mine\.yaml"):
        load(path)


@pytest.mark.parametrize("text", ["seed: 1\nresults: a\nseed: 2", "masks: {seed: 1, seed: 2}"])
def test_a_key_that_stands_there_twice_is_named(tmp_path, text):
    """YAML would take the last one."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(NucleiganError, match=r"mine\.yaml: .*`seed` stands in line 1 and again in"):
        load(path)


def test_who_learns_from_real_pairs_alone_need_not_mind_the_cyclegan():
    section = {"data": ["real"], "batch_size": 4, "adversarial": 0, "crop": 8}
    section["generator"] = {"kind": "unet", "depth": 3}
    chosen = {"segmentation": section, "compute": {"processes": 4}, "patches": {"size": 257}}
    assert validate(chosen).compute.processes == 4


@pytest.mark.parametrize("path", sorted((ROOT / "configs/experiments").glob("*.yaml")), ids=str)
def test_experiments_are_overlays(path):
    # Snakemake refuses files without keys or braces.
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
    overlay = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    # What experiments are laid over where nothing else is named.
    base = yaml.safe_load((ROOT / "configs/demo.yaml").read_text(encoding="utf-8"))
    changed = validate(laid_over(base, overlay)) != validate(base)
    assert changed == (path.stem != "reference")


def laid_over(base, overlay):
    """As Snakemake merges configurations."""
    merged = base | overlay
    for key in base.keys() & overlay.keys():
        if isinstance(base[key], dict) and isinstance(overlay[key], dict):
            merged[key] = laid_over(base[key], overlay[key])
    return merged


@pytest.mark.parametrize(
    "values",
    [
        # Methods with losses of their own, a model that is applied, and a tile that is rounded up.
        {"segmentation": {"methods": ["unet"], "data": ["real"], "adversarial": 0, "l1": 0}},
        {"segmentation": {"model": "a.safetensors", "adversarial": 0, "l1": 0}},
        {
            "segmentation": {"model": "a.safetensors"},
            "masks": {"encoding": "outline"},
            "cyclegan": {"lambda_polarity": 5},
        },
        {
            "segmentation": {"generator": {"kind": "unet", "depth": 7, "norm": "batch"}},
            "prediction": {"tile": 200, "scales": [1, 1.5]},
        },
    ],
)
def test_what_does_not_matter_is_not_refused(values):
    validate(values)


@pytest.mark.parametrize("given", ["out/", "./out", "out//", "a/../out"])
def test_a_folder_has_one_spelling(given):
    assert validate({"results": given}).results == "out"


REAL = {"segmentation": {"data": ["real"], "steps_per_epoch": 5}}
UNET = {"kind": "unet", "depth": 3}


@pytest.mark.parametrize(
    ("values", "target", "words"),
    [
        ({"patches": {"size": 258}}, "ablation", ["patches.size (258)", "multiple of 4"]),
        ({"cyclegan": {"crop": 250}}, "ablation", ["cyclegan.crop (250)", "multiple of 4"]),
        ({"ablation": {"data": []}}, "ablation", ["ablation.data is empty"]),
        (
            {"baselines": {"generator": {"kind": "unet", "depth": 10, "norm": "batch"}}},
            "baselines",
            ["segmentation.crop (256)", "multiple of 512", "baselines.generator"],
        ),
        (
            {
                "segmentation": REAL["segmentation"] | {"generator": UNET, "crop": 32},
                "baselines": {"generator": {"kind": "unet", "depth": 4}},
                "prediction": {"tile": 64, "tile_overlap": 16},
            },
            "baselines",
            ["segmentation.crop (32)", "48 or more", "cnn3"],
        ),
    ],
    ids=["patches", "crop", "nothing", "baseline", "windows"],
)
def test_what_only_a_comparison_trains_is_checked_when_it_is_asked_for(values, target, words):
    config = validate(REAL | values)
    with pytest.raises(NucleiganError) as caught:
        config.check_compared(target)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert str(caught.value).endswith(".")
    other = "ablation" if target == "baselines" else "baselines"
    config.check_compared(other)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cyclegan": {"crop": 250}}, ["cyclegan.crop (250)", "multiple of 4"]),
        ({"masks": {"encoding": "outline"}, "cyclegan": {"lambda_polarity": 5}}, ["polarity"]),
    ],
    ids=["crop", "polarity"],
)
def test_painting_is_checked_where_it_is_asked_for(values, words):
    """Also by a run whose segmenters learn from real pairs alone."""
    config = validate(REAL | values)
    with pytest.raises(NucleiganError) as caught:
        config.check_painting()
    assert all(word in str(caught.value) for word in words), str(caught.value)
    validate(REAL).check_painting()


@pytest.mark.parametrize(("method", "crop"), [("mask_rcnn", 32), ("fcn", 8)])
def test_a_window_that_becomes_a_single_pixel(method, crop):
    section = {"data": ["real"], "methods": [method], "adversarial": 0, "generator": UNET}
    prediction = {"tile": 64, "tile_overlap": 16}
    for batch, side in ((1, crop), (2, crop), (1, 2 * crop)):
        values = {"segmentation": section | {"batch_size": batch, "crop": side}}
        if (batch, side) == (1, crop):
            with pytest.raises(NucleiganError, match=rf"crop \({crop}\) must be {crop + 1} or"):
                validate(values | {"prediction": prediction})
        else:
            validate(values | {"prediction": prediction})


def test_a_tile_that_is_too_small_for_what_mirrors_its_borders():
    prediction = {"tile": 16, "tile_overlap": 4}
    real = {"data": ["real"], "crop": 64, "adversarial": 0, "generator": UNET}
    with pytest.raises(NucleiganError, match=r"prediction\.tile \(16\) times .* must be 24 or"):
        validate({"segmentation": real | {"methods": ["cnn3"]}, "prediction": prediction})
    validate({"segmentation": real, "prediction": prediction})
    resnet = {"generator": {"kind": "resnet"}}
    validate({"segmentation": real | resnet, "prediction": {"tile": 8, "tile_overlap": 2}})
    with pytest.raises(NucleiganError, match=r"prediction\.tile \(4\) must be 8 or more"):
        validate({"segmentation": real | resnet, "prediction": {"tile": 4, "tile_overlap": 1}})


def test_sets_of_different_sizes_are_compared_over_as_many_steps():
    config = validate({})
    with pytest.raises(NucleiganError, match=r"segmentation\.steps_per_epoch is empty"):
        config.check_compared("ablation")
    config.check_compared("baselines")


def test_a_check_across_keys_does_not_repeat_all_of_them():
    with pytest.raises(NucleiganError) as caught:
        validate({"segmentation": {"epochs": 5}})
    assert str(caught.value) == (
        "configuration: `segmentation`: decay_from (200) must not exceed epochs (5)."
    )


def test_what_stands_in_braces_is_text():
    """Snakemake reads ``--config "prediction={views: 4, shift: null}"`` so."""
    section = {"views": "4", "shift": "null", "decoding": {"summit": "null"}}
    network = {"kind": "unet", "depth": "4", "reduction": "2"}
    found = validate({"prediction": section, "segmentation": {"generator": network}})
    assert found.prediction.views == 4 and found.prediction.shift is None
    assert found.prediction.decoding.summit is None
    assert found.segmentation.generator.reduction == 2
    for views in ("3", "²", "9" * 5000):
        with pytest.raises(NucleiganError, match=r"`prediction\.views`"):
            validate({"prediction": {"views": views}})


def test_limits_of_ingestion_are_known_by_their_names():
    """By which the workflow tells them from what changes the pixels of a slide."""
    others = set(IngestionSettings.model_fields) - {"mpp", "min_piece_area"}
    limits = {name for name in others if name.startswith("max_")}
    assert others - limits == {"decoder_memory", "server_seconds"}
