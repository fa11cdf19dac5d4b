"""`Hierarchy`, the base class of hierarchical latents: groups of variables, each conditioned on the groups above it.

A top-down path goes through the groups. It carries a hidden state, from which each group computes its prior and which
the group's z updates.

Shapes: B samples, D dimensions of all groups together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from aeframe.errors import AeframeError
from aeframe.parts.latents.base import LatentSpace
from aeframe.tensors import at_least_float32
from aeframe.types import Latent, Shape

_LOG_SCALE_LIMIT = 5.0
ChooseZ: TypeAlias = Callable[[Normal], Tensor]
"""Returns z of a group given its distribution: a sample, the mean, or given values."""


class TopDownState(NamedTuple):
    """The result of one group, or of the whole top-down path.

    For the whole path z, q and p are flattened and concatenated, ``(B, D)``, top group first.
    """

    state: Tensor
    """The hidden state after the group: the input of the next group, and after the last group of the decoder."""
    z: Tensor
    """``(B, *Group.shape)``: the value of the group's variables."""
    q: Normal
    """The posterior given the groups above; the prior where there are no encoder features."""
    p: Normal
    """The prior given the groups above."""


class Group(nn.Module):
    """The module of one group of a hierarchy. A subclass sets `shape`, that of the group's z."""

    shape: Shape

    def forward(self, state: Tensor, encoder_features: Tensor | None, choose: ChooseZ) -> TopDownState:
        """Return z of this group and the hidden state below it.

        Args:
            state: The hidden state above this group.
            encoder_features: The bottom-up features of this group; None evaluates the prior only.
            choose: Returns z, given q (or p without encoder features).
        """
        raise NotImplementedError


class GroupedPosterior(Distribution):
    """q(z|x) of a hierarchy, conditioned group by group on one z.

    `q` and `p` are the normals of posterior and prior, all groups concatenated, ``(B, D)``. The parameters of a group
    depend on the z of the groups above, so this object cannot be sampled; the latent samples z.

    Args:
        z: The value that `q` and `p` are conditioned on.
        q: The posterior's normals.
        p: The prior's normals.
        posterior_at: Returns the posterior's normals at another z of the same shape.
    """

    def __init__(self, z: Tensor, q: Normal, p: Normal, posterior_at: Callable[[Tensor], Normal]) -> None:
        super().__init__(q.batch_shape, validate_args=False)
        self.z, self.q, self.p, self._posterior_at = z, q, p, posterior_at

    @property
    def mean(self) -> Tensor:
        """The mean of each group given those above it."""
        return self.q.mean

    @property
    def variance(self) -> Tensor:
        """The variance of each group given those above it."""
        return self.q.variance

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q of each dimension given the groups above it, ``(B, D)``.

        For the tensor `z` itself this takes no further pass; for any other value the top-down path runs again.
        """
        if value.shape != self.batch_shape:
            raise AeframeError(
                "the posterior of a hierarchy has a density at values of the shape of its z, "
                f"{tuple(self.batch_shape)}, found {tuple(value.shape)}; choose a latent of one group, such as gaussian"
            )
        q = self.q if value is self.z else self._posterior_at(value)
        return q.log_prob(value)


class Hierarchy(LatentSpace):
    """Groups of latents, each conditioned on the groups above it, in the posterior as in the prior.

    z is the flat concatenation of the groups, top group first. Prior ``top_down`` uses the same network without
    encoder features. The decoder reads the hidden state after the last group. In training `Latent.mean` is each group's
    mean given the sampled groups above it, because a second top-down path would nearly double the cost of a step. In
    evaluation each group's mean is conditioned on the means above it.
    """

    provides = frozenset({"posterior", "hierarchy"})
    space = "hierarchy"
    start: Tensor
    """The hidden state above the top group, the same for every sample."""

    def __init__(self, blocks: Sequence[Group], decoder_shape: Shape) -> None:
        super().__init__()
        # The modules of the groups; `groups` is their sizes.
        self.blocks = nn.ModuleList(blocks)
        self.groups = tuple(math.prod(block.shape) for block in blocks)
        self.shape = (sum(self.groups),)
        self._decoder_shape = decoder_shape

    @property
    def decoder_shape(self) -> Shape:
        return self._decoder_shape

    def bottom_up(self, features: Tensor) -> list[Tensor]:
        """Return the features of each group, computed from the encoder's ``(B, C, *positions)``, top group first."""
        raise NotImplementedError

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        encoder_features, num = self.bottom_up(features), features.shape[0]
        path = self.top_down(num, sample_normal if sample else _mean, encoder_features)
        separate_mean = sample and not self.training
        mean = self.top_down(num, _mean, encoder_features).z if separate_mean else path.q.loc
        posterior = GroupedPosterior(path.z, path.q, path.p, lambda z: self.top_down_given(z, encoder_features).q)
        return Latent(path.z, mean, posterior=posterior, decoder_input=path.state)

    def decoder_input(self, z: Tensor) -> Tensor:
        return self.top_down_given(z).state

    def top_down(self, rows: int, choose: ChooseZ, encoder_features: Sequence[Tensor] | None = None) -> TopDownState:
        """Run the top-down path for `rows` samples: of the posterior with encoder features, else of the prior."""
        state, steps = self.start.expand(rows, *self.start.shape), []
        for index, block in enumerate(self.blocks):
            step: TopDownState = block(state, None if encoder_features is None else encoder_features[index], choose)
            steps.append(step)
            state = step.state

        def concatenated(values: Sequence[Tensor]) -> Tensor:
            return torch.cat([value.flatten(1) for value in values], dim=1)

        q, p = (
            Normal(
                concatenated([normal.loc for normal in normals]),
                concatenated([normal.scale for normal in normals]),
                validate_args=False,
            )
            for normals in ([step.q for step in steps], [step.p for step in steps])
        )
        return TopDownState(state.reshape(rows, *self.decoder_shape), concatenated([step.z for step in steps]), q, p)

    def top_down_given(self, z: Tensor, encoder_features: Sequence[Tensor] | None = None) -> TopDownState:
        """Run the top-down path with every group's z given, ``(B, D)``: of the posterior with encoder features, else
        of the prior.
        """
        values = iter(z.split(self.groups, dim=1))
        shapes = iter([block.shape for block in self.blocks])
        return self.top_down(z.shape[0], lambda _: next(values).unflatten(1, next(shapes)), encoder_features)


def normal_from(parameters: Tensor) -> Normal:
    """Return the normal whose mean and log-scale are the two halves of the channels ``(B, 2 C, *positions)``.

    A tanh bounds the log-scale to ±5, so that no scale overflows and the gradient never vanishes entirely.
    """
    loc, log_scale = at_least_float32(parameters).chunk(2, dim=1)
    limit = _LOG_SCALE_LIMIT
    return Normal(loc, (limit * (log_scale / limit).tanh()).exp(), validate_args=False)


def sample_normal(distribution: Normal, temperature: float = 1.0) -> Tensor:
    """Return a reparameterised sample, with the standard deviation multiplied by `temperature`."""
    loc = distribution.loc
    return torch.addcmul(loc, distribution.scale, torch.randn_like(loc), value=temperature)


def _mean(distribution: Normal) -> Tensor:
    return distribution.loc


def check_positive(who: str, **options: int | tuple[int, ...]) -> None:
    """Raise an error for an option below 1 or an empty list; `who` is the latent's name for the message."""
    for name, value in options.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or min(numbers) < 1:
            shown = list(value) if isinstance(value, tuple) else value
            raise AeframeError(f"latent {who} needs {name} of at least 1, found {shown}")
