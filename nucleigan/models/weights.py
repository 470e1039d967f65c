"""Weights as files: safetensors with everything needed to use them in the header."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from nucleigan.artifacts import atomic
from nucleigan.errors import NucleiganError, let_through, shown
from nucleigan.models.header import FORMAT, check_exists, facts_in, unusable
from nucleigan.training.checkpoint import checksum


def write_weights(path: str | Path, tensors: dict[str, torch.Tensor], facts: dict) -> None:
    """Write tensors and facts; the facts are JSON under the header's key ``nucleigan``."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": FORMAT, "nucleigan": json.dumps(facts, sort_keys=True)}
    header["checksum"] = checksum(plain, header)
    with atomic(path) as temporary:
        # save_file would make a file that only its owner can read.
        temporary.write_bytes(save(plain, metadata=header))


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`write_weights` wrote.

    Raises
    ------
    NucleiganError
        The file is missing, damaged, not of this format, or holds NaN or infinity.
    """
    check_exists(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = facts_in(header)
        if header.pop("checksum", None) != checksum(tensors, header):
            raise ValueError("its checksum does not fit its content")
    # Whatever a stranger's file makes the readers raise: SafetensorError, RecursionError, ...
    except Exception as error:
        let_through(error)
        raise unusable(path, error) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NucleiganError(
                f"{path}: the weights {shown(name)} hold numbers that are not finite; make the "
                "model again or fetch it anew."
            )
    return tensors, facts
