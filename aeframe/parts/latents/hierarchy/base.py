"""What every hierarchy of latents is: groups of numbers, each drawn from what the groups above it leave behind.

Shapes: B samples, R rows (B of them, or K * B with K importance samples), D numbers of all groups together.
"""

from __future__ import annotations

import functools
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

_LIMIT = 5.0
Choose: TypeAlias = Callable[[Normal], Tensor]
"""How a group's numbers are chosen, given their distribution."""


class Step(NamedTuple):
    """One group's step down, or the whole way: then z and its normals are flat, ``(R, D)``, top group first."""

    state: Tensor
    """What is left behind: for the next group, or at the end for the decoder."""
    z: Tensor
    """``(R, *Group.shape)``."""
    q: Normal
    """The posterior given the groups above; the prior where no data are seen."""
    p: Normal


class Group(nn.Module):
    """One group of a hierarchy, and the way past it. It sets `shape`, that of its share of z."""

    shape: Shape

    def forward(self, state: Tensor, seen: Tensor | None, choose: Choose) -> Step:
        """Return the state below, with this group's numbers in it.

        Args:
            state: What the groups above leave behind.
            seen: What the way up gives to this group; None where nothing but the prior is asked for.
            choose: Chooses z.
        """
        raise NotImplementedError


class GroupedPosterior(Distribution):
    """q(z|x) of a hierarchy at one z: each group given those above it, as they were chosen.

    `q` and `p` are the normals of posterior and prior, all groups side by side: ``(B, D)``, or ``(K, B, D)``. They
    are other ones at another z, so this is no distribution to draw from: that is what the latent does.

    Args:
        z: The codes that `q` and `p` are conditioned on.
        q: The posterior's normals.
        p: The prior's.
        posterior_at: Returns the posterior's normals at other codes of the same shape.
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
        """Return log q of each dimension given the groups above it, ``(..., B, D)``.

        For the tensor that was drawn this is free; for any other the top-down path is computed again.
        """
        if value.shape != self.batch_shape:
            raise AeframeError(
                f"the posterior of a hierarchy is known at the z that was drawn, of shape {tuple(self.batch_shape)}, "
                f"and not at others, of shape {tuple(value.shape)}; choose a latent of one group, such as gaussian"
            )
        q = self.q if value is self.z else self._posterior_at(value)
        return q.log_prob(value)


class Hierarchy(LatentSpace):
    """Groups of latents, of which each is drawn given those above it, by the posterior as by the prior.

    z is a flat row, top group first; prior ``top_down`` is the other half of the same network. The decoder reads the
    state at the end of the way down. In training `Latent.mean` is each group's mean given what was drawn above it: to
    go down a second time, given the means, would nearly double the step. In evaluation it is given the means.
    """

    provides = frozenset({"posterior", "hierarchy"})
    space = "hierarchy"
    start: Tensor
    """The state above the top group, the same for every row."""

    def __init__(self, blocks: Sequence[Group], decoder_shape: Shape) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.groups = tuple(math.prod(block.shape) for block in blocks)
        self.shape = (sum(self.groups),)
        self._decoder_shape = decoder_shape

    @property
    def decoder_shape(self) -> Shape:
        return self._decoder_shape

    def look(self, features: Tensor) -> list[Tensor]:
        """Return what each group sees of features ``(B, C, *positions)``, top group first."""
        raise NotImplementedError

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        seen, num = self.look(features), len(features)
        samples = num_samples if sample and num_samples is not None else 1
        every = [each.expand(samples, *each.shape).flatten(0, 1) for each in seen]
        way = self.walk(samples * num, drawn if sample else _centre, every)

        def rows(value: Tensor) -> Tensor:
            if num_samples is None:
                return value
            return value.unflatten(0, (samples, num)).expand(num_samples, num, *value.shape[1:])

        given_draws = sample and not self.training
        mean = self.walk(num, _centre, seen).z if given_draws else way.q.loc.unflatten(0, (samples, num)).mean(0)
        q, p = (Normal(rows(each.loc), rows(each.scale), validate_args=False) for each in (way.q, way.p))
        z = rows(way.z)
        posterior = GroupedPosterior(z, q, p, functools.partial(self._posterior_at, seen))
        return Latent(z, mean, posterior=posterior, decoder_input=rows(way.state))

    def decoder_input(self, z: Tensor) -> Tensor:
        return self.given(z).state

    def given(self, z: Tensor, seen: Sequence[Tensor] | None = None) -> Step:
        """Go down with every group's numbers given, z ``(R, D)``: the posterior's way with `seen`, or the prior's."""
        pieces = iter(z.split(self.groups, dim=1))
        shapes = iter([block.shape for block in self.blocks])
        return self.walk(len(z), lambda _: next(pieces).unflatten(1, next(shapes)), seen)

    def _posterior_at(self, seen: Sequence[Tensor], z: Tensor) -> Normal:
        """Return the posterior's normals at codes ``(..., B, D)``, by what each group sees of B samples."""
        flat = z.reshape(-1, *self.shape)
        every = [each.expand(len(flat) // len(each), *each.shape).flatten(0, 1) for each in seen]
        q = self.given(flat, every).q
        return Normal(q.loc.reshape(z.shape), q.scale.reshape(z.shape), validate_args=False)

    def walk(self, rows: int, choose: Choose, seen: Sequence[Tensor] | None = None) -> Step:
        """Go down from the top for so many rows: the posterior's way with `seen`, the prior's without."""
        state, steps = self.start.expand(rows, *self.start.shape), []
        for number, block in enumerate(self.blocks):
            step: Step = block(state, None if seen is None else seen[number], choose)
            steps.append(step)
            state = step.state

        def row(values: Sequence[Tensor]) -> Tensor:
            return torch.cat([value.flatten(1) for value in values], dim=1)

        q, p = (
            Normal(row([each.loc for each in side]), row([each.scale for each in side]), validate_args=False)
            for side in ([step.q for step in steps], [step.p for step in steps])
        )
        return Step(state.reshape(rows, *self.decoder_shape), row([step.z for step in steps]), q, p)


def normal(parameters: Tensor) -> Normal:
    """Return the normal whose mean and log-scale are the two halves of channels ``(R, 2 C, *positions)``.

    The log-scale is held within ±5 by a tanh, far from where a float overflows, and its gradient never quite ends.
    """
    loc, log_scale = at_least_float32(parameters).chunk(2, dim=1)
    return Normal(loc, (_LIMIT * (log_scale / _LIMIT).tanh()).exp(), validate_args=False)


def drawn(of: Normal, temperature: float = 1.0) -> Tensor:
    """Return a draw with a gradient, its standard deviation multiplied by `temperature`."""
    return torch.addcmul(of.loc, of.scale, torch.randn_like(of.loc), value=temperature)


def _centre(of: Normal) -> Tensor:
    return of.loc


def check_numbers(who: str, **options: int | tuple[int, ...]) -> None:
    """Refuse numbers below 1, and none at all where there must be some."""
    for name, value in options.items():
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers or min(numbers) < 1:
            shown = list(value) if isinstance(value, tuple) else value
            raise AeframeError(f"latent {who} needs {name} of at least 1, found {shown}")
