"""Building blocks of the VQGAN and latent-diffusion networks: residual blocks, self-attention, upsampling, norms.

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
"""``group``: group norm over channels and positions; ``position``: over the channels at each position separately."""


class PositionNorm(nn.Module):
    """Scale the channels at each position to mean square 1 (as in Karras et al. 2018, arXiv 1710.10196), times a
    learned factor for each channel.

    Positions do not influence each other, so an image may be processed in tiles.
    """

    def __init__(self, num_dims: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *[1] * num_dims))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt() * self.weight


def make_norm(norm: StageNorm, num_dims: int, channels: int) -> nn.Module:
    """Return a normalisation layer."""
    if norm == "position":
        return PositionNorm(num_dims, channels)
    (layer,) = norm_layers("group", channels)
    return layer


class ResidualBlock(nn.Module):
    """x + f(x), where f is (norm, activation, convolution) twice.

    Where the number of channels changes, the shortcut is a convolution of kernel 1.
    """

    def __init__(
        self, num_dims: int, channels_in: int, channels_out: int, make_activation: MakeActivation, norm: StageNorm
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            make_norm(norm, num_dims, channels_in),
            make_activation(),
            convolution(num_dims, channels_in, channels_out, 3),
            make_norm(norm, num_dims, channels_out),
            make_activation(),
            convolution(num_dims, channels_out, channels_out, 3),
        )
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else convolution(num_dims, channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.branch(x)


class SelfAttention(nn.Module):
    """x + attention(norm(x)) with one head over all positions: ``(B, C, *positions)``; its cost is O(N^2)."""

    def __init__(self, num_dims: int, channels: int, norm: StageNorm) -> None:
        super().__init__()
        self.norm = make_norm(norm, num_dims, channels)
        self.query_key_value = convolution(num_dims, channels, 3 * channels, 1)
        self.output_projection = convolution(num_dims, channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.query_key_value(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.output_projection(attended)


class NearestUpsample(nn.Module):
    """Nearest-neighbour upsampling by 2, cropped to `size`, then a convolution of kernel 3."""

    def __init__(self, channels: int, size: Shape) -> None:
        super().__init__()
        self.conv = convolution(len(size), channels, channels, 3)
        self.crop: tuple[EllipsisType | slice, ...] = (..., *(slice(n) for n in size))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")[self.crop])


def middle_blocks(
    num_dims: int, channels: int, make_activation: MakeActivation, norm: StageNorm, *, attention: bool
) -> list[nn.Module]:
    """Return the blocks at the lowest resolution: residual block, optional self-attention, residual block."""
    optional = [SelfAttention(num_dims, channels, norm)] if attention else []
    first, second = (ResidualBlock(num_dims, channels, channels, make_activation, norm) for _ in range(2))
    return [first, *optional, second]
