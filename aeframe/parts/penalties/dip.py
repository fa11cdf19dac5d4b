"""The disentangled-inferred-prior penalty: latent dimensions that vary alone, and alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.penalties.batch_statistic import batch_mean, linearized_batch_statistic
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32
from aeframe.types import ForwardOutput, Model


class Dip(Penalty):
    """The squared distance of the codes' covariance from the identity (DIP-VAE: Kumar, Sattigeri & Balakrishnan 2018,
    arXiv 1711.00848).

    With C the covariance over the batch it is the sum of C_ij^2 over i != j, and `diagonal` times that of
    (C_ii - 1)^2. The covariance is that of the batch itself, over its size B. In training the batch is that of all
    devices together. The mean of the samples' shares is the penalty; a single one may be negative.

    Args:
        weight: Of the elements off the diagonal, the paper's lambda_od.
        kind: ``i``: C is the covariance of the posterior's means. ``ii``: the mean of its variances is added, which
            makes C the covariance of z; needs a normal posterior.
        diagonal: The weight of the diagonal in units of the other, lambda_d / lambda_od; null takes the paper's 10
            for ``i`` and 1 for ``ii``.
    """

    batch_term = True

    def __init__(
        self, *, weight: Schedule = fixed(1.0), kind: Literal["i", "ii"] = "i", diagonal: float | None = None
    ) -> None:
        super().__init__()
        self.weight, self.kind = weight, kind
        self.diagonal = {"i": 10.0, "ii": 1.0}[kind] if diagonal is None else diagonal

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        mean = at_least_float32(out.latent.mean).flatten(1)
        # The gradient through the centre is zero: what is around it sums to nothing.
        centred = mean - batch_mean(mean, training=model.training)
        products = centred.unsqueeze(2) * centred.unsqueeze(1)
        if self.kind == "ii":
            q = out.latent.posterior
            if not isinstance(q, Normal):
                raise AeframeError(
                    "penalty dip with kind=ii needs a normal posterior, "
                    f"found {'none' if q is None else type(q).__name__}; set latent=gaussian, or kind=i"
                )
            products = products + torch.diag_embed(at_least_float32(q.variance).flatten(1))
        return linearized_batch_statistic(self._from_identity, products, training=model.training)

    def _from_identity(self, covariance: Tensor) -> Tensor:
        eye = torch.eye(len(covariance), device=covariance.device, dtype=covariance.dtype)
        return ((covariance - eye).square() * (1 + (self.diagonal - 1) * eye)).sum()
