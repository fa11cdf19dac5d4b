"""1-d convolutions over time, symmetric or causal. Causal ones can process a signal chunk by chunk.

Shapes: B samples, C channels, C' output channels, T positions in time at the rate of the layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.parts.activations import MakeActivation

StreamState = dict[nn.Module, Tensor]
"""The last inputs of each layer, on which its outputs for the next chunk also depend; empty before the first chunk."""


class TimeConv(nn.Module):
    """A padded convolution ``(B, C, T)`` -> ``(B, C', T / stride)``, for T a multiple of the stride.

    With `causal` all padding is at the start, so that an output depends on no input after its own `stride` inputs.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, causal: bool, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, kernel, stride=stride, dilation=dilation)
        padding = (kernel - 1) * dilation + 1 - stride
        self.pad_start = padding if causal else padding // 2
        self.pad_end = padding - self.pad_start

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.pad_start, self.pad_end)))

    def step(self, x: Tensor, state: StreamState) -> Tensor:
        """Return the outputs for the next inputs of a causal layer, and update `state`."""
        if not self.pad_start:  # The layer needs no earlier inputs.
            return self.conv(x)
        extended = torch.cat([state.get(self, x.new_zeros(*x.shape[:2], self.pad_start)), x], 2)
        state[self] = extended[..., -self.pad_start :]
        return self.conv(extended)


class TimeUpsample(nn.Module):
    """A transposed convolution ``(B, C, T)`` -> ``(B, C', T * stride)`` with a kernel of twice the stride.

    Each output depends on two inputs: with `causal` the current and the previous one, otherwise the two nearest.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, causal: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels_in, channels_out, 2 * stride, stride=stride)
        self.stride, self.crop_start = stride, 0 if causal else stride // 2

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., self.crop_start : self.crop_start + x.shape[2] * self.stride]

    def step(self, x: Tensor, state: StreamState) -> Tensor:
        """Return the outputs for the next inputs of a causal layer, and update `state`."""
        extended = torch.cat([state.get(self, x.new_zeros(*x.shape[:2], 1)), x], 2)
        state[self] = x[..., -1:]
        # The first outputs belong to the previous input, and the last ones lack the next input.
        return self.conv(extended)[..., self.stride : self.stride * extended.shape[2]]


class TimeResidual(nn.Module):
    """x + f(x) with f: activation, dilated convolution, activation, convolution of width 1 (dilations as in WaveNet,
    van den Oord et al. 2016, arXiv 1609.03499).
    """

    def __init__(
        self, channels: int, kernel: int, dilation: int, make_activation: MakeActivation, *, causal: bool
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            make_activation(),
            TimeConv(channels, channels, kernel, causal=causal, dilation=dilation),
            make_activation(),
            TimeConv(channels, channels, 1, causal=causal),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def stream_step(module: nn.Module, x: Tensor, state: StreamState) -> Tensor:
    """Return the outputs of a causal network for the next inputs ``(B, C, n)``, and update `state`.

    Layers of other classes than those in this file, such as activations, must map each position separately.
    """
    if isinstance(module, (TimeConv, TimeUpsample)):
        return module.step(x, state)
    if isinstance(module, TimeResidual):
        return x + stream_step(module.branch, x, state)
    if isinstance(module, nn.Sequential):
        for layer in module:
            x = stream_step(layer, x, state)
        return x
    return module(x)
