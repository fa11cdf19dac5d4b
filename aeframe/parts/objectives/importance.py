"""Importance-weighted bounds, which K samples of z make tighter than the evidence lower bound."""

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

    With its defaults it is the IWAE (Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519). The options below minimise
    variants; checkpoints are always selected by the bound above, of all K samples. Evaluation uses the same K.

    Args:
        num_samples: K samples of z for each x.
        groups: Minimise the mean of this many bounds, of K / groups samples each (MIWAE: Rainforth et al. 2018,
            arXiv 1802.04537); groups of one sample are the evidence lower bound.
        partial: Train the encoder by the mean bound of the groups, and the decoder by the bound of all K samples
            (PIWAE, the same paper).
        beta: Weight in [0, 1] of the evidence lower bound; the importance bound has weight 1 - beta (CIWAE, the same
            paper); a number or a schedule.
        doubly_reparameterised: Use the doubly reparameterised gradient for the encoder (DReG: Tucker et al. 2019,
            arXiv 1810.04152): equal in expectation, with less variance at large K. Like `partial`, it takes one more
            backward pass through the decoder.
    """

    bounds_likelihood = True
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
                f"objective importance needs num_samples that groups divide, found {num_samples} for {groups} groups"
            )
        self.num_samples, self.groups, self.partial = num_samples, groups, partial
        self.beta, self.doubly_reparameterised = beta, doubly_reparameterised

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        # The first dimension of all tensors is K * B.
        latent, num = out.latent, out.num_samples or 1
        assert latent.posterior is not None
        # log q(z|x) - log p(z) at each sample, an estimate of the KL.
        kl = per_sample(latent.posterior.log_prob(latent.z)) - model.prior.log_prob(latent.z)
        log_weight = (-out.reconstruction - kl).unflatten(0, (num, -1))
        beta = self.beta(progress)
        # Group sizes of the bounds. Without importance samples num is 1, and there is one group.
        encoder_size = num // math.gcd(num, self.groups)
        decoder_size = num if self.partial else encoder_size
        value = beta * log_weight.mean(0) + (1 - beta) * _bound(log_weight, decoder_size)
        if latent.z.requires_grad and (self.partial or self.doubly_reparameterised):
            value = self._redirected(value, latent, log_weight, (decoder_size, encoder_size), beta)
        mean_out = replace(
            out,
            reconstruction=_sample_mean(out.reconstruction, num),
            latent=replace(latent, terms={name: _sample_mean(term, num) for name, term in latent.terms.items()}),
        )
        terms = reconstruction_terms(model, mean_out, progress).add("kl", _sample_mean(kl, num), 0.0)
        # The term `importance` contains the reconstruction, which is only logged as a term of its own.
        terms.weights["reconstruction"] = 0.0
        terms.bound = -_bound(log_weight, num)
        return terms.add("importance", -value)

    def _redirected(
        self, value: Tensor, latent: Latent, log_weight: Tensor, sizes: tuple[int, int], beta: float
    ) -> Tensor:
        """Return `value` ``(B,)`` with separate gradients for the encoder, and for the decoder and the prior.

        `sizes` are the group sizes of the bounds that train the decoder and the encoder.
        """
        assert latent.posterior is not None
        if latent.decoder_input is not None:
            raise AeframeError(
                "objective importance with partial or doubly_reparameterised needs a decoder that reads z, but this "
                "latent provides another decoder input; leave both at false"
            )
        decoder_factor, encoder_factor = (_weight_gradient(log_weight.detach(), size, beta) for size in sizes)
        if self.doubly_reparameterised:
            encoder_factor = _weight_gradient(log_weight.detach(), sizes[1], beta, power=2)
        # The gradient of this is that of log q with respect to the parameters of q at fixed z. Adding it to log w
        # cancels this part of log w: the encoder's gradient then flows through z only.
        log_q_fixed_z = per_sample(latent.posterior.log_prob(latent.z.detach())).view_as(log_weight)
        through_z = log_weight + log_q_fixed_z
        # The gradient of `path` is the encoder's gradient alone, without that of the decoder and the prior.
        (z_gradient,) = torch.autograd.grad(through_z.sum(), latent.z, retain_graph=True)
        path = per_sample(z_gradient * latent.z).view_as(log_weight)
        surrogate = decoder_factor * through_z + (encoder_factor - decoder_factor) * path
        if not self.doubly_reparameterised:
            surrogate = surrogate - encoder_factor * log_q_fixed_z
        # The value of the bound, with the gradient of the surrogate.
        return value.detach() + (surrogate - surrogate.detach()).sum(0)


def _sample_mean(value: Tensor, num_samples: int) -> Tensor:
    """Return the mean over importance samples: ``(K * B,)`` -> ``(B,)``."""
    return value.unflatten(0, (num_samples, -1)).mean(0)


def _bound(log_weight: Tensor, size: int) -> Tensor:
    """Return the mean over groups of the log of the mean of `size` weights: ``(K, B)`` -> ``(B,)``."""
    return log_weight.unflatten(0, (-1, size)).logsumexp(1).mean(0) - math.log(size)


def _weight_gradient(log_weight: Tensor, size: int, beta: float, power: int = 1) -> Tensor:
    """Return the gradient of the bound with respect to each log-weight ``(K, B)``.

    For the importance bound it is the weight, normalised within its group of `size`, divided by the number of groups;
    DReG squares the normalised weight (`power` 2). For the evidence lower bound, of weight `beta`, it is 1 / K.
    """
    normalised = log_weight.unflatten(0, (-1, size)).softmax(1).pow(power).flatten(0, 1)
    return (beta + (1 - beta) * size * normalised) / len(log_weight)
