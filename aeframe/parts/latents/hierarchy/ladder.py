"""The ladder VAE: dense groups of latent variables, whose posterior combines an estimate from x with the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.hierarchy.base import ChooseZ, Group, Hierarchy, TopDownState, check_positive, normal_from
from aeframe.parts.networks.mlp import dense_layers
from aeframe.types import Shape


class _LadderGroup(Group):
    """One dense group of `dim` variables. The hidden state below it is its z, so the next group depends on it only.

    The top group has no group above (`above`, its size, is None). Its prior is N(0, I), and its posterior is the
    estimate from x alone.
    """

    def __init__(self, above: int | None, dim: int, hidden: int, activation: MakeActivation | None) -> None:
        super().__init__()
        self.shape = (dim,)
        # The estimate from x, in the paper an approximate likelihood of z.
        self.likelihood = nn.Linear(hidden, 2 * dim)
        self.prior = (
            None if above is None else nn.Sequential(_dense(above, hidden, activation), nn.Linear(hidden, 2 * dim))
        )

    def forward(self, state: Tensor, encoder_features: Tensor | None, choose: ChooseZ) -> TopDownState:
        p = normal_from(state.new_zeros(state.shape[0], 2 * self.shape[0]) if self.prior is None else self.prior(state))
        q = p
        if encoder_features is not None:
            q = normal_from(self.likelihood(encoder_features))
            q = q if self.prior is None else precision_weighted(q, p)
        z = choose(q)
        return TopDownState(z, z, q, p)


class Ladder(Hierarchy):
    """The ladder VAE (Sønderby et al. 2016, arXiv 1602.02282): a stack of dense groups.

    The bottom-up path estimates a normal for each group from the features. The top-down path combines it with the
    prior given the group above, each weighted by its precision. The decoder reads the lowest group. The paper's batch
    norm would couple the samples of a batch; layer norm is used here.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dims: Number of dimensions of each group, top group first.
        hidden: Number of units of the dense layers; each group has one layer in the bottom-up and one in the top-down
            path.
        activation: Activation of the dense layers; null takes the run's activation.
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dims: tuple[int, ...] = (8, 16, 32),
        hidden: int = 128,
        activation: MakeActivation | None = None,
    ) -> None:
        check_positive("ladder", dims=dims, hidden=hidden)
        # The group of each size, with the size of the group above it.
        groups = [_LadderGroup(above, dim, hidden, activation) for above, dim in zip((None, *dims), dims, strict=False)]
        super().__init__(groups, (dims[-1],))
        sizes = [math.prod(feature_shape), *[hidden] * (len(dims) - 1)]
        self.up = nn.ModuleList([_dense(size, hidden, activation) for size in sizes])
        self.register_buffer("start", torch.zeros(0), persistent=False)

    def bottom_up(self, features: Tensor) -> list[Tensor]:
        values = [features.flatten(1)]
        for layer in self.up:
            values.append(layer(values[-1]))
        # The last layer is that of the top group; the first value is the input.
        return values[:0:-1]


def precision_weighted(q: Normal, p: Normal) -> Normal:
    """Return the normal proportional to the product of two: precisions add, and weight the means."""
    q_precision, p_precision = q.scale**-2, p.scale**-2
    variance = 1 / (q_precision + p_precision)
    return Normal((q.loc * q_precision + p.loc * p_precision) * variance, variance.sqrt(), validate_args=False)


def _dense(size_in: int, size_out: int, activation: MakeActivation | None) -> nn.Module:
    return dense_layers([size_in, size_out], activation, norm=True, dropout=0.0)
