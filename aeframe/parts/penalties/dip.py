"""The disentangled-inferred-prior penalty: the covariance of the codes is moved towards the identity."""

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
    """The squared distance between the codes' covariance and the identity (DIP-VAE: Kumar, Sattigeri & Balakrishnan
    2018, arXiv 1711.00848).

    With the covariance C it is the sum of C_ij^2 over i != j, plus `diagonal` times the sum of (C_ii - 1)^2. C is the
    covariance of the batch with the divisor B; in training the batch is that of all devices. The penalty is the mean
    of one value for each sample (see `linearized_batch_statistic`); a single value may be negative.

    Args:
        weight: Weight of the off-diagonal elements, the paper's lambda_od.
        kind: ``i``: C is the covariance of the posterior means. ``ii``: the mean of the posterior variances is added,
            so that C is the covariance of z; needs a normal posterior.
        diagonal: Weight of the diagonal relative to `weight`, lambda_d / lambda_od; null takes the paper's 10 for ``i``
            and 1 for ``ii``.
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
        # The mean may be detached: the gradient through it is zero, since deviations from it sum to zero.
        centred = mean - batch_mean(mean)
        # (B, D, D); their mean over the batch is the covariance.
        products = centred.unsqueeze(2) * centred.unsqueeze(1)
        if self.kind == "ii":
            q = out.latent.posterior
            if not isinstance(q, Normal):
                raise AeframeError(
                    "penalty dip with kind=ii needs a normal posterior, "
                    f"found {'none' if q is None else type(q).__name__}; set latent=gaussian, or kind=i"
                )
            products = products + torch.diag_embed(at_least_float32(q.variance).flatten(1))
        return linearized_batch_statistic(self._distance_from_identity, products)

    def _distance_from_identity(self, covariance: Tensor) -> Tensor:
        eye = torch.eye(len(covariance), device=covariance.device, dtype=covariance.dtype)
        return ((covariance - eye).square() * (1 + (self.diagonal - 1) * eye)).sum()
