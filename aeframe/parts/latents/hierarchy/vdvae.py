"""The groups of the very deep VAE: many top-down blocks.

Shapes: B samples, W channels of the state, ``positions`` those of the group.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.hierarchy.base import ChooseZ, Group, TopDownState, check_positive, normal_from
from aeframe.parts.latents.hierarchy.pyramid import Pyramid
from aeframe.parts.networks.blocks import convolution
from aeframe.types import Shape


def bottleneck(
    num_dims: int, size_in: int, size_out: int, width: int, make: MakeActivation, scale: float = 1.0
) -> nn.Sequential:
    """Return four convolutions of kernels 1, 3, 3 and 1, the inner ones a quarter as wide as the state.

    The initial weights and biases of the last one are multiplied by `scale`.
    """
    inner = max(1, width // 4)
    sizes = ((size_in, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, size_out, 1))
    convolutions = [convolution(num_dims, *size) for size in sizes]
    scaled(convolutions[-1], scale)
    return nn.Sequential(*(module for layer in convolutions for module in (make(), layer)))


def scaled(layer: nn.Module, scale: float) -> nn.Module:
    """Multiply the layer's weights and biases by `scale`, and return it."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(scale)
    return layer


class _Residual(nn.Module):
    """x + bottleneck(x)."""

    def __init__(self, num_dims: int, width: int, make: MakeActivation, scale: float) -> None:
        super().__init__()
        self.branch = bottleneck(num_dims, width, width, width, make, scale)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class _NearestUpsample(nn.Module):
    """Nearest-neighbour upsampling to the next resolution, plus a learned bias per position."""

    def __init__(self, width: int, positions: Shape) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width, *positions))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, size=self.bias.shape[1:], mode="nearest") + self.bias


class _Group(Group):
    """The top-down block: prior, posterior, an addition to the state by the prior network, z, and a residual block."""

    def __init__(
        self,
        positions_above: Shape | None,
        positions: Shape,
        dim: int,
        width: int,
        make: MakeActivation,
        scale: float,
    ) -> None:
        super().__init__()
        num_dims = len(positions)
        self.shape = (dim, *positions)
        self.width = width
        same = positions_above in (None, positions)
        self.rise = nn.Identity() if same else _NearestUpsample(width, positions)
        self.prior = bottleneck(num_dims, width, 2 * dim + width, width, make, 0.0)
        self.posterior = bottleneck(num_dims, 2 * width, 2 * dim, width, make)
        self.project = scaled(convolution(num_dims, dim, width, 1), scale)
        self.residual = _Residual(num_dims, width, make, scale)

    def forward(self, state: Tensor, encoder_features: Tensor | None, choose: ChooseZ) -> TopDownState:
        state = self.rise(state)
        parameters, addition = self.prior(state).split([2 * self.shape[0], self.width], dim=1)
        p = normal_from(parameters)
        q = p
        if encoder_features is not None:
            q = normal_from(self.posterior(torch.cat([state, encoder_features], dim=1)))
        z = choose(q)
        return TopDownState(self.residual(state + addition + self.project(z)), z, q, p)


class VDVAE(Pyramid):
    """The groups of the very deep VAE (Child 2021, arXiv 2011.10650): many top-down blocks at several resolutions.

    Each prior is initialised to N(0, I), and residual branches are scaled down with the number of blocks. There is no
    normalisation, and no weighting or warm-up of the KL. The paper's skipping of updates with large gradients is
    omitted, because log-scales are bounded.

    Args:
        feature_shape: ``(C, *positions)`` with up to three dimensions of positions; ``(C,)`` is one position.
        dim: Numbers of a group at each position.
        scales: Groups at each resolution, coarsest first; the last resolution is that of the features.
        width: Channels of the state, which the decoder reads.
        activation: Of the blocks; null takes the run's activation (the paper uses gelu).
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
        check_positive("vdvae", dim=dim, width=width, scales=scales)
        make = (activation or MakeActivation.named("gelu")).same_shape("latent vdvae")
        scale = sum(scales) ** -0.5
        super().__init__(
            "vdvae",
            feature_shape,
            scales=scales,
            width=width,
            cell=lambda num_dims: _Residual(num_dims, width, make, len(scales) ** -0.5),
            group=lambda above, positions: _Group(above, positions, dim, width, make, scale),
        )
