"""The aggregate posterior q(z): mutual information of x and z, and the KL from q(z) to the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import EVALUATION, noise_of
from aeframe.parts.networks.unowned import Unowned
from aeframe.types import ForwardOutput

_MAX_ELEMENTS = 1 << 24
"""Limit of (number of posteriors)² times dimensions, which bounds the time to about a quarter of a second."""


class AggregatePosterior(SubsetMetric):
    """Split the mean KL into the mutual information of x and z and the marginal KL (Hoffman & Johnson 2016, NIPS
    workshop).

    - ``mutual_information``: mean of log q(z|x) - log q(z) in nats, where q(z) is the mean of the compared posteriors.
      It cannot exceed the logarithm of their number.
    - ``marginal_kl``: KL(q(z) || p(z)) in nats, the remainder of the KL. Where it is small, samples from the prior are
      distributed as codes are.
    - ``kl_dimensions``: the fraction of latent dimensions whose KL to the standard normal exceeds 0.01 nats.
    - ``kl/1``, ``kl/2``, ...: that KL by dimension, for codes of up to `named` dimensions.

    Args:
        model: The autoencoder; its latent has a normal posterior.
        samples: Maximum number of compared posteriors, a random subset of the split; fewer for codes of many
            dimensions.
        named: Maximum number of latent dimensions for which the KL of each is returned.
    """

    by_dimension: Tensor
    """``(D,)``: sum over samples of the KL to the standard normal."""
    count: Tensor
    """``()``: number of samples in `by_dimension`."""

    def __init__(self, model: Autoencoder, *, samples: int = 1024, named: int = 64) -> None:
        if samples < 2:
            raise AeframeError(f"metric aggregate_posterior compares at least 2 samples, found samples={samples}")
        dim = math.prod(model.latent.shape)
        # A fixed seed, so that all models are compared on the same samples.
        super().__init__(max(2, min(samples, math.isqrt(_MAX_ELEMENTS // dim))), 0, "means", "scales")
        # Not registered as a submodule of the metric.
        self._model = Unowned(model)
        self.named = named
        self.add_state("by_dimension", torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "normal" in model.latent.provides and model.latent.space == "euclidean"

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        q = out.latent.posterior
        if not isinstance(q, Normal):
            raise AeframeError(f"latent {type(model.latent).__name__} provides a normal posterior, but returned {q}")
        mean, scale = q.loc.flatten(1), q.scale.flatten(1)
        kl = 0.5 * (mean.square() + scale.square() - 1.0) - scale.log()
        self.by_dimension = self.by_dimension + kl.sum(0, dtype=torch.float64)
        self.count = self.count + len(mean)
        self.store(out.batch, means=mean, scales=scale)

    def compute(self) -> dict[str, Tensor]:
        kl = self.by_dimension / self.count
        values = {"kl_dimensions": (kl > 0.01).double().mean()}
        if len(kl) <= self.named:
            values |= {f"kl/{number}": value for number, value in enumerate(kl, start=1)}
        stored = self.stored()
        means, scales = stored["means"], stored["scales"]
        model = self._model.module
        # A fixed seed, so that the values are reproducible.
        with noise_of(means.device, 0, EVALUATION):
            z = means + scales * torch.randn_like(means)
        log_posterior = Normal(means, scales).log_prob(z).sum(1)
        log_aggregate = _log_mixture(z, means, scales).to(z.dtype)
        log_prior = model.prior.log_prob(z.unflatten(1, model.latent.shape))
        return values | {
            "mutual_information": (log_posterior - log_aggregate).mean().double(),
            "marginal_kl": (log_aggregate - log_prior).mean().double(),
        }


def _log_mixture(z: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    """Return the log density ``(M,)`` of z ``(M, D)`` under the mean of N normals, ``(N, D)`` each.

    Squared distances to all normals are products of matrices. They are sums of large numbers that nearly cancel. They
    are therefore computed in float64, and relative to the center of the means.
    """
    center = means.double().mean(0)
    z, means, precisions = z.double() - center, means.double() - center, scales.double().square().reciprocal()
    distances = z.square() @ precisions.T - 2.0 * z @ (means * precisions).T + (means.square() * precisions).sum(1)
    log_densities = -0.5 * (distances - precisions.log().sum(1) + math.log(2 * math.pi) * z.shape[1])
    return torch.logsumexp(log_densities, 1) - math.log(len(means))
