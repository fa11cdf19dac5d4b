"""Categorical variables as one-hot vectors, relaxed or exact, and products of distributions."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import gumbel_softmax

from aeframe.parts.distributions.base import ReparameterizedDistribution
from aeframe.tensors import per_sample


class OneHot(ReparameterizedDistribution):
    """V independent categorical variables of C classes: a sample concatenates their one-hot vectors, ``(V * C,)``.

    The density is that of the classes, not of the relaxation: `log_prob` of a relaxed vector is the mean of the
    classes' log-probabilities, weighted by the vector.

    Args:
        logits: ``(*batch, V, C)``.
        temperature: Temperature of the relaxed vectors that `rsample` returns (Gumbel-softmax; Jang et al. 2017, arXiv
            1611.01144). Near 0 they are nearly one-hot, and their gradient has a large variance.
        hard: Whether `rsample` returns one-hot vectors with the gradient of the relaxed ones (straight through).
    """

    def __init__(self, logits: Tensor, temperature: Tensor, *, hard: bool) -> None:
        self.log_probs, self.temperature, self.hard = logits.log_softmax(-1), temperature, hard
        super().__init__(logits.shape[:-2], math.prod(logits.shape[-2:]))

    @property
    def mean(self) -> Tensor:
        """``(*batch, V * C)``: the probabilities of the classes."""
        return self.log_probs.exp().flatten(-2)

    def kl_to_uniform(self) -> Tensor:
        """Return the KL divergence of each variable from the uniform distribution, ``(*batch, V)``, in nats."""
        return (self.log_probs.exp() * (self.log_probs + math.log(self.log_probs.shape[-1]))).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.log_probs.flatten(-2)).sum(-1)

    def draw(self, shape: torch.Size) -> Tensor:
        logits = self.log_probs.expand(*shape, *self.log_probs.shape)
        return gumbel_softmax(logits, self.temperature, hard=self.hard).flatten(-2)  # type: ignore[arg-type]


class ProductDistribution(ReparameterizedDistribution):
    """The product of independent distributions of vectors ``(*batch, d)``; samples are concatenated."""

    def __init__(self, *parts: Distribution) -> None:
        self.parts = parts
        self.sizes = [part.mean.shape[-1] for part in parts]
        super().__init__(parts[0].mean.shape[:-1], sum(self.sizes))

    @property
    def mean(self) -> Tensor:
        """``(*batch, sum of d)``."""
        return torch.cat([part.mean for part in self.parts], dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        pieces = zip(self.parts, value.split(self.sizes, dim=-1), strict=True)
        return torch.stack([per_sample(part.log_prob(piece), value.ndim - 1) for part, piece in pieces]).sum(0)

    def draw(self, shape: torch.Size) -> Tensor:
        return torch.cat([part.rsample(shape) for part in self.parts], dim=-1)
