"""Model files that the configuration names: applied as they are, or trained further."""

from pathlib import Path

from nucleigan.config import Config, validate
from nucleigan.errors import NucleiganError, reason, shown
from nucleigan.models.header import check_same_network, read_facts

# By which the stains of slides and of their reference are measured alike.
MEASURED = ("luminance_threshold", "sparsity", "percentile", "concentration_sparsity")


def settings_of_model(settings: Config, path: str | Path) -> Config:
    """A configuration with what a model file decides in the model's place.

    Magnification, stains, masks, tiles and thresholds are the model's, and so are the names of its
    method and of its training set, under which its results are filed. Of what it does with its
    predictions, a ``prediction.shift`` that is configured takes the place of its own.

    Parameters
    ----------
    settings
        The configuration.
    path
        A model file.

    Raises
    ------
    NucleiganError
        The file is no segmenter, or its facts do not fit this version.
    """
    facts = read_facts(path)
    values = settings.model_dump(mode="json")
    try:
        values["ingestion"]["mpp"] = facts["mpp"]
        # Without a reference the model was trained on slides as they are.
        normalize = facts["stain_reference"] is not None
        values["stain"] = {
            **facts["stain"],
            "reference": "auto",
            "normalize": normalize,
            # This decides what is warned of, and nothing else.
            "max_angle": settings.stain.max_angle,
        }
        values["masks"] = facts["masks"]
        values["prediction"] |= {**facts["prediction"], "choose": False}
        if settings.prediction.shift is not None:
            values["prediction"]["shift"] = settings.prediction.shift
        values["segmentation"] |= {
            "methods": [facts["method"]],
            "data": [facts["training"]["data"]],
            "seeds": [0],
            "validate_every": 0,
            "choose_epoch": False,
        }
    # A stranger's facts may be of any type.
    except (KeyError, TypeError, ValueError) as error:
        raise NucleiganError(
            f"{path}: does not say how it was trained ({reason(error)}); it was made by another "
            "version: train it again."
        ) from error
    return validate(values, str(path))


def check_start(settings: Config, path: str | Path) -> list[str]:
    """Raise where the trainings of a configuration cannot start from a model file.

    Its tensors and checksum are looked at by the training itself.

    Returns
    -------
    Warnings: what lets it start, and makes it a worse start.

    Raises
    ------
    NucleiganError
        The file is missing, no segmenter, or of another network; the key that differs is named.
    """
    if not Path(path).is_file():
        raise NucleiganError(
            f"segmentation.start_from: there is no model file {path}; check the path, or leave it "
            "empty to start from random weights."
        )
    theirs = read_facts(path)
    for method in settings.segmentation.methods:
        if method in settings.baselines.methods:
            raise NucleiganError(
                f"segmentation.start_from: {method} is one of baselines.methods, which start from "
                "random weights, with the network of baselines.generator; take it out of them, or "
                "leave segmentation.start_from empty."
            )
        facts = {
            "kind": "segmenter",
            "method": method,
            "generator": settings.segmentation.generator.model_dump(),
            "backbone": settings.segmentation.backbone,
            "masks": settings.masks.model_dump(),
        }
        check_same_network(path, theirs, facts)
    mpp, stain = settings.ingestion.mpp, settings.stain
    warnings = []
    if theirs.get("mpp") != mpp:
        warnings.append(
            f"segmentation.start_from: {path} has learned nuclei at {shown(theirs.get('mpp'))} µm "
            f"per pixel, and this run shows it others, at ingestion.mpp {mpp:g}"
        )
    as_they_are = theirs.get("stain_reference") is None
    if as_they_are == stain.normalize:
        warnings.append(
            f"segmentation.start_from: {path} has learned slides "
            f"{'with the stains that they have' if as_they_are else 'of normalised stains'}, and "
            f"this run shows it others, by stain.normalize {str(stain.normalize).lower()}"
        )
    elif stain.normalize and stain.reference != "auto":
        warnings.append(
            f"segmentation.start_from: {path} has learned slides with the stains of its own "
            f"reference, and this run shows it those of stain.reference {stain.reference}; auto "
            "takes the file's"
        )
    elif stain.normalize:
        learned = theirs.get("stain")
        own = stain.model_dump(include={*MEASURED})
        other = [key for key in MEASURED if _of(learned, key) != own[key]]
        if other:
            warnings.append(
                f"segmentation.start_from: {path} has learned slides whose stains were measured "
                f"with other {', '.join(f'stain.{key}' for key in other)}: this run's come out "
                "lighter or darker"
            )
    return warnings


def _of(facts: object, key: str) -> object:
    return facts.get(key) if isinstance(facts, dict) else None


def has_reference(settings: Config) -> bool:
    """Whether slides get the stains that the file has learned from which trainings start."""
    start, stain = settings.segmentation.start_from, settings.stain
    if not start or not stain.normalize or stain.reference != "auto":
        return False
    return read_facts(start).get("stain_reference") is not None
