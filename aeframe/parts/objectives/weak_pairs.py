"""Weak supervision by pairs of samples that share some factors of variation; which ones is unknown."""

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
    posteriors in the shared dimensions. The paper adds the bounds of the two samples; its code takes their mean, as
    done here, so that the loss is per sample. Held-out samples have no partner: their loss has the terms of one
    sample.

    Args:
        beta: The KL's weight; a number or a schedule.
        average: ``mean`` averages means and variances (Ada-GVAE; Hosoya 2019, arXiv 1809.02383). ``product`` is the
            normalised product of the two normals (ML-VAE: Bouchacourt, Tomioka & Nowozin 2018, arXiv 1705.08841); for
            two equal normals it has half their variance. The ML-VAE takes the shared dimensions from known groups.
            Found from the KL, as here, they make the Ada-ML-VAE of Locatello et al.; their code doubles the variance
            of the product, unlike here.
    """

    bounds_likelihood = True
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
            partner, partner_latent = out.batch.partner(), out.latent.partner
            assert partner is not None
            reconstruction = (reconstruction + model.loss(model.decode(partner_latent.z, partner), partner)) / 2
            kl = (kl + per_sample(model.prior.kl(partner_latent))) / 2
        terms = reconstruction_terms(model, replace(out, reconstruction=reconstruction), progress)
        terms.bound = reconstruction + kl
        return terms.add("kl", kl, self.beta(progress))

    def _pair(self, model: Model, latent: Latent, partner: Batch, *, sample: bool) -> PairedLatent:
        """Return the latents of both samples, with averaged posteriors in the shared dimensions."""
        latents = (latent, model.embed(model.corruption(partner)))
        original = [normal_posterior("weak_pairs", sample_latent) for sample_latent in latents]
        loc, scale = self._averaged(*original)
        shared = _shared(*original)
        posteriors = [
            Normal(torch.where(shared, loc, q.loc), torch.where(shared, scale, q.scale), validate_args=False)
            for q in original
        ]
        zs = [q.rsample() if sample else q.loc for q in posteriors]
        (z, partner_z), (q, partner_q) = zs, posteriors
        return PairedLatent(
            z=z,
            mean=q.loc,
            posterior=q,
            terms=latent.terms,
            partner=Latent(partner_z, partner_q.loc, posterior=partner_q),
        )

    def _averaged(self, first: Normal, second: Normal) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the average of two posteriors."""
        if self.average == "mean":
            return (first.loc + second.loc) / 2, ((first.variance + second.variance) / 2).sqrt()
        precisions = first.variance.reciprocal(), second.variance.reciprocal()
        total = precisions[0] + precisions[1]
        return (first.loc * precisions[0] + second.loc * precisions[1]) / total, total.rsqrt()


def _shared(first: Normal, second: Normal) -> Tensor:
    """Return ``(B, *z_shape)``: True where the KL of two posteriors is below the middle of its range."""
    kl = kl_divergence(first, second)
    flat = kl.flatten(1)
    middle = (flat.amin(1) + flat.amax(1)) / 2
    return kl < middle.reshape(-1, *[1] * (kl.ndim - 1))
