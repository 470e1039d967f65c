"""Where and how the networks run: device, precision, threads, memory layout."""

import ctypes
import re
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from nucleigan.config import ComputeSettings
from nucleigan.errors import NucleiganError
from nucleigan.gpus import allowed
from nucleigan.training import checkpoint

# Channels beside each other in memory: the layout in which bfloat16 convolutions are fastest.
CHANNELS_LAST: Any = torch.channels_last
# Side of the matrices by which precisions are compared: some milliseconds a product.
MATRIX = 1024
# Of glibc's malloc.h, and the largest value that mallopt(3) takes on 64-bit systems, bytes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 << 20


@dataclass(frozen=True)
class Compute:
    """The choices that were made.

    Attributes
    ----------
    device
        For example ``cpu`` or ``cuda:0``.
    precision
        ``float32`` or ``bfloat16``.
    """

    device: torch.device
    precision: str

    def autocast(self) -> AbstractContextManager:
        """Context in which convolutions run at the chosen precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def preparing(self) -> int:
        """Threads that prepare what the network sees; beside a GPU all of the job's are free."""
        return torch.get_num_threads() if self.device.type == "cuda" else 1

    def facts(self) -> dict[str, str]:
        """For the records of a run."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "threads": str(torch.get_num_threads()),
            "torch": torch.__version__,
        }


def prepare(settings: ComputeSettings) -> Compute:
    """Set the number of threads and choose device and precision.

    Raises
    ------
    NucleiganError
        The device does not exist on this machine.
    """
    torch.set_num_threads(settings.threads)
    device = _device(settings.device)
    precision = settings.precision
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    return _at(device, precision)


def go_on(
    compute: Compute, settings: ComputeSettings, folder: str | Path, identity: dict[str, Any]
) -> Compute:
    """In the precision in which an unfinished training began, where ``auto`` chose and may choose.

    Another machine, or another moment where both precisions are equally fast, would choose
    otherwise, and the training would start anew. One begun in bfloat16 goes on in it where the
    machine has such instructions.

    Parameters
    ----------
    compute
        Of :func:`prepare`.
    settings
        What it was prepared by.
    folder
        Of the training's checkpoints.
    identity
        What the checkpoints belong to; ``precision`` is the one of ``compute``.
    """
    if settings.precision != "auto":
        return compute
    begun = checkpoint.begun_with("precision", folder, identity)
    known = begun == "float32" or (begun == "bfloat16" and _knows_bfloat16(compute.device))
    # Processes that share a training go on together.
    return _at(compute.device, str(begun)) if _everywhere(known) else compute


def _at(device: torch.device, precision: str) -> Compute:
    # Convolutions of float32 would otherwise be of fewer bits on GPUs that have such.
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    return Compute(device, precision)


def keep_memory() -> None:
    """Keep what the process frees of its memory, for what it allocates next.

    For loops that do the same again and again: by default the C library gives the layers' results
    back to the system after every step, which then clears each page once more, a tenth of a step's
    time on two cores. Other C libraries than glibc are left as they are.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def on_gpu(name: str) -> bool:
    """Whether ``compute.device`` means a GPU here; no memory of it is taken.

    Raises
    ------
    NucleiganError
        The device does not exist on this machine.
    """
    return _drives_gpu() if name == "auto" else _device(name).type == "cuda"


def _drives_gpu() -> bool:
    """Whether PyTorch has kernels for the GPU that this process would take."""
    if not torch.cuda.is_available():
        return False
    # With an older GPU it warns, and fails at the first kernel.
    kinds = (re.fullmatch(r"sm_(\d+)[a-z]*", kind) for kind in torch.cuda.get_arch_list())
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor >= min((int(kind[1]) for kind in kinds if kind), default=0)


def _device(name: str) -> torch.device:
    if name == "auto":
        # Each process of a training has a GPU of its own, which it has made the current one.
        if _drives_gpu():
            return torch.device("cuda", torch.cuda.current_device())
        if allowed(name):
            print(
                "warning: this machine has GPUs, but PyTorch cannot use them, as where they or "
                "their driver are too old for its version of CUDA; this job runs on the CPU.",
                flush=True,
            )
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    known = device is not None and device.type in ("cpu", "cuda")
    if device is None or not known:
        raise NucleiganError(f"compute.device is {name!r}; use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise NucleiganError(
            f"compute.device is {name!r}, but PyTorch sees {torch.cuda.device_count()} CUDA "
            "devices here; use auto or cpu."
        )
    return device


@cache
def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the machine multiplies bfloat16 faster than float32.

    On a CPU the instructions alone do not say: with the same flag one kind gives twice the rate of
    float32, another half of it.
    """
    knows = _knows_bfloat16(device)
    if device.type == "cuda":
        return knows
    faster = knows and _product_seconds(torch.bfloat16) < _product_seconds(torch.float32)
    # Processes that share a training would not resume it together with precisions of their own.
    return _everywhere(faster)


def _knows_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _everywhere(true: bool) -> bool:
    """Whether it is true in all processes that share a training."""
    if not distributed.is_initialized():
        return true
    everywhere = torch.tensor(int(true), device=carried())
    distributed.all_reduce(everywhere, distributed.ReduceOp.MIN)
    return bool(everywhere)


def carried() -> str:
    """Kind of device whose tensors can be sent to the other processes of a training."""
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"


def _product_seconds(kind: torch.dtype) -> float:
    """Processor time of a product of matrices, which other work on the machine does not change."""
    matrix = torch.ones(MATRIX, MATRIX, dtype=kind)
    seconds = []
    # The first product also prepares the kernel.
    for _ in range(6):
        began = time.process_time()
        matrix @ matrix
        seconds.append(time.process_time() - began)
    return min(seconds)
