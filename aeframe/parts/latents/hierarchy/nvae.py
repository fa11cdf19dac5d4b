"""The groups of NVAE: residual cells, and normals parameterised relative to the prior.

A group is a set of latent variables at the positions of one resolution. A hidden state goes through the groups from the
top down: from the coarsest resolution to the finest.

Shapes: B samples, ``positions`` of a group such as (T,) or (H, W), `width` channels of the hidden state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.hierarchy.base import ChooseZ, Group, TopDownState, check_positive, normal_from
from aeframe.parts.latents.hierarchy.pyramid import Pyramid
from aeframe.parts.networks.blocks import ResidualBlock, Upsample, convolution, norm_layers
from aeframe.tensors import broadcast_mask
from aeframe.types import Shape

_BRANCH_SCALE = 0.1
"""The factor that multiplies f(x) in a residual cell x + f(x), as in the authors' code."""


class _SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the means over positions (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int, make_activation: MakeActivation) -> None:
        super().__init__()
        hidden = max(4, channels // 16)
        self.gates = nn.Sequential(
            nn.Linear(channels, hidden), make_activation(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        # One gate for each channel, at all positions.
        return x * broadcast_mask(self.gates(x.flatten(2).mean(2)), x.ndim)


class _Cell(nn.Module):
    """The residual cell of the top-down path: widening, a depthwise convolution of kernel 5, narrowing, and
    squeeze-and-excitation.
    """

    def __init__(self, num_dims: int, width: int, expansion: int, make_activation: MakeActivation) -> None:
        super().__init__()
        inner = expansion * width
        self.branch = nn.Sequential(
            *norm_layers("group", width),
            convolution(num_dims, width, inner, 1),
            *norm_layers("group", inner),
            make_activation(),
            convolution(num_dims, inner, inner, 5, groups=inner),
            *norm_layers("group", inner),
            make_activation(),
            convolution(num_dims, inner, width, 1),
            *norm_layers("group", width),
            _SqueezeExcite(width, make_activation),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + _BRANCH_SCALE * self.branch(x)


class _Group(Group):
    """A residual cell, a posterior relative to the prior, and a convolution that combines z with the hidden state.

    `positions_above` are those of the group above, None for the top group.
    """

    def __init__(
        self,
        positions_above: Shape | None,
        positions: Shape,
        dim: int,
        width: int,
        expansion: int,
        make_activation: MakeActivation,
    ) -> None:
        super().__init__()
        num_dims = len(positions)
        self.shape = (dim, *positions)
        # Upsampling to the positions of this group, if the group above has fewer.
        same = positions_above in (None, positions)
        self.rise = nn.Identity() if same else Upsample(width, width, positions, kernel=3)
        self.cell = _Cell(num_dims, width, expansion, make_activation)
        self.prior = None
        if positions_above is not None:
            self.prior = nn.Sequential(make_activation(), convolution(num_dims, width, 2 * dim, 1))
        # The posterior reads the sum of the encoder features and this projection of the hidden state.
        self.compare = convolution(num_dims, width, width, 1)
        self.posterior = convolution(num_dims, width, 2 * dim, 3)
        self.combine = convolution(num_dims, width + dim, width, 1)

    def forward(self, state: Tensor, encoder_features: Tensor | None, choose: ChooseZ) -> TopDownState:
        state = self.cell(self.rise(state))
        dim, *positions = self.shape
        zeros = state.new_zeros(state.shape[0], 2 * dim, *positions)
        p = normal_from(zeros if self.prior is None else self.prior(state))
        q = p
        if encoder_features is not None:
            q = residual_normal(p, normal_from(self.posterior(encoder_features + self.compare(state))))
        z = choose(q)
        return TopDownState(self.combine(torch.cat([state, z], dim=1)), z, q, p)


class NVAE(Pyramid):
    """The groups of NVAE (Vahdat & Kautz 2020, arXiv 2007.03898): several at each of several resolutions.

    The posterior is relative to the prior, N(mean + delta mean, std * delta std); the top group's prior is N(0, I).
    The paper's batch norm would couple the samples of a batch; group norm is used here. Its normalising flows are
    omitted, and its cells before and after the groups are those of the encoder and the decoder. Its spectral
    regularisation is penalty ``spectral``, and its KL balancing an option of objective ``elbo``.

    Args:
        feature_shape: ``(C, *positions)`` with up to three dimensions of positions; ``(C,)`` is one position.
        dim: Number of variables of a group at each position.
        scales: Number of groups at each resolution, coarsest first; the last resolution is that of the features.
        width: Number of channels of the hidden state, which the decoder reads.
        expansion: Factor by which the depthwise convolutions are wider.
        activation: Activation of the cells; null takes the run's activation (the paper uses silu).
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 8,
        scales: tuple[int, ...] = (2, 2),
        width: int = 32,
        expansion: int = 3,
        activation: MakeActivation | None = None,
    ) -> None:
        check_positive("nvae", dim=dim, width=width, expansion=expansion)
        # same_shape raises an error, with this name, for an activation that changes the shape.
        make_activation = (activation or MakeActivation.named("silu")).same_shape("latent nvae")
        super().__init__(
            "nvae",
            feature_shape,
            scales=scales,
            width=width,
            cell=lambda num_dims: nn.Sequential(
                ResidualBlock(num_dims, width, 3, make_activation, "group"), _SqueezeExcite(width, make_activation)
            ),
            group=lambda above, positions: _Group(above, positions, dim, width, expansion, make_activation),
        )
        # Not zeros: a group norm of constant zeros would have a gradient in the hundreds.
        nn.init.normal_(self.start)


def residual_normal(p: Normal, delta: Normal) -> Normal:
    """Return p with the mean of `delta` added to its mean, and its scale multiplied by the scale of `delta`."""
    return Normal(p.loc + delta.loc, p.scale * delta.scale, validate_args=False)
