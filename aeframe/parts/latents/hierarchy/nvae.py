"""NVAE's groups: residual normals between residual cells.

Shapes: R rows, W channels of the state, ``positions`` those of the group.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.hierarchy.base import Choose, Group, Step, check_numbers, normal
from aeframe.parts.latents.hierarchy.pyramid import Pyramid
from aeframe.parts.networks.blocks import ResidualBlock, Upsample, convolution, norm_layers
from aeframe.tensors import broadcast_mask
from aeframe.types import Shape

_SMALL = 0.1
"""What a residual cell's branch is multiplied by, as in the authors' code."""


class _SqueezeExcite(nn.Module):
    """Scale each channel by what all positions together say (Hu et al. 2018, arXiv 1709.01507, there with relu)."""

    def __init__(self, channels: int, make: MakeActivation) -> None:
        super().__init__()
        hidden = max(4, channels // 16)
        self.gates = nn.Sequential(nn.Linear(channels, hidden), make(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * broadcast_mask(self.gates(x.flatten(2).mean(2)), x.ndim)


class _Cell(nn.Module):
    """The residual cell of the way down: widened, a depthwise convolution of kernel 5, narrowed, channels scaled."""

    def __init__(self, num_dims: int, width: int, expansion: int, make: MakeActivation) -> None:
        super().__init__()
        inner = expansion * width
        self.branch = nn.Sequential(
            *norm_layers("group", width),
            convolution(num_dims, width, inner, 1),
            *norm_layers("group", inner),
            make(),
            convolution(num_dims, inner, inner, 5, groups=inner),
            *norm_layers("group", inner),
            make(),
            convolution(num_dims, inner, width, 1),
            *norm_layers("group", width),
            _SqueezeExcite(width, make),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + _SMALL * self.branch(x)


class _Group(Group):
    """A cell, a normal that is the prior's moved by what the data say, and z beside the state."""

    def __init__(
        self, above: Shape | None, own: Shape, dim: int, width: int, expansion: int, make: MakeActivation
    ) -> None:
        super().__init__()
        num_dims = len(own)
        self.shape = (dim, *own)
        self.rise = nn.Identity() if above in (None, own) else Upsample(width, width, own, kernel=3)
        self.cell = _Cell(num_dims, width, expansion, make)
        self.prior = None if above is None else nn.Sequential(make(), convolution(num_dims, width, 2 * dim, 1))
        self.compare = convolution(num_dims, width, width, 1)
        self.posterior = convolution(num_dims, width, 2 * dim, 3)
        self.combine = convolution(num_dims, width + dim, width, 1)

    def forward(self, state: Tensor, seen: Tensor | None, choose: Choose) -> Step:
        state = self.cell(self.rise(state))
        dim, *positions = self.shape
        nothing = state.new_zeros(len(state), 2 * dim, *positions)
        p = normal(nothing if self.prior is None else self.prior(state))
        q = p if seen is None else moved(p, normal(self.posterior(seen + self.compare(state))))
        z = choose(q)
        return Step(self.combine(torch.cat([state, z], dim=1)), z, q, p)


class NVAE(Pyramid):
    """The groups of NVAE (Vahdat & Kautz 2020, arXiv 2007.03898): several at each of several resolutions.

    The posterior is relative to the prior, N(mean + delta mean, std * delta std); the top group's prior is N(0, I).
    The paper's batch norm looks at other samples, group norm here does not; its flows, and the cells before and after
    the groups, are left to the encoder and the decoder. Its spectral regularisation is penalty ``spectral``, its KL
    balancing an option of objective ``elbo``.

    Args:
        feature_shape: ``(C, *positions)`` with up to three dimensions of positions; ``(C,)`` is one position.
        dim: Numbers of a group at each position.
        scales: Groups at each resolution, coarsest first; the last has the features' own.
        width: Channels between the groups, which the decoder reads.
        expansion: How much wider the depthwise convolutions are.
        activation: Of the cells; null takes the run's own (the paper has silu).
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
        check_numbers("nvae", dim=dim, width=width, expansion=expansion)
        make = (activation or MakeActivation.named("silu")).same_shape("latent nvae")
        super().__init__(
            "nvae",
            feature_shape,
            scales=scales,
            width=width,
            cell=lambda num_dims: nn.Sequential(
                ResidualBlock(num_dims, width, 3, make, "group"), _SqueezeExcite(width, make)
            ),
            group=lambda above, own: _Group(above, own, dim, width, expansion, make),
        )
        # A norm of a constant zero would have a gradient of hundreds.
        nn.init.normal_(self.start)


def moved(p: Normal, by: Normal) -> Normal:
    """Return p moved by another normal's mean, its scale multiplied by the other's."""
    return Normal(p.loc + by.loc, p.scale * by.scale, validate_args=False)
