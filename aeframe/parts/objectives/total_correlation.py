"""The KL in three parts: what the code says of the sample, how its dimensions depend on each other, and how far each
is from the prior.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.objectives.adversarial import CodeDiscriminator
from aeframe.parts.objectives.base import Objective, is_needed, normal_posterior, reconstruction_terms, rows_compared
from aeframe.parts.schedules import Constant, Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, LossTerms, Model, Shape, TrainingProgress


class PermutedCodes(CodeDiscriminator):
    """Tell codes from codes whose dimensions were drawn from different samples: the second player of a FactorVAE.

    The paper permutes a batch of its own; here it is the same batch.
    """

    batch_terms = frozenset({"real"})

    def real(self, model: Model, z: Tensor) -> Tensor:
        """Return codes with each dimension permuted over the batch (of all devices) for itself."""
        rows, own = rows_compared(model, z)
        keys, _ = rows_compared(model, torch.rand_like(rows[own]))
        return rows.gather(0, keys.argsort(0))[own]


class TotalCorrelation(Objective):
    """Minimise reconstruction + alpha * I(x; z) + beta * TC(z) + gamma * sum_j KL(q(z_j) || p(z_j)), in nats (Chen et
    al. 2018, arXiv 1802.04942): the KL of the evidence lower bound, in three parts.

    They are estimated from the codes of a batch, and add up to log q(z|x) - log p(z) of each drawn z. What is minimised
    is the KL as the prior gives it, which has each of them in it once and less noise where it is a closed form, and
    the three with their weights less 1; so with weights of 1 it is the VAE, and a part of weight 1 is only shown.

    q(z), the mean of the posteriors of all N training samples, is estimated from the M of the batch. Both of the
    paper's estimates of its logarithm lie too low where posteriors are narrow: a code is then far from all of the
    batch but its own, and what is seen of the total correlation is about (D - 1) * log N, whatever it is.

    Args:
        alpha: Weight of I(x; z), the index-code mutual information; a number or a schedule.
        beta: Weight of the total correlation; a number or a schedule. In the terms of FactorVAE it is 1 + gamma.
        gamma: Weight of the KL by dimension; a number or a schedule.
        estimator: ``stratified`` weighs the own posterior as the one in N that it is, and the others for the rest, so
            that q(z) has no bias. ``weighted``, which the paper's experiments take, gives each the weight 1 / (N * M):
            it moves the gradient little, but log q(z) by between -log N and -log M, and the total correlation up by
            D - 1 times as much. ``adversarial`` has a second player tell codes from codes with their dimensions
            permuted (FactorVAE: Kim & Mnih 2018, arXiv 1802.05983): the total correlation is its logit, the KL comes
            whole, and alpha and gamma stay 1.
        hidden: Sizes of the discriminator's dense layers, for ``adversarial``.
        activation: Of the discriminator; null takes the run's.
    """

    requires = frozenset({"posterior"})
    batch_terms = frozenset({"index_code_information", "total_correlation", "dimension_kl"})

    def __init__(
        self,
        z_shape: Shape,
        *,
        alpha: Schedule = fixed(1.0),
        beta: Schedule = fixed(6.0),
        gamma: Schedule = fixed(1.0),
        estimator: Literal["stratified", "weighted", "adversarial"] = "stratified",
        hidden: tuple[int, ...] = (256, 256),
        activation: MakeActivation | None = None,
    ) -> None:
        super().__init__()
        whole = [isinstance(weight, Constant) and weight.value == 1 for weight in (alpha, gamma)]
        if estimator == "adversarial" and not all(whole):
            raise AeframeError(
                "objective total_correlation with estimator=adversarial sees no part of the KL but the total "
                "correlation; leave alpha and gamma at 1"
            )
        self.alpha, self.beta, self.gamma, self.estimator = alpha, beta, gamma, estimator
        self.discriminator = PermutedCodes(z_shape, hidden, activation) if estimator == "adversarial" else None

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        kl = per_sample(model.prior.kl(out.latent))
        terms = reconstruction_terms(model, out, progress).add("kl", kl)
        terms.bound = out.reconstruction + kl
        if self.discriminator is not None:
            weight = self.beta(progress) - 1 if progress.batch >= self.discriminator.start else 0.0
            if is_needed(model, weight):
                terms.add("total_correlation", -self.discriminator(out.latent.z), weight)
            return terms
        weights = [schedule(progress) - 1 for schedule in (self.alpha, self.beta, self.gamma)]
        if not any(is_needed(model, weight) for weight in weights):
            return terms
        q, z = normal_posterior("total_correlation", out.latent), out.latent.z.flatten(1)
        joint, marginals = self._aggregate(model, q, z, progress)
        own, prior = per_sample(q.log_prob(out.latent.z)), model.prior.log_prob(out.latent.z)
        parts = {
            "index_code_information": own - joint,
            "total_correlation": joint - marginals,
            "dimension_kl": marginals - prior,
        }
        for (name, value), weight in zip(parts.items(), weights, strict=True):
            terms.add(name, value, weight)
        return terms

    def _aggregate(self, model: Model, q: Normal, z: Tensor, progress: TrainingProgress) -> tuple[Tensor, Tensor]:
        """Return ``(B,)`` log q(z), and the sum over dimensions of log q(z_j)."""
        loc, own = rows_compared(model, q.loc)
        scale, _ = rows_compared(model, q.scale)
        by_pair = Normal(loc, scale, validate_args=False).log_prob(z[:, None])
        weights = self._log_weights(loc, progress.rows)[own]
        joint = (by_pair.sum(2) + weights).logsumexp(1)
        return joint, (by_pair + weights[:, :, None]).logsumexp(1).sum(1)

    def _log_weights(self, loc: Tensor, rows: int) -> Tensor:
        """Return ``(M, M)``: what each of the M posteriors of the batch (columns) stands for, to each code (rows)."""
        num, own = len(loc), torch.eye(len(loc), device=loc.device)
        total, others = max(rows, num), num - 1
        if self.estimator == "weighted":
            return torch.full_like(own, -math.log(total * num))
        if not others:
            return torch.zeros_like(own)
        # One of the others stands for all samples that are in no batch of this size.
        rest = (total - others) / (total * others)
        return (1 / others + own * (1 / total - 1 / others) + own.roll(1, 0) * (rest - 1 / others)).log()
