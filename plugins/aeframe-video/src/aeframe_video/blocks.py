"""What networks of clips are made of.

Shapes: B samples, C channels, T frames, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import Norm, norm_layers
from aeframe.types import Shape

Form = Literal["3d", "2+1d"]
"""``3d``: convolutions over time and space at once; ``2+1d``: one over space, an activation, one over time (Tran et al.
2018, arXiv 1711.11248).
"""
_SPACE = 2
"""The stride of every stage in space."""


@dataclass(frozen=True, slots=True)
class Style:
    """What all convolutions of a network have in common."""

    form: Form
    kernel: int
    time_kernel: int
    causal: bool
    norm: Norm
    make: MakeActivation

    def normalised(self, channels: int) -> list[nn.Module]:
        """Return the norm and the activation of so many channels."""
        norms = norm_layers(self.norm, channels)
        # Over all frames it would tell the first of the last.
        return [*(PerFrame(norm) if self.causal else norm for norm in norms), self.make()]

    def convolution(self, channels_in: int, channels_out: int, time_stride: int = 1, stride: int = 1) -> nn.Module:
        """Return a convolution that gives ceil(T / time_stride) frames and ceil(n / stride) pixels."""
        time, space = self.time_kernel, self.kernel
        if self.form == "3d" or time == 1:
            return Convolution(channels_in, channels_out, (time, space), (time_stride, stride), self.causal)
        return nn.Sequential(
            Convolution(channels_in, channels_out, (1, space), (1, stride), self.causal),
            *self.normalised(channels_out),
            Convolution(channels_out, channels_out, (time, 1), (time_stride, 1), self.causal),
        )

    def upsampling(self, channels_in: int, channels_out: int, time_stride: int, size: Shape) -> nn.Module:
        """Return what leads back to `size` ``(T, H, W)``, undoing a convolution of stride 2 in space."""
        time, space = self.time_kernel, self.kernel
        if self.form == "3d" or time == 1:
            return Upsample(channels_in, channels_out, (time, space), (time_stride, _SPACE), self.causal, size)
        inner = (size[0], *((n + 1) // _SPACE for n in size[1:]))
        return nn.Sequential(
            Upsample(channels_in, channels_in, (time, 1), (time_stride, 1), self.causal, inner),
            *self.normalised(channels_in),
            Upsample(channels_in, channels_out, (1, space), (1, _SPACE), self.causal, size),
        )


class Convolution(nn.Module):
    """A convolution of clips: ``(B, C, T, H, W)`` -> ``(B, C', ceil(T / s), ceil(H / s'), ceil(W / s'))``.

    Causal: frame j of the output sees the input up to frame ``s j + s - 1``, the last of its own group of s, and
    nothing later; what is missing before the first frame is 0.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: tuple[int, int], stride: tuple[int, int], causal: bool
    ) -> None:
        super().__init__()
        (time, space), (self.stride, space_stride) = kernel, stride
        self.before = time - self.stride if causal else None
        padding = (0 if causal else time // 2, space // 2, space // 2)
        self.conv = nn.Conv3d(
            channels_in,
            channels_out,
            (time, space, space),
            stride=(self.stride, space_stride, space_stride),
            padding=padding,
        )

    def forward(self, x: Tensor) -> Tensor:
        after = -x.shape[2] % self.stride
        if self.before is not None and (self.before or after):
            x = F.pad(x, (0, 0, 0, 0, self.before, after))
        return self.conv(x)


class Upsample(nn.Module):
    """A transposed convolution of clips to a given size, the mirror image of `Convolution`.

    Causal: frame t of the output sees the input up to frame ``floor(t / s)``, that of its own group. Where the stride
    is 2 the kernel is one wider, hence even: each value is made of as many terms as its neighbour.
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
        wide = tuple(width + (step > 1) for width, step in zip(kernel, stride, strict=True))
        space_padding = kernel[1] // 2
        self.conv = nn.ConvTranspose3d(
            channels_in,
            channels_out,
            (wide[0], wide[1], wide[1]),
            stride=(stride[0], stride[1], stride[1]),
            padding=(0 if causal else kernel[0] // 2, space_padding, space_padding),
        )
        self.crop = (..., *(slice(n) for n in size))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[self.crop]


class PerFrame(nn.Module):
    """A module of pictures, for each frame of ``(B, C, T, H, W)`` by itself."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        frames: Tensor = self.inner(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class Residual(nn.Module):
    """x + f(x) with f: norm, activation, convolution, twice (He et al. 2016, arXiv 1603.05027)."""

    def __init__(self, channels: int, style: Style) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *style.normalised(channels),
            style.convolution(channels, channels),
            *style.normalised(channels),
            style.convolution(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def time_strides_of(who: str, given: tuple[int, ...] | None, num_stages: int, time_kernel: int) -> tuple[int, ...]:
    """Return the stride in time of each stage: 2 where nothing is said, 1 where frames do not meet.

    Raises:
        AeframeError: Another number of strides than of stages, another stride than 1 or 2, or a kernel that is none.
    """
    if time_kernel < 1 or time_kernel % 2 == 0:
        raise AeframeError(f"{who} needs an odd time_kernel such as 1 or 3, found {time_kernel}")
    if given is None:
        return (1 if time_kernel == 1 else 2,) * num_stages
    if len(given) != num_stages or any(stride not in (1, 2) for stride in given):
        raise AeframeError(
            f"{who} needs time_strides of 1 or 2, one for each of its {num_stages} stages, found {list(given)}"
        )
    if time_kernel == 1 and max(given) > 1:
        raise AeframeError(
            f"{who} looks at each frame by itself with time_kernel=1, and time_strides {list(given)} would drop some; "
            "set time_kernel=3, or leave time_strides out"
        )
    return given


def sizes_of(positions: Shape, time_strides: tuple[int, ...]) -> list[Shape]:
    """Return ``(T, H, W)`` before each stage, and after the last."""
    sizes = [positions]
    for stride in time_strides:
        time, *space = sizes[-1]
        sizes.append((-(-time // stride), *(-(-n // _SPACE) for n in space)))
    return sizes
