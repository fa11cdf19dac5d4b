"""What sparse dictionaries share: few features speak for a sample, and each stands for a direction.

Shapes: B samples, F numbers of a sample's flattened features, D features of the dictionary (`dim`).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.devices import num_devices, sum_over_devices
from aeframe.errors import AeframeError
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.schedules import Constant, Schedule
from aeframe.tensors import at_least_float32, per_sample
from aeframe.types import Latent, Shape


class Dictionary(LatentSpace):
    """A code z ``(dim,)``, zero but for a few positive numbers, and the directions whose sum it is.

    The latent owns both ways. The pre-activations ``W_enc s (x - b_dec) + b_enc`` decide who speaks, and the decoder
    reads ``W_dec z + b_dec``, which has the shape of the features x: a decoder of its own has nothing left to do
    (``decoder=reshape``) unless the features are those of a deeper encoder. W_dec's columns, the directions, have
    length 1, being normalised where they are used, so no feature hides from a penalty behind a long one. W_enc begins
    as their transpose. The scale s is no part of the papers: a fixed number, at most 1, with which what all features
    say together is at first no longer than x, however many they are. Terms are squared errors of the features, which
    stand still in them.

    A dictionary whose features fall silent loses them: their gradient is zero. With ``auxk`` (Gao et al. 2024, arXiv
    2406.04093) the loudest F / 2 of the features that have been silent for `dead_after` training samples explain what
    the others leave of x, in the term of that name: ||(x - x_hat) - W_dec z_dead||^2, in which the others stand still;
    0 where none is dead.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: How many features the dictionary has.
        speaking: The share of them that speaks at first.
        auxk: Weight of the term; a constant 0 leaves it out.
        dead_after: Training samples, of all devices together.
    """

    provides = frozenset({"sparse"})
    name: ClassVar[str]
    """As registered, for messages."""
    silent: Tensor
    """``(D,)``: training samples since each feature last spoke."""

    def __init__(self, feature_shape: Shape, *, dim: int, speaking: float, auxk: Schedule, dead_after: int) -> None:
        super().__init__()
        if dim < 1 or dead_after < 1:
            raise AeframeError(
                f"latent {self.name} needs dim and dead_after of at least 1, found {dim} and {dead_after}"
            )
        self.shape: Shape = (dim,)
        self.feature_shape, self.dead_after = feature_shape, dead_after
        size = math.prod(feature_shape)
        self.decode_weight = nn.Parameter(F.normalize(torch.randn(dim, size)))
        self.decode_bias = nn.Parameter(torch.zeros(size))
        # Of random directions the loudest `speaking`, those beyond t of a normal, add up to x times this length.
        t = NormalDist().inv_cdf(1 - min(0.5, speaking))
        length = dim / size * (t * NormalDist().pdf(t) + min(0.5, speaking))
        self.scale = 1 / max(1.0, length)
        self.encode_weight = nn.Parameter(self.decode_weight.detach().clone())
        self.encode_bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("silent", torch.zeros(dim, dtype=torch.long))
        if not (isinstance(auxk, Constant) and auxk.value == 0):
            self.weights["auxk"] = auxk

    @property
    def decoder_shape(self) -> Shape:
        return self.feature_shape

    @property
    def directions(self) -> Tensor:
        """What each feature stands for: ``(D, F)``, rows of length 1."""
        return F.normalize(self.decode_weight)

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        x = features.flatten(1)
        before = at_least_float32(F.linear(self.scale * (x - self.decode_bias), self.encode_weight, self.encode_bias))
        x = at_least_float32(x.detach())
        z, terms = self.code(before, x)
        read = self.decoder_input(z)
        if "auxk" in self.weights:
            terms["auxk"] = self._auxk(before, x - at_least_float32(read.detach().flatten(1)))
        if self.learns(z):
            self._listen(z)
        shape = () if num_samples is None else (num_samples,)
        return Latent(z.expand(*shape, *z.shape), z, terms=terms, decoder_input=read.expand(*shape, *read.shape))

    def decoder_input(self, z: Tensor) -> Tensor:
        return (z @ self.directions + self.decode_bias).unflatten(1, self.feature_shape)

    def code(self, before: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return z ``(B, D)``, and the terms ``(B,)`` of this kind of dictionary.

        Args:
            before: ``(B, D)``, the pre-activations.
            x: ``(B, F)``, the features, cut from the graph.
        """
        raise NotImplementedError

    def learns(self, value: Tensor) -> bool:
        """Say whether buffers follow what they see: without gradients somebody only looks."""
        return self.training and torch.is_grad_enabled() and not value.is_meta

    def _auxk(self, before: Tensor, residual: Tensor) -> Tensor:
        dead = self.silent >= self.dead_after
        loudest = keep_top(before.relu() * dead, max(1, min(self.shape[0], residual.shape[1] // 2)))
        return torch.where(dead.any(), squared_error(residual, loudest @ self.directions), 0.0)

    @torch.no_grad()
    def _listen(self, z: Tensor) -> None:
        heard = sum_over_devices((z > 0).sum(0))
        self.silent.copy_(torch.where(heard > 0, 0, self.silent + len(z) * num_devices()))


def keep_top(values: Tensor, k: int) -> Tensor:
    """Return ``(B, D)`` with the `k` largest of each row where they were, and 0 elsewhere."""
    kept = values.topk(k)
    return torch.zeros_like(values).scatter(1, kept.indices, kept.values)


def squared_error(x: Tensor, read: Tensor) -> Tensor:
    """Return ``(B,)``: ||x - read||^2."""
    return per_sample((x - read).square())
