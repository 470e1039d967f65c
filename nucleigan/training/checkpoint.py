"""Everything that the next step depends on, in one file without pickles.

Tensors are stored as safetensors; the tree that holds them and all plain values as JSON in the
header, with a checksum over all of it. The file before the last is kept, in case the last cannot be
read.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes

from nucleigan.artifacts import atomic, partial

CURRENT, PREVIOUS, ASIDE = "checkpoint.safetensors", "previous.safetensors", "set-aside"
DAMAGED = "damaged"
# What a damaged file makes the readers raise, the last by brackets in brackets. Lack of memory is
# none of it.
UNREADABLE = (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError)


def save(folder: str | Path, state: dict[str, Any], identity: str) -> None:
    """Write a checkpoint; the one before becomes the fallback.

    Parameters
    ----------
    folder
        Of this training run.
    state
        Nested dictionaries and lists of tensors, numbers, strings and None.
    identity
        Text of the settings, data and code that the state belongs to.
    """
    folder = Path(folder)
    tensors: dict[str, torch.Tensor] = {}
    header = {"tree": json.dumps(_strip(state, tensors, "")), "identity": identity}
    header["checksum"] = checksum(tensors, header)
    current = folder / CURRENT
    with atomic(current) as temporary:
        # On a full disk save_file raises an error of its own, which does not say what to do.
        temporary.write_bytes(as_bytes(tensors, metadata=header))
        if current.exists():
            current.replace(folder / PREVIOUS)


def load(folder: str | Path, identity: str) -> dict[str, Any] | None:
    """The newest readable checkpoint of the same settings, data and code, or None.

    A checkpoint of another identity is set aside and never resumed, and so is a damaged one. Both
    are said in a printed line.
    """
    folder = Path(folder)
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state, found = _read(path)
        except UNREADABLE as error:
            # Out of the way, lest the next checkpoint make it the one before.
            aside = path.replace(folder / f"{DAMAGED}-{name}")
            print(
                f"warning: {path} is damaged ({error}); it is set aside as {aside.name}, and the "
                "one before is taken."
            )
            continue
        if found != identity:
            other = hashlib.sha256(found.encode()).hexdigest()[:8]
            # By its own name as well, lest the one before take the place of the newer one.
            aside = folder / f"{ASIDE}-{other}-{name}"
            path.replace(aside)
            print(
                f"warning: {path} belongs to other settings, data or code; it is set aside as "
                f"{aside.name} and the training starts anew."
            )
            continue
        return state
    return None


def newest(folder: str | Path) -> Path | None:
    """The file that :func:`load` would read first, if there is any."""
    paths = (Path(folder) / name for name in (CURRENT, PREVIOUS))
    return next((path for path in paths if path.exists()), None)


def clear(folder: str | Path) -> None:
    """Remove the checkpoints of a run that is complete."""
    current, previous = Path(folder) / CURRENT, Path(folder) / PREVIOUS
    damaged = Path(folder).glob(f"{DAMAGED}-*")
    for path in (current, partial(current), previous, *damaged):
        path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if header.pop("checksum") != checksum(tensors, header):
        raise ValueError("its checksum does not fit its content")
    return _fill(json.loads(header["tree"]), tensors), header["identity"]


def checksum(tensors: dict[str, torch.Tensor], texts: dict[str, str]) -> str:
    """SHA-256 of tensors and texts, and of their names."""
    kinds = {name: [str(one.dtype), list(one.shape)] for name, one in tensors.items()}
    digest = hashlib.sha256(json.dumps([texts, kinds], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _strip(value: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    """Replace tensors by their names and collect them."""
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"__tensor__": path}
    if isinstance(value, dict):
        # Pairs instead of an object: optimisers key their state by integers.
        items = [[key, _strip(item, tensors, f"{path}/{key}")] for key, item in value.items()]
        return {"__items__": items}
    if isinstance(value, list | tuple):
        return [_strip(item, tensors, f"{path}/{n}") for n, item in enumerate(value)]
    return value


def _fill(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if "__tensor__" in value:
            return tensors[value["__tensor__"]]
        return {key: _fill(item, tensors) for key, item in value["__items__"]}
    if isinstance(value, list):
        return [_fill(item, tensors) for item in value]
    return value
