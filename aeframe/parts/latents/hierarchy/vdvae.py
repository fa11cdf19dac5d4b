"""The very deep VAE's groups: many top-down blocks.

Shapes: R rows, W channels of the state, ``positions`` those of the group.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.hierarchy.base import Choose, Group, Step, check_numbers, normal
from aeframe.parts.latents.hierarchy.pyramid import Pyramid
from aeframe.parts.networks.blocks import convolution
from aeframe.types import Shape


def block(
    num_dims: int, size_in: int, size_out: int, width: int, make: MakeActivation, scale: float = 1.0
) -> nn.Sequential:
    """Return four convolutions of kernels 1, 3, 3 and 1, the inner ones a quarter as wide as the state.

    The last one begins at `scale` times what it would be.
    """
    inner = max(1, width // 4)
    sizes = ((size_in, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, size_out, 1))
    convolutions = [convolution(num_dims, *size) for size in sizes]
    scaled(convolutions[-1], scale)
    return nn.Sequential(*(module for each in convolutions for module in (make(), each)))


def scaled(layer: nn.Module, scale: float) -> nn.Module:
    """Return the layer, its weights and biases multiplied."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(scale)
    return layer


class _Residual(nn.Module):
    """x + block(x)."""

    def __init__(self, num_dims: int, width: int, make: MakeActivation, scale: float) -> None:
        super().__init__()
        self.branch = block(num_dims, width, width, width, make, scale)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class _Nearest(nn.Module):
    """From one resolution to the next: each value where it is nearest, and a learned bias for each place."""

    def __init__(self, width: int, positions: Shape) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width, *positions))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, size=self.bias.shape[1:], mode="nearest") + self.bias


class _Group(Group):
    """The top-down block: prior and posterior of the state, the prior's own addition to it, z, and a residual block."""

    def __init__(
        self, above: Shape | None, own: Shape, dim: int, width: int, make: MakeActivation, scale: float
    ) -> None:
        super().__init__()
        num_dims = len(own)
        self.shape = (dim, *own)
        self.width = width
        self.rise = nn.Identity() if above in (None, own) else _Nearest(width, own)
        self.prior = block(num_dims, width, 2 * dim + width, width, make, 0.0)
        self.posterior = block(num_dims, 2 * width, 2 * dim, width, make)
        self.project = scaled(convolution(num_dims, dim, width, 1), scale)
        self.residual = _Residual(num_dims, width, make, scale)

    def forward(self, state: Tensor, seen: Tensor | None, choose: Choose) -> Step:
        state = self.rise(state)
        parameters, addition = self.prior(state).split([2 * self.shape[0], self.width], dim=1)
        p = normal(parameters)
        q = p if seen is None else normal(self.posterior(torch.cat([state, seen], dim=1)))
        z = choose(q)
        return Step(self.residual(state + addition + self.project(z)), z, q, p)


class VDVAE(Pyramid):
    """The groups of the very deep VAE (Child 2021, arXiv 2011.10650): many top-down blocks at several resolutions.

    Each block's prior begins as N(0, I); residual branches begin smaller the more blocks there are. There is no norm,
    and nothing is weighted or warmed up. The paper's skipped updates are left out: log-scales are held within bounds.

    Args:
        feature_shape: ``(C, *positions)`` with up to three dimensions of positions; ``(C,)`` is one position.
        dim: Numbers of a group at each position.
        scales: Groups at each resolution, coarsest first; the last has the features' own.
        width: Channels between the groups, which the decoder reads.
        activation: Of the blocks; null takes the run's own (the paper has gelu).
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 8,
        scales: tuple[int, ...] = (3, 5),
        width: int = 64,
        activation: MakeActivation | None = None,
    ) -> None:
        check_numbers("vdvae", dim=dim, width=width, scales=scales)
        make = (activation or MakeActivation.named("gelu")).same_shape("latent vdvae")
        scale = sum(scales) ** -0.5
        super().__init__(
            "vdvae",
            feature_shape,
            scales=scales,
            width=width,
            cell=lambda num_dims: _Residual(num_dims, width, make, len(scales) ** -0.5),
            group=lambda above, own: _Group(above, own, dim, width, make, scale),
        )
