"""The KL of the evidence lower bound in three parts: mutual information, total correlation and the KL by dimension.

Shapes: N training samples, M samples of the batch on all devices, B of them on this device, D latent dimensions.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, gather_rows, is_computed, normal_posterior, reconstruction_terms
from aeframe.parts.schedules import Constant, Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class TotalCorrelation(Objective):
    """Minimise reconstruction + alpha * I(x; z) + beta * TC(z) + gamma * sum_j KL(q(z_j) || p(z_j)), in nats (Chen et
    al. 2018, arXiv 1802.04942).

    With all weights 1 the three parts add up to the KL of the VAE. They are estimated from the codes of a batch, and
    their sum is log q(z|x) - log p(z) for each sampled z. The loss is the prior's KL (which has less noise where it is
    a closed form) plus the three estimates, each with its weight minus 1. A part of weight 1 is thus only logged.

    q(z), the mean of the posteriors of all N training samples, is estimated from the M samples of the batch. Both
    estimators of the paper (see `estimator`) underestimate log q(z) where posteriors are narrow, because a code then
    lies far from every posterior but its own. The estimate of the total correlation is then about (D - 1) * log N,
    whatever its true value.

    Args:
        alpha: Weight of I(x; z), the index-code mutual information; a number or a schedule.
        beta: Weight of the total correlation; a number or a schedule. In the notation of FactorVAE it is 1 + gamma.
        gamma: Weight of the KL by dimension; a number or a schedule.
        estimator: ``stratified`` assigns the weight 1 / N to a sample's own posterior and shares the rest among the
            others, so that q(z) is estimated without bias. ``weighted``, used in the paper's experiments, assigns
            1 / (N * M) to each. This changes gradients little, but moves log q(z) by between -log N and -log M, and
            the total correlation up by D - 1 times as much. ``adversarial`` takes the total correlation from the logit
            of a critic (FactorVAE: Kim & Mnih 2018, arXiv 1802.05983); alpha and gamma must then be 1.
        critic: Label in ``critics:`` of the discriminator of codes and codes with permuted dimensions, for
            ``adversarial``.
    """

    bounds_likelihood = True
    requires = frozenset({"posterior"})
    batch_terms = frozenset({"index_code_information", "total_correlation", "dimension_kl"})

    def __init__(
        self,
        *,
        alpha: Schedule = fixed(1.0),
        beta: Schedule = fixed(6.0),
        gamma: Schedule = fixed(1.0),
        estimator: Literal["stratified", "weighted", "adversarial"] = "stratified",
        critic: str = "permuted_codes",
    ) -> None:
        super().__init__()
        alpha_gamma_are_one = all(isinstance(weight, Constant) and weight.value == 1 for weight in (alpha, gamma))
        if estimator == "adversarial" and not alpha_gamma_are_one:
            raise AeframeError(
                "objective total_correlation with estimator=adversarial estimates no part of the KL but the total "
                "correlation; leave alpha and gamma at 1"
            )
        self.alpha, self.beta, self.gamma, self.estimator, self.critic = alpha, beta, gamma, estimator, critic
        if estimator == "adversarial":
            self.used_critics = {critic: ("logit",)}

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        kl = per_sample(model.prior.kl(out.latent))
        terms = reconstruction_terms(model, out, progress).add("kl", kl)
        terms.bound = out.reconstruction + kl
        if self.estimator == "adversarial":
            critic = model.critics[self.critic]
            weight = self.beta(progress) - 1 if critic.has_started(progress) else 0.0
            if is_computed(model, weight):
                terms.add("total_correlation", -critic.logit(out.latent.z), weight)
            return terms
        weights = [schedule(progress) - 1 for schedule in (self.alpha, self.beta, self.gamma)]
        if not any(is_computed(model, weight) for weight in weights):
            return terms
        q, z = normal_posterior("total_correlation", out.latent), out.latent.z.flatten(1)
        log_q_z, log_marginals = self._log_aggregate(q, z, progress)
        log_q_z_given_x, log_prior = per_sample(q.log_prob(out.latent.z)), model.prior.log_prob(out.latent.z)
        parts = {
            "index_code_information": log_q_z_given_x - log_q_z,
            "total_correlation": log_q_z - log_marginals,
            "dimension_kl": log_marginals - log_prior,
        }
        for (name, value), weight in zip(parts.items(), weights, strict=True):
            terms.add(name, value, weight)
        return terms

    def _log_aggregate(self, q: Normal, z: Tensor, progress: TrainingProgress) -> tuple[Tensor, Tensor]:
        """Return ``(B,)`` log q(z) and ``(B,)`` sum_j log q(z_j), for codes z ``(B, D)``."""
        loc, local = gather_rows(q.loc)
        scale, _ = gather_rows(q.scale)
        # (B, M, D): each code under each posterior of the batch.
        log_probs = Normal(loc, scale, validate_args=False).log_prob(z[:, None])
        log_weights = self._log_weights(loc, progress.rows)[local]
        log_q_z = (log_probs.sum(2) + log_weights).logsumexp(1)
        return log_q_z, (log_probs + log_weights[:, :, None]).logsumexp(1).sum(1)

    def _log_weights(self, loc: Tensor, num_training: int) -> Tensor:
        """Return ``(M, M)``: for each code (row), the log weight of each posterior of the batch (column) in q(z).

        `loc` are the means ``(M, D)`` of these posteriors, and `num_training` is N, or 0 while it is unknown.
        """
        # 1 where the posterior is that of the code.
        num_batch, own = len(loc), torch.eye(len(loc), device=loc.device)
        total, num_others = max(num_training, num_batch), num_batch - 1
        if self.estimator == "weighted":
            return torch.full_like(own, -math.log(total * num_batch))
        if not num_others:
            return torch.zeros_like(own)
        # The weights of a row are 1 / N for the code's own posterior, 1 / (M - 1) for all others but one, and for that
        # one, here the previous in the batch, the rest, so that they sum to one.
        rest = (total - num_others) / (total * num_others)
        return (1 / num_others + own * (1 / total - 1 / num_others) + own.roll(1, 0) * (rest - 1 / num_others)).log()
