"""What the network of VQGAN and of latent diffusion is made of.

Shapes: B samples, C channels, ``positions`` (T,), (H, W) or (D, H, W), N of them in all.
"""

from __future__ import annotations

from types import EllipsisType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.blocks import convolution, norm_layers
from aeframe.types import Shape

StageNorm = Literal["group", "position"]
"""``group``: over groups of channels and all positions; ``position``: over the channels at each position alone."""


class PositionNorm(nn.Module):
    """Bring the channels at each position to a mean square of 1 (as in Karras et al. 2018, arXiv 1710.10196), times a
    learned factor: what is far off does not matter, so a picture may be cut into tiles.
    """

    def __init__(self, num_dims: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *[1] * num_dims))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt() * self.weight


def norm_of(norm: StageNorm, num_dims: int, channels: int) -> nn.Module:
    """Return one norm."""
    if norm == "position":
        return PositionNorm(num_dims, channels)
    (made,) = norm_layers("group", channels)
    return made


class Block(nn.Module):
    """x + f(x) with f: norm, activation, convolution, twice; where channels change, x goes through one of kernel 1."""

    def __init__(
        self, num_dims: int, channels_in: int, channels_out: int, make: MakeActivation, norm: StageNorm
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            norm_of(norm, num_dims, channels_in),
            make(),
            convolution(num_dims, channels_in, channels_out, 3),
            norm_of(norm, num_dims, channels_out),
            make(),
            convolution(num_dims, channels_out, channels_out, 3),
        )
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(num_dims, channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.branch(x)


class Attention(nn.Module):
    """x + what each position takes from all positions, with one head: ``(B, C, *positions)``, N squared in time."""

    def __init__(self, num_dims: int, channels: int, norm: StageNorm) -> None:
        super().__init__()
        self.norm = norm_of(norm, num_dims, channels)
        self.ask = convolution(num_dims, channels, 3 * channels, 1)
        self.answer = convolution(num_dims, channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.ask(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        heard = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.answer(heard)


class Enlarge(nn.Module):
    """Repeat each position along each dimension, to a given size, then a convolution."""

    def __init__(self, channels: int, size: Shape) -> None:
        super().__init__()
        self.conv = convolution(len(size), channels, channels, 3)
        self.crop: tuple[EllipsisType | slice, ...] = (..., *(slice(n) for n in size))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")[self.crop])


def middle(num_dims: int, channels: int, make: MakeActivation, norm: StageNorm, *, attention: bool) -> list[nn.Module]:
    """Return what stands at the lowest resolution: a block, attention, a block."""
    listening = [Attention(num_dims, channels, norm)] if attention else []
    first, second = (Block(num_dims, channels, channels, make, norm) for _ in range(2))
    return [first, *listening, second]
