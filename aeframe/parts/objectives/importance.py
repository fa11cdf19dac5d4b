"""Importance-weighted bounds: tighter than the evidence lower bound by K samples of each code."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, reconstruction_terms
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, Latent, LossTerms, Model, TrainingProgress


class Importance(Objective):
    """Minimise -log of the mean of K importance weights w = p(x|z) p(z) / q(z|x), in nats.

    With its defaults it is the IWAE (Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519). Models are selected by
    this bound of all K samples, whatever else is minimised; in evaluation K is the same.

    Args:
        num_samples: K codes of each sample.
        groups: The mean over this many bounds of K / groups samples each (MIWAE: Rainforth et al. 2018,
            arXiv 1802.04537); as many as samples give the evidence lower bound.
        partial: The groups are for the encoder only, and the decoder keeps the bound of all K (PIWAE, the same paper).
        beta: Weight in [0, 1] of the evidence lower bound, 1 - beta being the rest's (CIWAE, the same paper); a number
            or a schedule.
        doubly_reparameterised: Train the encoder through z alone, with weights that make up for the density's own
            gradient (DReG: Tucker et al. 2019, arXiv 1810.04152): the same in expectation, and with less noise at
            large K. It takes one more way back through the decoder, as `partial` does.
    """

    requires = frozenset({"posterior"})

    def __init__(
        self,
        *,
        num_samples: int = 8,
        groups: int = 1,
        partial: bool = False,
        beta: Schedule = fixed(0.0),
        doubly_reparameterised: bool = False,
    ) -> None:
        super().__init__()
        if groups < 1 or num_samples < 1 or num_samples % groups:
            raise AeframeError(
                f"objective importance shares num_samples out to groups equally, found {num_samples} for {groups}; "
                "make one a multiple of the other"
            )
        self.num_samples, self.groups, self.partial = num_samples, groups, partial
        self.beta, self.doubly_reparameterised = beta, doubly_reparameterised

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        z, lead = out.latent.z, 1 + out.latent.z.ndim - out.latent.mean.ndim
        assert out.latent.posterior is not None
        kl = per_sample(out.latent.posterior.log_prob(z), lead) - model.prior.log_prob(z)
        log_weight = (-out.reconstruction - kl).reshape(-1, len(out.latent.mean))
        num, beta = len(log_weight), self.beta(progress)
        # Where nobody asked for samples there is one, which no group can share.
        inner = num // math.gcd(num, self.groups)
        outer = num if self.partial else inner
        value = beta * log_weight.mean(0) + (1 - beta) * _bound(log_weight, outer)
        if z.requires_grad and (self.partial or self.doubly_reparameterised):
            value = self._redirected(value, out.latent, log_weight, (outer, inner), beta)
        mean = replace(out, reconstruction=out.reconstruction.reshape_as(log_weight).mean(0))
        terms = reconstruction_terms(model, mean, progress).add("kl", kl.reshape_as(log_weight).mean(0), 0.0)
        # Shown beside what is minimised in their place.
        terms.weights["reconstruction"] = 0.0
        terms.bound = -_bound(log_weight, num)
        return terms.add("importance", -value)

    def _redirected(
        self, value: Tensor, latent: Latent, log_weight: Tensor, sizes: tuple[int, int], beta: float
    ) -> Tensor:
        """Return `value` ``(B,)`` with other gradients for the encoder than for the decoder and the prior."""
        assert latent.posterior is not None
        if latent.decoder_input is not None:
            raise AeframeError(
                "objective importance with partial or doubly_reparameterised follows the gradient through z, and this "
                "latent hands the decoder something else; leave both at false"
            )
        decoder, encoder = (_slope(log_weight.detach(), size, beta) for size in sizes)
        if self.doubly_reparameterised:
            encoder = _slope(log_weight.detach(), sizes[1], beta, power=2)
        lead = 1 + latent.z.ndim - latent.mean.ndim
        # How the posterior's own parameters move its density where z stays.
        density = per_sample(latent.posterior.log_prob(latent.z.detach()), lead).reshape_as(log_weight)
        through_z = log_weight + density
        (pull,) = torch.autograd.grad(through_z.sum(), latent.z, retain_graph=True)
        moved = per_sample(pull * latent.z, lead).reshape_as(log_weight)
        gradient = decoder * through_z + (encoder - decoder) * moved
        if not self.doubly_reparameterised:
            gradient = gradient - encoder * density
        return value.detach() + (gradient - gradient.detach()).sum(0)


def _bound(log_weight: Tensor, size: int) -> Tensor:
    """Return the mean over groups of log of the mean of `size` weights: ``(K, B)`` -> ``(B,)``."""
    return log_weight.unflatten(0, (-1, size)).logsumexp(1).mean(0) - math.log(size)


def _slope(log_weight: Tensor, size: int, beta: float, power: int = 1) -> Tensor:
    """Return ``(K, B)``: how much each log-weight counts in the bound, its share within its group to some power."""
    shares = log_weight.unflatten(0, (-1, size)).softmax(1).pow(power).flatten(0, 1)
    return (beta + (1 - beta) * size * shares) / len(log_weight)
