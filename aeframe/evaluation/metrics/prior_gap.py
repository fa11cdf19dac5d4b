"""The gap between the codes of the data and the prior, from which new samples are drawn."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.evaluation.scoring import content_keys
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.networks.unowned import Unowned
from aeframe.row_noise import row_normals
from aeframe.types import Batch, ForwardOutput, Latent

_MAX_DIM = 512
"""Largest number of latent dimensions: a covariance has the square of it."""
_PER_DIM = 4
"""Training samples for each dimension that the fit of a covariance requires."""
_MAX_SAMPLES = 2048
"""Largest number of held-out samples."""
_MIN_SAMPLES = 20
"""Number of held-out samples below which no mean is estimated."""


class PriorGap(SubsetMetric):
    """Measure ``prior_gap``: a lower bound in nats on KL(q(z) || p(z)), of the aggregate posterior from the prior.

    q(z) is the mean of the posteriors of all samples. The part of the mean KL that is no information about x is
    KL(q(z) || p(z)) (Hoffman & Johnson 2016, NIPS workshop). Where it is large, codes drawn from the prior are not
    those that the decoder was trained on, and an ex-post density such as ``sampler=gmm`` gives better samples.

    A normal distribution r has the moments of q(z) over training samples. The metric is the mean of
    log r(z) - log p(z) over draws z from the posteriors of held-out samples, which is KL(q || p) - KL(q || r). It is
    exact for a normal q(z), and otherwise a lower bound. ``marginal_kl`` is an upper bound: it is too large where the
    information about x exceeds the logarithm of the number of compared samples. Shapes that a normal distribution does
    not have, such as gaps between clusters, add nothing to `prior_gap`.

    It is measured in a test, for at least 20 held-out samples, and 4 training samples for each dimension of z.

    Args:
        model: The autoencoder; its latent has a normal posterior of at most 512 dimensions.
    """

    unit = "nats"
    uses_training_samples = True
    test_only = True

    def __init__(self, model: Autoencoder) -> None:
        super().__init__(_MAX_SAMPLES, 0, "codes")
        # Not registered as a submodule of the metric.
        self._model = Unowned(model)
        self._num_training = 0
        self.start_training_samples()

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        latent = model.latent
        return "normal" in latent.provides and latent.space == "euclidean" and math.prod(latent.shape) <= _MAX_DIM

    def start_training_samples(self) -> None:
        self._means: list[Tensor] = []
        self._variances: list[Tensor] = []

    def update_training(self, model: Autoencoder, batch: Batch, latent: Latent) -> None:
        if isinstance(latent.posterior, Normal):
            self._means.append(latent.posterior.loc.flatten(1).to(SUM_DTYPE))
            self._variances.append(latent.posterior.variance.flatten(1).to(SUM_DTYPE))

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        q = out.latent.posterior
        if isinstance(q, Normal):
            mean, scale = q.loc.flatten(1), q.scale.flatten(1)
            noise = row_normals(content_keys(out.batch), mean.shape[1]).to(mean)
            self.store(out.batch, codes=mean + scale * noise)

    def compute(self) -> dict[str, Tensor]:
        self._num_training = 0
        if not self._means or len(self.keys) == 0:
            return {}
        means, variances, codes = torch.cat(self._means), torch.cat(self._variances), self.stored()["codes"]
        if len(means) < _PER_DIM * means.shape[1] or len(codes) < _MIN_SAMPLES:
            return {}
        self._num_training = len(means)
        covariance = torch.cov(means.T).reshape(means.shape[1], -1) + variances.mean(0).diag()
        moments = MultivariateNormal(means.mean(0), covariance, validate_args=False)
        model = self._model.module
        log_prior = model.prior.log_prob(codes.unflatten(1, model.latent.shape))
        return {"prior_gap": (moments.log_prob(codes.to(means)) - log_prior).mean(dtype=SUM_DTYPE)}

    def protocol(self) -> str:
        if not self._num_training:
            return ""
        return f"codes of {self._num_used} samples, moments of those of {self._num_training} training samples"
