"""The evidence lower bound, with the variants that weight or constrain its KL."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.devices import mean_over_batch
from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, reconstruction_terms
from aeframe.parts.schedules import Constant, Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class Elbo(Objective):
    """Minimise reconstruction + beta * KL(q(z|x) || p(z)), in nats (Kingma & Welling 2014, arXiv 1312.6114).

    Args:
        beta: Weight of the KL (Higgins et al. 2017); a number or a schedule.
        free_bits: Nats per latent dimension without cost: a dimension whose KL, averaged over the batch, is below this
            counts as this constant, without gradient (Kingma et al. 2016, arXiv 1606.04934). The paper applies this
            minimum to groups of dimensions; here each dimension is a group.
        capacity: Target of the KL in nats: ``|KL - C|`` is minimised instead of the KL (Burgess et al. 2018,
            arXiv 1804.03599); a number or a schedule. Null leaves it out.
        class_capacity: Target of the KL of the categorical variables of ``latent=joint``; `capacity` is then the target
            for its continuous variables only (Dupont 2018, arXiv 1804.00104). A number or a schedule. Null takes
            `capacity` as the target for the KL of all variables together.
        balance: In training while beta is below 1, weight the KL of each group of latent variables of a hierarchy in
            proportion to its mean over the batch and the group's dimensions, so that a large KL counts more; the mean
            weight is 1 (Vahdat & Kautz 2020, arXiv 2007.03898, appendix A). The paper multiplies by a group's size
            where the authors' code divides by it; this follows the code (github.com/NVlabs/NVAE, issue 26).
    """

    bounds_likelihood = True
    requires = frozenset({"posterior"})

    def __init__(
        self,
        *,
        beta: Schedule = fixed(1.0),
        free_bits: Schedule = fixed(0.0),
        capacity: Schedule | None = None,
        class_capacity: Schedule | None = None,
        balance: bool = False,
    ) -> None:
        super().__init__()
        has_free_bits = not (isinstance(free_bits, Constant) and free_bits.value == 0)
        variants = {"free_bits": has_free_bits, "capacity": capacity is not None, "balance": balance}
        chosen = [name for name, is_set in variants.items() if is_set]
        if len(chosen) > 1:
            raise AeframeError(f"objective elbo takes {chosen[0]} or {chosen[1]}, not both; leave one at its default")
        if class_capacity is not None and capacity is None:
            raise AeframeError("objective elbo takes class_capacity beside capacity; set objective.capacity as well")
        self.beta, self.free_bits, self.capacity, self.balance = beta, free_bits, capacity, balance
        self.class_capacity = class_capacity

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        terms = reconstruction_terms(model, out, progress)
        kl_by_dimension = model.prior.kl(out.latent)
        kl = per_sample(kl_by_dimension)
        terms.bound = out.reconstruction + kl
        beta, free_bits = self.beta(progress), self.free_bits(progress)
        if self.capacity is not None:
            # With weight 0 the KL is only logged, here and below; another term replaces it in the loss.
            terms.add("kl", kl, 0.0)
            if self.class_capacity is not None:
                if model.latent.num_continuous is None:
                    raise AeframeError(
                        "objective elbo takes class_capacity for latents of numbers and classes only; choose "
                        "latent=joint, or leave class_capacity at null"
                    )
                class_kl = per_sample(kl_by_dimension[:, model.latent.num_continuous :])
                terms.add("classes_from_capacity", (class_kl - self.class_capacity(progress)).abs(), beta)
                kl = kl - class_kl
            return terms.add("kl_from_capacity", (kl - self.capacity(progress)).abs(), beta)
        if self.balance and not model.latent.groups:
            raise AeframeError(
                "objective elbo with balance=true requires a latent with groups, but this one has none; "
                "set balance=false"
            )
        if self.balance and beta < 1 and model.training:
            terms.add("kl", kl, 0.0)
            return terms.add("kl_balanced", _balanced_kl(kl_by_dimension, model.latent.groups), beta)
        if free_bits > 0:
            terms.add("kl", kl, 0.0)
            return terms.add("kl_free_bits", _with_free_bits(kl_by_dimension, free_bits), beta)
        return terms.add("kl", kl, beta)


def _balanced_kl(kl_by_dimension: Tensor, group_sizes: tuple[int, ...]) -> Tensor:
    """Return ``(B,)``: the weighted sum of the groups' KLs, with weights from the batch of all devices."""
    kl_by_group = kl_by_dimension.flatten(1).split(group_sizes, dim=1)
    # The small constant makes the weights equal where every KL is zero, as it may be before training.
    means = mean_over_batch(torch.stack([kl.mean() for kl in kl_by_group])).clamp(min=0) + 1e-6
    return (torch.stack([kl.sum(1) for kl in kl_by_group], dim=1) * (means / means.mean())).sum(1)


def _with_free_bits(kl_by_dimension: Tensor, free_bits: float) -> Tensor:
    """Return ``(B,)``: the sum over dimensions of the KL, or of `free_bits` where its mean over the batch is smaller.

    In the other dimensions each sample keeps its own KL. The mean of the result over the batch is therefore the paper's
    sum over dimensions of max(`free_bits`, mean KL). The mean is over all devices, so that their number does not change
    the loss.
    """
    below = mean_over_batch(kl_by_dimension.mean(0, keepdim=True)) < free_bits
    return per_sample(kl_by_dimension.masked_fill(below, free_bits))
