"""The ladder: dense groups, whose posterior weighs what the data say against what the groups above expect."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.parts.activations import MakeActivation
from aeframe.parts.latents.hierarchy.base import Choose, Group, Hierarchy, Step, check_numbers, normal
from aeframe.parts.networks.mlp import dense_layers
from aeframe.types import Shape


class _Rung(Group):
    """One dense group, of which the state below is all that the next one knows.

    The top group's prior is N(0, I), and its posterior is what the data say.
    """

    def __init__(self, above: int | None, dim: int, hidden: int, activation: MakeActivation | None) -> None:
        super().__init__()
        self.shape = (dim,)
        self.likelihood = nn.Linear(hidden, 2 * dim)
        self.prior = (
            None if above is None else nn.Sequential(_dense(above, hidden, activation), nn.Linear(hidden, 2 * dim))
        )

    def forward(self, state: Tensor, seen: Tensor | None, choose: Choose) -> Step:
        p = normal(state.new_zeros(len(state), 2 * self.shape[0]) if self.prior is None else self.prior(state))
        q = p
        if seen is not None:
            q = normal(self.likelihood(seen))
            q = q if self.prior is None else combined(q, p)
        z = choose(q)
        return Step(z, z, q, p)


class Ladder(Hierarchy):
    """The ladder VAE (Sønderby et al. 2016, arXiv 1602.02282): dense groups, one above the other.

    On the way up each group gets a normal of its own from the features; on the way down it is combined with the prior
    given the group above, each weighted by its precision. The decoder reads the lowest group. The paper's batch norm
    looks at other samples: layers are normed each for itself here.

    Args:
        feature_shape: ``(C, *positions)``; positions are read all at once.
        dims: Numbers of each group, top group first.
        hidden: Units of each dense layer: one on the way up and one on the way down, for each group.
        activation: Of the dense layers; null takes the run's own.
    """

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dims: tuple[int, ...] = (8, 16, 32),
        hidden: int = 128,
        activation: MakeActivation | None = None,
    ) -> None:
        check_numbers("ladder", dims=dims, hidden=hidden)
        rungs = [_Rung(above, dim, hidden, activation) for above, dim in zip((None, *dims), dims, strict=False)]
        super().__init__(rungs, (dims[-1],))
        sizes = [math.prod(feature_shape), *[hidden] * (len(dims) - 1)]
        self.up = nn.ModuleList([_dense(size, hidden, activation) for size in sizes])
        self.register_buffer("start", torch.zeros(0), persistent=False)

    def look(self, features: Tensor) -> list[Tensor]:
        seen = [features.flatten(1)]
        for layer in self.up:
            seen.append(layer(seen[-1]))
        return seen[:0:-1]


def combined(q: Normal, p: Normal) -> Normal:
    """Return the normal proportional to the product of two: precisions add, means are weighted by them."""
    ours, theirs = q.scale**-2, p.scale**-2
    variance = 1 / (ours + theirs)
    return Normal((q.loc * ours + p.loc * theirs) * variance, variance.sqrt(), validate_args=False)


def _dense(size_in: int, size_out: int, activation: MakeActivation | None) -> nn.Module:
    return dense_layers([size_in, size_out], activation, norm=True, dropout=0.0)
