"""What a model file says of itself, read without its tensors and without PyTorch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from nucleigan.artifacts import check_opens
from nucleigan.errors import NucleiganError, let_through, reason, shown

FORMAT = "nucleigan/2"
# Facts by which networks are told apart.
NETWORK = ("kind", "method", "generator", "backbone", "masks")
# Kinds of networks, and the files that hold them.
SEGMENTER, PAINTER = "segmenter", "mask-to-image generator"
FILES = {
    SEGMENTER: "a model.safetensors from results/…/segmentation/",
    PAINTER: "a generator.safetensors from results/…/cyclegan/",
}


def stored_facts(path: str | Path) -> dict[str, Any]:
    """The facts of any network's weights; its tensors and checksum are not looked at.

    Raises
    ------
    NucleiganError
        The file is missing or not of this format.
    """
    check_exists(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return facts_in(file.metadata() or {})
    except Exception as error:
        let_through(error)
        raise unusable(path, error) from error


def read_facts(path: str | Path) -> dict[str, Any]:
    """Those of a segmenter's model file.

    Raises
    ------
    NucleiganError
        The file is missing, not of this format, no segmenter, or weights alone.
    """
    facts = stored_facts(path)
    check_kind(path, facts, SEGMENTER)
    check_complete(path, facts)
    return facts


def facts_in(header: Mapping[str, str]) -> dict[str, Any]:
    """The facts that a header holds; ValueError, KeyError or RecursionError where it has none."""
    if header.get("format") != FORMAT:
        raise ValueError(f"its format is {header.get('format')!r}, expected {FORMAT!r}")
    facts = json.loads(header["nucleigan"])
    if not isinstance(facts, dict):
        raise ValueError("its facts are no keys and values")
    return facts


def check_exists(path: str | Path) -> None:
    """Raise where there is no such file, or where it cannot be opened."""
    if not Path(path).is_file():
        raise NucleiganError(f"{path}: there is no such model file; check the path.")
    check_opens(path)


def check_kind(path: str | Path, facts: Mapping[str, Any], kind: str) -> None:
    """Raise where a file holds a network of another kind."""
    if facts.get("kind") != kind:
        raise NucleiganError(
            f"{path}: holds a {shown(facts.get('kind'))}, expected a {kind}; give {FILES[kind]}."
        )


def check_complete(path: str | Path, facts: Mapping[str, Any]) -> None:
    """Raise where a file holds weights alone, as a training leaves them."""
    if "prediction" not in facts:
        raise NucleiganError(
            f"{path}: holds weights alone, without thresholds and the licence of their data; give "
            "the model.safetensors beside it."
        )


def check_same_network(
    path: str | Path, theirs: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Raise where a training cannot start from a file's weights; the key that differs is named.

    Parameters
    ----------
    path
        The model file.
    theirs
        Its facts.
    facts
        Of the training: ``kind``, ``method``, ``generator``, ``backbone`` and ``masks``.
    """
    wanted, found = (
        {place: value for key in NETWORK for place, value in _parts(key, some.get(key))}
        for some in (facts, theirs)
    )
    # What stored weights no longer show.
    for key in sorted((wanted.keys() | found.keys()) - {"generator.spectral_norm"}):
        if wanted.get(key) != found.get(key):
            raise NucleiganError(
                f"segmentation.start_from: {path} was trained with {shown(key)} "
                f"{shown(str(found.get(key)), 300)}, this training has {wanted.get(key)}; set the "
                "same in the configuration, or start from another file."
            )


def _parts(key: str, value: Any) -> list[tuple[str, Any]]:
    """The keys of a section with their values; of anything else the value itself."""
    if not isinstance(value, dict):
        return [(key, value)]
    return [(f"{key}.{name}", part) for name, part in value.items()]


def unusable(path: str | Path, error: Exception) -> NucleiganError:
    """The sentence about a file that a reader failed at."""
    return NucleiganError(
        f"{path}: cannot be used as a model file ({reason(error)}); fetch it "
        "anew, or, if a run has made it, delete it and run the same command again."
    )
