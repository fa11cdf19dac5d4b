"""Convolutions along time that keep their sizes, and that can be fed piece by piece where they are causal.

Shapes: B samples, C channels, T samples of time at the rate of the layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.parts.activations import MakeActivation

Past = dict[nn.Module, Tensor]
"""What each layer has to remember of the pieces before: its last inputs."""


class TimeConv(nn.Module):
    """A convolution ``(B, C, T)`` -> ``(B, C', T / stride)``, for T a multiple of the stride.

    With `causal` an output sees no input later than its own `stride` ones, otherwise as many before as after.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, causal: bool, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, kernel, stride=stride, dilation=dilation)
        seen = (kernel - 1) * dilation + 1 - stride
        self.before = seen if causal else seen // 2
        self.after = seen - self.before

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.before, self.after)))

    def step(self, x: Tensor, past: Past) -> Tensor:
        """Return the outputs of the next inputs, of a causal layer."""
        if not self.before:
            return self.conv(x)
        joined = torch.cat([past.get(self, x.new_zeros(*x.shape[:2], self.before)), x], 2)
        past[self] = joined[..., -self.before :]
        return self.conv(joined)


class TimeUpsample(nn.Module):
    """A transposed convolution ``(B, C, T)`` -> ``(B, C', T * stride)`` with a kernel of two strides.

    Each output is made of two inputs: with `causal` of its own and the one before, otherwise of the two that are
    nearest.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, causal: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels_in, channels_out, 2 * stride, stride=stride)
        self.stride, self.first = stride, 0 if causal else stride // 2

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., self.first : self.first + x.shape[2] * self.stride]

    def step(self, x: Tensor, past: Past) -> Tensor:
        """Return the outputs of the next inputs, of a causal layer."""
        joined = torch.cat([past.get(self, x.new_zeros(*x.shape[:2], 1)), x], 2)
        past[self] = x[..., -1:]
        return self.conv(joined)[..., self.stride : self.stride * joined.shape[2]]


class TimeResidual(nn.Module):
    """x + f(x) with f: activation, dilated convolution, activation, convolution of width 1 (as WaveNet's are stacked:
    van den Oord et al. 2016, arXiv 1609.03499).
    """

    def __init__(self, channels: int, kernel: int, dilation: int, make: MakeActivation, *, causal: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            make(),
            TimeConv(channels, channels, kernel, causal=causal, dilation=dilation),
            make(),
            TimeConv(channels, channels, 1, causal=causal),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def advance(module: nn.Module, x: Tensor, past: Past) -> Tensor:
    """Return what a causal network makes of the next inputs ``(B, C, n)``; `past` keeps what it needs of them."""
    if isinstance(module, (TimeConv, TimeUpsample)):
        return module.step(x, past)
    if isinstance(module, TimeResidual):
        return x + advance(module.branch, x, past)
    if isinstance(module, nn.Sequential):
        for each in module:
            x = advance(each, x, past)
        return x
    return module(x)
