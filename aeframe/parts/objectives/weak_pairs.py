"""Weak supervision by pairs of samples that share some, unknown factors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, normal_posterior, reconstruction_terms
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import Batch, DataSpec, ForwardOutput, Latent, LossTerms, Model, TrainingProgress


@dataclass(slots=True, kw_only=True)
class PairedLatent(Latent):
    """The latent of a sample, with the latent of its partner."""

    partner: Latent


class WeakPairs(Objective):
    """Minimise the mean of reconstruction + beta * KL over two partners, whose posteriors are averaged where similar.

    Locatello et al. 2020 (arXiv 2002.02886): a dimension is shared by a pair if its KL(q(z_j|x1) || q(z_j|x2)) is
    below the middle between the lowest and the highest of all dimensions. Both partners receive the average of their
    posteriors in the shared dimensions. The paper adds the two bounds; its code takes their mean, as done here, which
    is in the unit of one sample. Held-out samples have no partner, and the evidence lower bound.

    Args:
        beta: The KL's weight; a number or a schedule.
        average: ``mean`` of means and of variances (Ada-GVAE; Hosoya 2019, arXiv 1809.02383), or the normalised
            ``product`` of the two normals (ML-VAE: Bouchacourt, Tomioka & Nowozin 2018, arXiv 1705.08841), which has
            half the variance of two equal normals. The ML-VAE takes the shared dimensions from known groups; finding
            them is the Ada-ML-VAE of the first paper, whose code doubles the variance of the product, unlike here.
    """

    requires = frozenset({"posterior"})

    def __init__(
        self, spec: DataSpec, *, beta: Schedule = fixed(1.0), average: Literal["mean", "product"] = "mean"
    ) -> None:
        super().__init__()
        if "partner" not in spec.extras:
            raise AeframeError(
                "objective weak_pairs needs pairs of samples, but these data have single samples; set pairs=true"
            )
        self.beta, self.average = beta, average

    def combine_posteriors(self, model: Model, latent: Latent, batch: Batch, *, sample: bool) -> Latent:
        partner = batch.partner() if model.training else None
        return latent if partner is None else self._pair(model, latent, partner, sample=sample)

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        reconstruction, kl = out.reconstruction, per_sample(model.prior.kl(out.latent))
        if isinstance(out.latent, PairedLatent):
            partner, latent = out.batch.partner(), out.latent.partner
            assert partner is not None
            reconstruction = (reconstruction + model.loss(model.decode(latent.z, partner), partner)) / 2
            kl = (kl + per_sample(model.prior.kl(latent))) / 2
        terms = reconstruction_terms(model, replace(out, reconstruction=reconstruction), progress)
        terms.bound = reconstruction + kl
        return terms.add("kl", kl, self.beta(progress))

    def _pair(self, model: Model, latent: Latent, partner: Batch, *, sample: bool) -> PairedLatent:
        """Return the latents of both samples, with averaged posteriors in the shared dimensions."""
        latents = (latent, model.embed(model.corruption(partner)))
        pair = [normal_posterior("weak_pairs", each) for each in latents]
        loc, scale = self._averaged(*pair)
        shared = _shared(*pair)
        posteriors = [
            Normal(torch.where(shared, loc, q.loc), torch.where(shared, scale, q.scale), validate_args=False)
            for q in pair
        ]
        zs = [q.rsample() if sample else q.loc for q in posteriors]
        one, other = (Latent(z, q.loc, posterior=q) for z, q in zip(zs, posteriors, strict=True))
        return PairedLatent(one.z, one.mean, one.posterior, terms=latent.terms, partner=other)

    def _averaged(self, one: Normal, other: Normal) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the average of two posteriors."""
        if self.average == "mean":
            return (one.loc + other.loc) / 2, ((one.variance + other.variance) / 2).sqrt()
        precisions = one.variance.reciprocal(), other.variance.reciprocal()
        total = precisions[0] + precisions[1]
        return (one.loc * precisions[0] + other.loc * precisions[1]) / total, total.rsqrt()


def _shared(one: Normal, other: Normal) -> Tensor:
    """Return True in the dimensions ``(B, *z_shape)`` where the KL of two posteriors is below its middle."""
    kl = kl_divergence(one, other)
    flat = kl.flatten(1)
    middle = (flat.amin(1) + flat.amax(1)) / 2
    return kl < middle.reshape(-1, *[1] * (kl.ndim - 1))
