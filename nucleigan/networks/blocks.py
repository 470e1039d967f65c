"""Pieces that the networks share: normalisation, initialisation, spectral normalisation."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

# Of the power method a pass: with one or two, the norms of young layers, whose singular values lie
# close together, are off by a twentieth and more after some dozens of steps.
ITERATIONS = 3
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
# Channels of a group in group normalisation: small enough that 16-channel levels have several.
GROUP_CHANNELS = 8
# Steps of the power iteration by which the norm of given weights is found again.
POWER_STEPS = 50


def has_fast_path(x: torch.Tensor) -> bool:
    """Whether the layers below do their own work for it instead of PyTorch's plain layers.

    They were measured on CPUs, for channels-last.
    """
    return x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)


class InstanceNorm(nn.InstanceNorm2d):
    """The same numbers as its parent, without leaving the channels-last layout on CPUs.

    The parent brings every batch into the default layout, from which convolutions in bfloat16
    learn at a third of their rate.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        # A single pixel, which has no variance, is the parent's to refuse.
        if has_fast_path(x) and x.shape[2:].numel() > 1:
            return _Standardised.apply(x, self.eps)
        return super().forward(x)


class _Standardised(torch.autograd.Function):
    """Each image's channels with mean 0 and variance 1, in channels-last.

    As batch normalisation of every image alone. (The kernel of group normalisation is twice as fast
    there, but takes the variance from squares, which spoils it in flat images such as glass.)
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> torch.Tensor:
        # Gains that say nothing: with them statistics are not rounded to the precision of x.
        exact, channels = torch.promote_types(x.dtype, torch.float32), x.shape[1]
        one, zero = x.new_ones(channels, dtype=exact), x.new_zeros(channels, dtype=exact)
        made, means, scales = torch.empty_like(x), *one.new_empty(2, len(x), channels)
        for image, *out in zip(x.split(1), made.split(1), means, scales, strict=True):
            torch.native_batch_norm(image, one, zero, None, None, True, 0.0, eps, out=out)
        ctx.save_for_backward(x, means, scales)
        ctx.eps = eps
        return made

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, means, scales = ctx.saved_tensors
        images = []
        for theirs, image, *known in zip(gradient.split(1), x.split(1), means, scales, strict=True):
            images.append(
                torch.ops.aten.native_batch_norm_backward(
                    theirs, image, None, None, None, *known, True, ctx.eps, [True, False, False]
                )[0]
            )
        return torch.cat(images), None


class ReflectionPad(nn.ReflectionPad2d):
    """In the precision of what it is given; autocast on CPUs would go to float32 and back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, H + 2p, W + 2p)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


class ResizedConvolution(nn.Conv2d):
    """A 3×3 convolution, borders reflected, of an image whose every pixel became four equal ones.

    On CPUs it is done as four 2×2 convolutions of the image itself, one for each of the four
    pixels: of the three rows (columns) under the kernel two are equal, so that their weights may be
    added first. That takes 16 multiplications instead of 36 and gives the same numbers but for
    rounding. Reflecting the large image is repeating the outermost pixel of the small one.

    Parameters
    ----------
    inputs, outputs
        Channels.
    bias
        Whether to learn an offset.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__(inputs, outputs, 3, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, outputs, 2H, 2W)."""
        if not has_fast_path(x):
            with torch.autocast(x.device.type, enabled=False):
                large = functional.interpolate(x, scale_factor=2, mode="nearest")
                large = functional.pad(large, (1, 1, 1, 1), mode="reflect")
            return super().forward(large)
        kernels = [kernel for rows in _sums(self.weight, 2) for kernel in _sums(rows, 3)]
        bias = None if self.bias is None else self.bias.repeat(len(kernels))
        return _Interleaved.apply(
            functional.conv2d(_EdgeRepeated.apply(x), torch.cat(kernels), bias)
        )


def _sums(kernel: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three weights along an axis as two, for the first and the second of two equal pixels."""
    before, here, after = kernel.unbind(axis)
    return torch.stack([before, here + after], axis), torch.stack([before + here, after], axis)


class _EdgeRepeated(torch.autograd.Function):
    """(B, C, H, W) to (B, C, H + 2, W + 2), in channels-last; PyTorch's own way back is slow."""

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        inner = x.permute(0, 2, 3, 1)
        batch, height, width, channels = inner.shape
        padded = x.new_empty(batch, height + 2, width + 2, channels)
        padded[:, 1:-1, 1:-1] = inner
        padded[:, 0, 1:-1], padded[:, -1, 1:-1] = inner[:, 0], inner[:, -1]
        padded[:, :, 0], padded[:, :, -1] = padded[:, :, 1], padded[:, :, -2]
        return padded.permute(0, 3, 1, 2)

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        padded = gradient.permute(0, 2, 3, 1)
        columns = padded[:, :, 1:-1].clone()
        columns[:, :, 0] += padded[:, :, 0]
        columns[:, :, -1] += padded[:, :, -1]
        inner = columns[:, 1:-1]
        inner[:, 0] += columns[:, 0]
        inner[:, -1] += columns[:, -1]
        return inner.contiguous().permute(0, 3, 1, 2)


class _Interleaved(torch.autograd.Function):
    """(B, 4C, H + 1, W + 1), what each of four pixels is, to (B, C, 2H, 2W), in channels-last.

    The first C channels are the upper left pixels, then come the upper right, lower left and lower
    right ones; those on the left (above) leave the last column (row) unused, the others the first.
    """

    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        # Not a view of something: a rectifier that follows may write into it.
        large = torch.empty(
            (batch, channels // 4, 2 * (height - 1), 2 * (width - 1)),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last,
        )
        for part, pixels in _Interleaved.pairs(x, large):
            pixels.copy_(part)
        return large

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        large = gradient.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = large.shape
        parts = large.new_zeros(batch, height // 2 + 1, width // 2 + 1, 4 * channels)
        parts = parts.permute(0, 3, 1, 2)
        for part, pixels in _Interleaved.pairs(parts, large):
            part.copy_(pixels)
        return parts

    @staticmethod
    def pairs(
        parts: torch.Tensor, large: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Views (B, H, W, C) of each of the four pixels in what is given and in what is made."""
        batch, channels, height, width = large.shape
        height, width = height // 2, width // 2
        given = parts.permute(0, 2, 3, 1)
        made = large.permute(0, 2, 3, 1).view(batch, height, 2, width, 2, channels)
        for place, (a, b) in enumerate(itertools.product(range(2), repeat=2)):
            own = slice(place * channels, (place + 1) * channels)
            yield given[:, a : a + height, b : b + width, own], made[:, :, a, :, b]


class LastConvolution(nn.Conv2d):
    """A convolution with a large square kernel and few outputs, such as colours.

    On CPUs every row of the kernel is convolved by itself and the rows are added: a handful of
    outputs leaves most of a vector register empty, and a kernel's height times as many do not.

    Parameters
    ----------
    inputs, outputs
        Channels.
    side
        Of the kernel, pixels.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__(inputs, outputs, side)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H + side - 1, W + side - 1) to (B, outputs, H, W)."""
        if not has_fast_path(x):
            return super().forward(x)
        side = self.kernel_size[0]
        kernels = self.weight.permute(2, 0, 1, 3).flatten(0, 1).unsqueeze(2)
        rows = functional.conv2d(x, kernels)
        height = rows.shape[2] - side + 1
        total = self.bias.view(1, -1, 1, 1)  # type: ignore[union-attr]
        for place, row in enumerate(rows.to(total).split(self.out_channels, 1)):
            total = total + row[:, :, place : place + height]
        return total.to(rows)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": lambda channels: InstanceNorm(channels),
    "batch": lambda channels: nn.BatchNorm2d(channels),
    "group": lambda channels: nn.GroupNorm(_groups(channels), channels),
    "none": lambda channels: nn.Identity(),
}


def _groups(channels: int) -> int:
    """As many groups of one size as there are with :data:`GROUP_CHANNELS` channels or more."""
    most = max(1, channels // GROUP_CHANNELS)
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


def norm(kind: str, channels: int) -> nn.Module:
    """A normalisation layer for ``channels`` channels; see :data:`NORMS`."""
    return NORMS[kind](channels)


def has_affine_shift(kind: str) -> bool:
    """Whether the normalisation adds its own offset, which makes a convolution's bias redundant."""
    return kind in ("batch", "group")


def initialise(network: nn.Module, std: float, generator: torch.Generator) -> None:
    """Draw convolution weights from N(0, std²); biases 0, normalisation gains N(1, std²).

    Must run *before* :func:`normalise_spectrally`: once a weight is parametrised, writing to it no
    longer reaches the stored tensor (Radford et al. 2016 for the distribution).
    """
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            module.weight.data.normal_(0.0, std, generator=generator)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm) and module.weight is not None:
            module.weight.data.normal_(1.0, std, generator=generator)
            module.bias.data.zero_()


def normalise_spectrally(network: nn.Module, seed: int) -> None:
    """Wrap every convolution so that its largest singular value is 1 (Miyato et al. 2018)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, CONVOLUTIONS):
                spectral_norm(module, n_power_iterations=ITERATIONS)


def effective_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's weights as its forward pass uses them, under the names of the bare network.

    Spectrally normalised weights are divided by their norm, so the result loads into a network
    that was built without it.
    """
    was_training = network.training
    network.eval()
    state = {
        name: tensor.detach().clone()
        for name, tensor in network.state_dict().items()
        if ".parametrizations." not in f".{name}"
    }
    for path, module in network.named_modules():
        if _is_normalised(module):
            state[f"{path}.weight"] = module.weight.detach().clone()
    network.train(was_training)
    return state


@torch.no_grad()
def load_effective(network: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Take over weights of :func:`effective_state`, also where this network normalises spectrally.

    Raises
    ------
    RuntimeError
        They are another network's.
    """
    known = network.state_dict()
    wrapped = [path for path, module in network.named_modules() if _is_normalised(module)]
    names = {f"{path}.weight": f"{path}.parametrizations.weight.original" for path in wrapped}
    given = {names.get(name, name): tensor for name, tensor in tensors.items()}
    vectors = {name: known[name] for name in known if ".parametrizations.weight.0." in name}
    network.load_state_dict(vectors | given)
    was_training = network.training
    network.train()
    for path in wrapped:
        module = network.get_submodule(path)
        for _ in range(POWER_STEPS):
            # Looking at it takes one step.
            module.weight  # noqa: B018
    network.train(was_training)


def _is_normalised(module: nn.Module) -> bool:
    return parametrize.is_parametrized(module, "weight")
