"""The groups of the very deep VAE: many top-down blocks.

A group is a set of latent variables at the positions of one resolution. A hidden state goes through the groups from the
top down: from the coarsest resolution to the finest.

Shapes: B samples, ``positions`` of a group such as (T,) or (H, W), `width` channels of the hidden state.
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
    num_dims: int, size_in: int, size_out: int, width: int, make_activation: MakeActivation, scale: float = 1.0
) -> nn.Sequential:
    """Return four convolutions of kernels 1, 3, 3 and 1, each after an activation, with `width` / 4 channels between.

    The initial weights and biases of the last one are multiplied by `scale`.
    """
    inner = max(1, width // 4)
    sizes = ((size_in, inner, 1), (inner, inner, 3), (inner, inner, 3), (inner, size_out, 1))
    convolutions = [convolution(num_dims, *size) for size in sizes]
    scaled(convolutions[-1], scale)
    return nn.Sequential(*(module for layer in convolutions for module in (make_activation(), layer)))


def scaled(layer: nn.Module, scale: float) -> nn.Module:
    """Multiply the layer's weights and biases by `scale`, and return it."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(scale)
    return layer


class _Residual(nn.Module):
    """x + bottleneck(x)."""

    def __init__(self, num_dims: int, width: int, make_activation: MakeActivation, scale: float) -> None:
        super().__init__()
        self.branch = bottleneck(num_dims, width, width, width, make_activation, scale)

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
    """The top-down block: the hidden state, z and an output of the prior's network are added; a residual block follows.

    `positions_above` are those of the group above, None for the top group. `scale` multiplies the initial weights of
    the projection of z and of the residual block.
    """

    def __init__(
        self,
        positions_above: Shape | None,
        positions: Shape,
        dim: int,
        width: int,
        make_activation: MakeActivation,
        scale: float,
    ) -> None:
        super().__init__()
        num_dims = len(positions)
        self.shape = (dim, *positions)
        self.width = width
        # Upsampling to the positions of this group, if the group above has fewer.
        same = positions_above in (None, positions)
        self.rise = nn.Identity() if same else _NearestUpsample(width, positions)
        # Its output is the mean and log-scale of the prior, and an addition to the hidden state.
        self.prior = bottleneck(num_dims, width, 2 * dim + width, width, make_activation, 0.0)
        self.posterior = bottleneck(num_dims, 2 * width, 2 * dim, width, make_activation)
        self.project = scaled(convolution(num_dims, dim, width, 1), scale)
        self.residual = _Residual(num_dims, width, make_activation, scale)

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
        dim: Number of variables of a group at each position.
        scales: Number of groups at each resolution, coarsest first; the last resolution is that of the features.
        width: Number of channels of the hidden state, which the decoder reads.
        activation: Activation of the blocks; null takes the run's activation (the paper uses gelu).
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
        # same_shape raises an error, with this name, for an activation that changes the shape.
        make_activation = (activation or MakeActivation.named("gelu")).same_shape("latent vdvae")
        scale = sum(scales) ** -0.5
        super().__init__(
            "vdvae",
            feature_shape,
            scales=scales,
            width=width,
            cell=lambda num_dims: _Residual(num_dims, width, make_activation, len(scales) ** -0.5),
            group=lambda above, positions: _Group(above, positions, dim, width, make_activation, scale),
        )
