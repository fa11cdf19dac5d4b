"""`Dictionary`, the base class of sparse autoencoders: few features are active for a sample, each with a direction.

Two things are called features, as in the literature. Those of the encoder, flattened, are the input x of the
dictionary. All others are the features of the dictionary: each has an activation, its entry of z, and a direction in
the space of x.

Shapes: B samples, F dimensions of x, D features of the dictionary (`dim`).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.devices import num_rows, sum_over_batch
from aeframe.errors import AeframeError
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.latents.sparse.input_scale import InputScale
from aeframe.parts.schedules import Constant, Schedule
from aeframe.tensors import at_least_float32, per_sample
from aeframe.types import Latent, Shape


class Dictionary(LatentSpace):
    """A non-negative sparse code z ``(dim,)``, and the directions that it weights.

    The latent contains encoder and decoder of the dictionary. They work on standardised x~ = (x - mean) / unit, so that
    no option depends on the scale of the data: the mean of x and its standard deviation over all dimensions together,
    of the first training samples (see `InputScale`). The pre-activations are ``W_enc s (x~ - b_dec) + b_enc``.
    `decoder_input` is the reconstruction ``mean + unit (W_dec z + b_dec)`` of x, so the model needs no decoder of its
    own (``decoder=reshape``) unless an encoder before the latent has to be inverted. The columns of W_dec, the
    directions, are normalised to length 1 where they are used, so that a feature cannot escape a sparsity penalty by a
    long direction. W_enc is initialised to their transpose. The constant scale s <= 1 is not in the papers: it limits
    the length of the initial reconstruction to that of x, for any number of features. At initialisation the
    pre-activations have a mean of 0 and a standard deviation of s. Loss terms are squared errors with respect to the
    detached x, in its unit.

    A feature that is never active has no gradient and stays dead. The term ``auxk`` (Gao et al. 2024, arXiv
    2406.04093) revives features that were inactive for `dead_after` training samples:
    ||(x - x_hat) - W_dec z_dead||^2, where z_dead has the largest F / 2 pre-activations of dead features and the error
    x - x_hat is detached. It is 0 while no feature is dead.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number D of features of the dictionary.
        initial_density: Fraction of the features that are active at initialisation.
        auxk: Weight of the term ``auxk``, a schedule; a constant 0 omits the term.
        dead_after: Training samples without activity, over all devices, after which a feature is dead.
    """

    provides = frozenset({"sparse"})
    name: ClassVar[str]
    """The registered name, for error messages."""
    steps_since_active: Tensor
    """``(D,)``: training samples since each feature was last active."""

    def __init__(
        self, feature_shape: Shape, *, dim: int, initial_density: float, auxk: Schedule, dead_after: int
    ) -> None:
        super().__init__()
        if dim < 1 or dead_after < 1:
            raise AeframeError(
                f"latent {self.name} needs dim and dead_after of at least 1, found {dim} and {dead_after}"
            )
        self.shape: Shape = (dim,)
        self.feature_shape, self.dead_after = feature_shape, dead_after
        size = math.prod(feature_shape)
        self.input_scale = InputScale(size)
        self.decode_weight = nn.Parameter(F.normalize(torch.randn(dim, size)))
        self.decode_bias = nn.Parameter(torch.zeros(size))
        # For random directions, pre-activations are normal. The features whose pre-activation is above the quantile t
        # are active, and the expectation of their reconstruction is x times this length.
        density = min(0.5, initial_density)
        t = NormalDist().inv_cdf(1 - density)
        length = dim / size * (t * NormalDist().pdf(t) + density)
        self.scale = 1 / max(1.0, length)
        self.initial_threshold = self.scale * t
        """The pre-activation that `initial_density` of the features exceed at initialisation, for standardised x."""
        self.encode_weight = nn.Parameter(self.decode_weight.detach().clone())
        self.encode_bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("steps_since_active", torch.zeros(dim, dtype=torch.long))
        if not (isinstance(auxk, Constant) and auxk.value == 0):
            self.weights["auxk"] = auxk

    @property
    def decoder_shape(self) -> Shape:
        return self.feature_shape

    @property
    def directions(self) -> Tensor:
        """The direction of each feature, ``(D, F)``, rows of length 1."""
        return F.normalize(self.decode_weight)

    def forward(self, features: Tensor, *, sample: bool) -> Latent:
        x = at_least_float32(features.flatten(1))
        if self.updates_buffers(x):
            self.input_scale.update(x.detach())
        mean, unit = self.input_scale.mean, self.input_scale.unit
        x = (x - mean) / unit
        pre_activations = at_least_float32(
            F.linear(self.scale * (x - self.decode_bias), self.encode_weight, self.encode_bias)
        )
        x = x.detach()
        z, terms = self.sparse_code(pre_activations, x)
        reconstruction = z @ self.directions + self.decode_bias
        if "auxk" in self.weights:
            terms["auxk"] = self._auxk(pre_activations, x - at_least_float32(reconstruction.detach()))
        if self.updates_buffers(z):
            self._update_activity(z)
        terms = {name: unit.square() * term for name, term in terms.items()}
        decoder_input = (mean + unit * reconstruction).unflatten(1, self.feature_shape)
        return Latent(z, z, terms=terms, decoder_input=decoder_input)

    def decoder_input(self, z: Tensor) -> Tensor:
        reconstruction = z @ self.directions + self.decode_bias
        return (self.input_scale.mean + self.input_scale.unit * reconstruction).unflatten(1, self.feature_shape)

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return z ``(B, D)``, and the loss terms ``(B,)`` of this kind of dictionary for standardised x.

        Args:
            pre_activations: ``(B, D)``.
            x: The detached, standardised features, ``(B, F)``.
        """
        raise NotImplementedError

    def revival_pre_activations(self, pre_activations: Tensor) -> Tensor:
        """Return the pre-activations ``(B, D)`` whose positive part revives dead features; by default all."""
        return pre_activations

    def updates_buffers(self, z: Tensor) -> bool:
        """Return whether a forward pass updates buffers: in training with gradients, not on the meta device."""
        return self.training and torch.is_grad_enabled() and not z.is_meta

    def _auxk(self, pre_activations: Tensor, error: Tensor) -> Tensor:
        dead = self.steps_since_active >= self.dead_after
        revived = self.revival_pre_activations(pre_activations)
        largest = keep_top(revived.relu() * dead, max(1, min(self.shape[0], error.shape[1] // 2)))
        return torch.where(dead.any(), squared_error(error, largest @ self.directions), 0.0)

    @torch.no_grad()
    def _update_activity(self, z: Tensor) -> None:
        num_active = sum_over_batch((z > 0).sum(0))
        self.steps_since_active.copy_(torch.where(num_active > 0, 0, self.steps_since_active + num_rows(len(z))))


def keep_top(values: Tensor, k: int) -> Tensor:
    """Return the values ``(B, D)`` with all but the `k` largest of each row set to 0."""
    top = values.topk(k)
    return torch.zeros_like(values).scatter(1, top.indices, top.values)


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Return ||x - reconstruction||^2 of each row, ``(B,)``."""
    return per_sample((x - reconstruction).square())
