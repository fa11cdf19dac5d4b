"""Building blocks of networks on clips: causal or symmetric convolutions in 3-d or (2+1)-d form.

Shapes: B clips (the samples of the batch), C channels, C' output channels, T frames, H x W pixels, n pixels along a
side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import Norm, norm_layers
from aeframe.parts.networks.phases import equalise_phases
from aeframe.types import Shape

Form = Literal["3d", "2+1d"]
"""``3d``: joint convolutions over time and space; ``2+1d``: a convolution over space, an activation, and one over time
(Tran et al. 2018, arXiv 1711.11248).
"""
_SPACE_STRIDE = 2
"""Stride in space of every stage of a network."""


@dataclass(frozen=True, slots=True)
class ConvOptions:
    """The options that all convolutions of a network share, and the layers made from them."""

    form: Form
    kernel: int
    time_kernel: int
    causal: bool
    norm: Norm
    activation: MakeActivation

    def norm_and_activation(self, channels: int) -> list[nn.Module]:
        """Return the layers before or after a convolution."""
        norms = norm_layers(self.norm, channels)
        # Statistics over all frames would not be causal.
        return [*(PerFrame(norm) if self.causal else norm for norm in norms), self.activation()]

    def convolution(self, channels_in: int, channels_out: int, time_stride: int = 1, stride: int = 1) -> nn.Module:
        """Return a convolution to ceil(T / time_stride) frames and ceil(n / stride) pixels along each side."""
        time, space = self.time_kernel, self.kernel
        if self.form == "3d" or time == 1:
            return Convolution(channels_in, channels_out, (time, space), (time_stride, stride), self.causal)
        return nn.Sequential(
            Convolution(channels_in, channels_out, (1, space), (1, stride), self.causal),
            *self.norm_and_activation(channels_out),
            Convolution(channels_out, channels_out, (time, 1), (time_stride, 1), self.causal),
        )

    def upsampling(self, channels_in: int, channels_out: int, time_stride: int, size: Shape) -> nn.Module:
        """Return a transposed convolution to `size` ``(T, H, W)``, with stride 2 in space."""
        time, space = self.time_kernel, self.kernel
        if self.form == "3d" or time == 1:
            return Upsample(channels_in, channels_out, (time, space), (time_stride, _SPACE_STRIDE), self.causal, size)
        intermediate = (size[0], *((n + 1) // _SPACE_STRIDE for n in size[1:]))
        return nn.Sequential(
            Upsample(channels_in, channels_in, (time, 1), (time_stride, 1), self.causal, intermediate),
            *self.norm_and_activation(channels_in),
            Upsample(channels_in, channels_out, (1, space), (1, _SPACE_STRIDE), self.causal, size),
        )


class Convolution(nn.Module):
    """A convolution of clips: ``(B, C, T, H, W)`` -> ``(B, C', ceil(T / s), ceil(H / s'), ceil(W / s'))``.

    s and s' are the strides in time and space; `kernel` is its width in time and in space. If causal, frame j of the
    output depends on input frames up to ``s j + s - 1``: each output frame has a group of s input frames, and depends
    on this group and on earlier ones. The start is zero-padded.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: tuple[int, int], stride: tuple[int, int], causal: bool
    ) -> None:
        super().__init__()
        # `self.stride` is that in time.
        (time, space), (self.stride, space_stride) = kernel, stride
        self.pad_start = time - self.stride if causal else None
        padding = (0 if causal else time // 2, space // 2, space // 2)
        self.conv = nn.Conv3d(
            channels_in,
            channels_out,
            (time, space, space),
            stride=(self.stride, space_stride, space_stride),
            padding=padding,
        )

    def forward(self, x: Tensor) -> Tensor:
        pad_end = -x.shape[2] % self.stride
        if self.pad_start is not None and (self.pad_start or pad_end):
            x = F.pad(x, (0, 0, 0, 0, self.pad_start, pad_end))
        return self.conv(x)


class Upsample(nn.Module):
    """A transposed convolution of clips to a given size, the counterpart of `Convolution`.

    `kernel` and `stride` have a value for time and one for space, and `size` is ``(T, H, W)`` of the output. If causal,
    frame t of the output depends on input frames up to ``floor(t / s)``, where s is the stride in time. With stride 2
    the kernel is wider by one, hence even, so that every output is a sum of the same number of products.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        causal: bool,
        size: Shape,
    ) -> None:
        super().__init__()
        kernel_size = tuple(width + (step > 1) for width, step in zip(kernel, stride, strict=True))
        space_padding = kernel[1] // 2
        conv = nn.ConvTranspose3d(
            channels_in,
            channels_out,
            (kernel_size[0], kernel_size[1], kernel_size[1]),
            stride=(stride[0], stride[1], stride[1]),
            padding=(0 if causal else kernel[0] // 2, space_padding, space_padding),
        )
        self.conv = equalise_phases(conv)
        self.crop = (..., *(slice(n) for n in size))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[self.crop]


class PerFrame(nn.Module):
    """Apply `inner`, a module of images, to each frame of ``(B, C, T, H, W)`` separately."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        frames: Tensor = self.inner(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class ResidualBlock(nn.Module):
    """x + f(x), where f has norm, activation and convolution twice in turn (He et al. 2016, arXiv 1603.05027)."""

    def __init__(self, channels: int, options: ConvOptions) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *options.norm_and_activation(channels),
            options.convolution(channels, channels),
            *options.norm_and_activation(channels),
            options.convolution(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def resolve_time_strides(
    who: str, time_strides: tuple[int, ...] | None, num_stages: int, time_kernel: int
) -> tuple[int, ...]:
    """Return the stride in time of each stage; the default is 2, or 1 with a time kernel of 1.

    Args:
        who: The name of the network, for error messages.
        time_strides: One stride for each stage; None is the default.
        num_stages: Number of stages.
        time_kernel: Width of the convolutions in time.

    Raises:
        AeframeError: A number of strides other than `num_stages`, a stride other than 1 or 2, or an even kernel.
    """
    if time_kernel < 1 or time_kernel % 2 == 0:
        raise AeframeError(f"{who} requires an odd time_kernel such as 1 or 3, found {time_kernel}")
    if time_strides is None:
        return (1 if time_kernel == 1 else 2,) * num_stages
    if len(time_strides) != num_stages or any(stride not in (1, 2) for stride in time_strides):
        raise AeframeError(
            f"{who} requires time_strides of 1 or 2, one for each of its {num_stages} stages, found "
            f"{list(time_strides)}"
        )
    if time_kernel == 1 and max(time_strides) > 1:
        raise AeframeError(
            f"{who} with time_kernel=1 requires time_strides of 1, since others would drop frames, found "
            f"{list(time_strides)}; set time_kernel=3, or time_strides=null"
        )
    return time_strides


def stage_sizes(positions: Shape, time_strides: tuple[int, ...]) -> list[Shape]:
    """Return the sizes ``(T, H, W)`` before each stage, and after the last one; `positions` is the first of them."""
    sizes = [positions]
    for stride in time_strides:
        time, *space = sizes[-1]
        sizes.append((-(-time // stride), *(-(-n // _SPACE_STRIDE) for n in space)))
    return sizes
