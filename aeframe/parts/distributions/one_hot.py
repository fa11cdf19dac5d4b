"""Independent classes as rows of numbers, one-hot or relaxed; and distributions side by side."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import gumbel_softmax

from aeframe.parts.distributions.base import ReparameterizedDistribution
from aeframe.tensors import per_sample


class OneHot(ReparameterizedDistribution):
    """V independent variables of C classes each: a draw is the one-hot rows of all of them, side by side.

    The density is that of the classes: `log_prob` of a relaxed row is the mean over the classes by their shares.

    Args:
        logits: ``(*batch, V, C)``.
        temperature: `rsample` gives relaxed rows (Gumbel-softmax; Jang et al. 2017, arXiv 1611.01144), the closer to
            one-hot the nearer this is to 0, and the wilder their gradient.
        hard: `rsample` gives one-hot rows with the gradient of the relaxed ones (straight through).
    """

    def __init__(self, logits: Tensor, temperature: Tensor, *, hard: bool) -> None:
        self.log_probs, self.temperature, self.hard = logits.log_softmax(-1), temperature, hard
        super().__init__(logits.shape[:-2], math.prod(logits.shape[-2:]))

    @property
    def mean(self) -> Tensor:
        """``(*batch, V * C)``: the probabilities."""
        return self.log_probs.exp().flatten(-2)

    def kl_to_uniform(self) -> Tensor:
        """Return ``(*batch, V)``: that of each variable, in nats."""
        return (self.log_probs.exp() * (self.log_probs + math.log(self.log_probs.shape[-1]))).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value * self.log_probs.flatten(-2)).sum(-1)

    def draw(self, shape: torch.Size) -> Tensor:
        logits = self.log_probs.expand(*shape, *self.log_probs.shape)
        return gumbel_softmax(logits, self.temperature, hard=self.hard).flatten(-2)  # type: ignore[arg-type]


class ProductDistribution(ReparameterizedDistribution):
    """Independent distributions of flat rows ``(*batch, d)``, whose draws stand side by side in one row."""

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
