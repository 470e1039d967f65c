"""Training by several processes that share every batch, through PyTorch's distributed package.

Each process holds all weights and learns from its part of a step's batch. Gradients are averaged,
and whatever looks at a whole batch (batch statistics, Dice, the pool of past pictures, random
draws) sees that of all processes: the result is that of one process, but for the order of
additions. With one process nothing here does anything.
"""

import atexit
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn import functional

from nucleigan.errors import NucleiganError
from nucleigan.jobs import FIRST_NODE
from nucleigan.training.compute import carried, on_gpu

# Whatever has a length and can be sliced.
Part = TypeVar("Part")

# How long a process waits for another that says nothing; longer than any step takes, and any look
# of the first process at validation slides that fit into its memory.
PATIENCE = timedelta(hours=3)
# Of the first node, one for each job; Linux gives none of these to outgoing connections.
PORTS = range(20_000, 30_000)


def spread(processes: int, device: str) -> None:
    """Let this script be run by several processes, or join the others.

    Of one process nothing happens. Otherwise the first call runs the script by torchrun, as often
    as it is asked to, and does not return; in those runs the call joins them into a group and
    returns. In a SLURM job of several nodes the script, and so torchrun, is started on each.

    Parameters
    ----------
    processes
        How many on this machine, or on each node.
    device
        ``compute.device`` of the configuration; each process takes a GPU of its own, or none does.

    Raises
    ------
    NucleiganError
        There are not as many GPUs; further those of :func:`nucleigan.training.launcher.launch`.
    SystemExit
        When the processes have ended.
    """
    if processes == 1:
        return
    gpus = on_gpu(device)
    if "LOCAL_RANK" in os.environ:
        if gpus:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if gpus else "gloo", timeout=PATIENCE)
        atexit.register(_leave)
        return
    if gpus:
        _check_gpus(processes)
    sys.stdout.flush()
    if int(os.environ.get("SLURM_JOB_NUM_NODES", 1)) > 1 and FIRST_NODE not in os.environ:
        command = on_each_node(sys.argv, os.environ)
        os.execvp(command[0], command)
    # What it imports is of no use to anything else.
    from nucleigan.training.launcher import launch

    launch(torchrun_arguments(processes, sys.argv, os.environ))
    sys.exit()


def _leave() -> None:
    """End the threads of the group: one that lets go of a tensor while Python ends aborts it."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _check_gpus(processes: int) -> None:
    if processes > torch.cuda.device_count():
        raise NucleiganError(
            f"compute.processes is {processes}, but PyTorch sees {torch.cuda.device_count()} CUDA "
            "devices here, and each process takes one; set it to as many."
        )


def on_each_node(script: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The command that runs a job's script again, once on each of its nodes.

    Parameters
    ----------
    script
        Path and arguments.
    environment
        Variables of the SLURM job.
    """
    nodes = environment["SLURM_JOB_NUM_NODES"]
    # The step that this script runs in holds all of the job, and may have told srun of one task.
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    first = environment["SLURMD_NODENAME"]
    return [*srun, f"--export=ALL,{FIRST_NODE}={first}", sys.executable, *script]


def torchrun_arguments(
    processes: int, script: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """What torchrun is to do on this machine or node; parameters as above."""
    each = f"--nproc-per-node={processes}"
    nodes = int(environment.get("SLURM_JOB_NUM_NODES", 1))
    if nodes == 1:
        return [each, "--standalone", *script]
    # Each node's torchrun finds the others through that of the first.
    first, job = environment[FIRST_NODE], environment["SLURM_JOB_ID"]
    port = PORTS[int(job) % len(PORTS)]
    meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={first}:{port}", f"--rdzv-id={job}"]
    return [f"--nnodes={nodes}", each, *meeting, *script]


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; the first alone writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def check_batch(size: int, together: int = 1) -> None:
    """Refuse a batch that cannot be split evenly, for its parts would not count alike.

    Parameters
    ----------
    size
        Of the batch.
    together
        How many of its items belong to each other and cannot be split.

    Raises
    ------
    NucleiganError
        Names both numbers.
    """
    if size % (count() * together):
        items = f"{together} by {together}" if together > 1 else "evenly"
        raise NucleiganError(
            f"batch_size is {size}, which {count()} processes cannot share {items}; make it a "
            f"multiple of {count() * together}, or change compute.processes."
        )


def mine(whole: Part) -> Part:
    """The part of this process in something that belongs to a whole batch."""
    size = len(whole) // count()  # type: ignore[arg-type]
    return whole[rank() * size : (rank() + 1) * size]  # type: ignore[index]


def gather(part: torch.Tensor) -> torch.Tensor:
    """The parts of all processes, one behind the other; without gradients."""
    if count() == 1:
        return part
    parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(count())]
    distributed.all_gather(parts, part.detach().contiguous())
    return torch.cat(parts)


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum over all processes; gradients flow through it."""
    return value if count() == 1 else _Total.apply(value)


def normal_like(part: torch.Tensor) -> torch.Tensor:
    """Standard normal numbers of a part's shape, as one process would draw them for the batch."""
    # Not randn_like: its draws would follow the layout in memory.
    shape = (len(part) * count(), *part.shape[1:])
    return mine(torch.randn(shape, dtype=part.dtype, device=part.device))


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Give every process the mean gradient of all, before the optimiser's step."""
    if count() == 1:
        return
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    found = [weight.grad for weight in weights if weight.grad is not None]
    # One message instead of one a weight.
    flat = torch.cat([gradient.flatten() for gradient in found])
    distributed.all_reduce(flat)
    flat /= count()
    for gradient, mean in zip(found, flat.split([g.numel() for g in found]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def mean_losses(losses: dict[str, float]) -> dict[str, float]:
    """The losses of the whole batch."""
    if count() == 1:
        return losses
    return dict(zip(losses, (_summed(losses.values()) / count()).tolist(), strict=True))


def any_of(*flags: bool) -> list[bool]:
    """Each flag, true where it is in any process: so all of them decide alike."""
    if count() == 1:
        return list(flags)
    return [value > 0 for value in _summed(map(float, flags)).tolist()]


def _summed(values: Iterable[float]) -> torch.Tensor:
    return _reduced(torch.tensor(list(values), dtype=torch.float64, device=carried())).cpu()


def _reduced(value: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, without gradients."""
    summed = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(summed)
    return summed


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if count() > 1:
        distributed.barrier()


class _Total(torch.autograd.Function):
    """A sum whose every part has the gradient of all processes' losses."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return _reduced(value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        # A sum again, so that a gradient of it may be asked for as well.
        total: torch.Tensor = _Total.apply(gradients[0])
        return total


def share_layers(network: nn.Module) -> None:
    """Let a network's layers that look at a whole batch, or draw for it, do so for that of all."""
    if count() == 1:
        return
    for layer in network.modules():
        layer.__class__ = SHARED.get(type(layer), type(layer))


def _ones_of_all(part: torch.Tensor) -> torch.Tensor:
    """Ones in the shape of the whole batch, laid out in memory as a part: draws follow it."""
    last = torch.channels_last
    channels_last = (
        part.dim() == 4 and not part.is_contiguous() and part.is_contiguous(memory_format=last)
    )
    return torch.empty(
        (count() * len(part), *part.shape[1:]),
        dtype=part.dtype,
        device=part.device,
        memory_format=last if channels_last else torch.contiguous_format,
    ).fill_(1)


class SharedDropout(nn.Dropout):
    """Dropout by this process's part of what one process would draw for the whole batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape (B, ...) to the same."""
        if not self.training:
            return x
        return x * mine(functional.dropout(_ones_of_all(x), self.p))


class SharedDropout2d(nn.Dropout2d):
    """The same for whole channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        if not self.training:
            return x
        channels = x[:, :, :1, :1].contiguous()
        return x * mine(functional.dropout2d(_ones_of_all(channels), self.p))


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the parts of all processes; PyTorch's own does so on GPUs alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W), normalised; see :class:`torch.nn.BatchNorm2d`."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        assert self.momentum is not None
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        over, shape = (0, 2, 3), (1, -1, 1, 1)
        number = count() * x.numel() / x.shape[1]
        mean = total(values.sum(over)) / number
        centred = values - mean.view(shape)
        variance = total(centred.square().sum(over)) / number
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(x.dtype)


# What takes the place of a layer of PyTorch's.
SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: SharedBatchNorm,
    nn.Dropout: SharedDropout,
    nn.Dropout2d: SharedDropout2d,
}
