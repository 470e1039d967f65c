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

from nucleigan.artifacts import atomic, check_opens, partial
from nucleigan.errors import let_through

CURRENT, PREVIOUS, ASIDE = "checkpoint.safetensors", "previous.safetensors", "set-aside"
DAMAGED = "damaged"
# Differences that a warning names, and the characters of values that it repeats.
NAMED, SHORT = 4, 40
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
        Settings, data and code that the state belongs to, best as JSON: of a dictionary a warning
        can name what differs.
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

    A checkpoint of another identity is set aside, and goes on when its settings are back; a damaged
    one never does. Both are said in a printed line.
    """
    folder = Path(folder)
    before = [f"{ASIDE}-{_short(identity)}-{name}" for name in (CURRENT, PREVIOUS)]
    for name in (CURRENT, PREVIOUS, *before):
        path = folder / name
        if not path.exists():
            continue
        try:
            state, found = _read(path)
        except UNREADABLE as error:
            let_through(error)
            # Out of the way, lest the next checkpoint make it the one before.
            aside = path.replace(folder / f"{DAMAGED}-{name}")
            print(
                f"warning: {path} is damaged ({error}); it is set aside as {aside.name}, and the "
                "one before is taken."
            )
            continue
        if found != identity:
            # By its own name as well, lest the one before take the place of the newer one.
            aside = folder / f"{ASIDE}-{_short(found)}-{name}"
            path.replace(aside)
            print(
                f"warning: {path} belongs to another training ({_differences(found, identity)}); "
                f"it is set aside as {aside.name} and the training starts anew."
            )
            continue
        if name in before:
            path.replace(folder / CURRENT)
        return state
    return None


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def _differences(found: str, wanted: str) -> str:
    """In which parts two identities differ, with the values of those that are short."""
    try:
        before, now = _flat(json.loads(found), ""), _flat(json.loads(wanted), "")
    except ValueError:
        return "other settings, data or code"
    named = [
        f"{name}: {before.get(name, 'none')}, now {now.get(name, 'none')}"
        if len(before.get(name, "") + now.get(name, "")) <= SHORT
        else f"other {name}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    return "; ".join(named[:NAMED]) + (f"; and {len(named) - NAMED} more" * (len(named) > NAMED))


def _flat(value: Any, name: str) -> dict[str, str]:
    """The leaves of dictionaries in dictionaries, as JSON, by the names that lead to them."""
    if not isinstance(value, dict):
        return {name: json.dumps(value)}
    leaves = (_flat(inner, f"{name}.{key}" if name else key) for key, inner in value.items())
    return {path: text for part in leaves for path, text in part.items()}


def newest(folder: str | Path) -> Path | None:
    """The file that :func:`load` would read first, if there is any."""
    paths = (Path(folder) / name for name in (CURRENT, PREVIOUS))
    return next((path for path in paths if path.exists()), None)


def begun_with(key: str, folder: str | Path, identity: dict[str, Any]) -> Any:
    """What the newest checkpoint's identity has for a key, or None if it differs in others as well.

    Parameters
    ----------
    key
        Of ``identity``.
    folder
        Of this training run.
    identity
        Settings, data and code of the training that goes on.
    """
    path = newest(folder)
    try:
        found = json.loads(_header(path)["identity"]) if path else {}
        begun = found[key]
    except UNREADABLE as error:
        let_through(error)
        return None
    same = {**found, key: None} == json.loads(as_text({**identity, key: None}))
    return begun if same else None


def as_text(identity: dict[str, Any]) -> str:
    """An identity as :func:`save` and :func:`load` take it."""
    return json.dumps(identity, sort_keys=True, default=str)


def _header(path: Path) -> dict[str, str]:
    check_opens(path)
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def clear(folder: str | Path) -> None:
    """Remove the checkpoints of a run that is complete."""
    current, previous = Path(folder) / CURRENT, Path(folder) / PREVIOUS
    damaged = Path(folder).glob(f"{DAMAGED}-*")
    for path in (current, partial(current), previous, *damaged):
        path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    header = _header(path)
    with safe_open(path, framework="pt") as file:
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
