"""The maximum mean discrepancy: a kernel distance between the codes and the prior."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, gather_rows, is_computed, reconstruction_terms
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class MaximumMeanDiscrepancy(Objective):
    """Minimise reconstruction + weight * MMD^2(q(z), p(z)), and optionally a KL.

    Without the KL it is the Wasserstein autoencoder (Tolstikhin et al. 2018, arXiv 1711.01558), with it the InfoVAE
    (Zhao, Song & Ermon 2019, arXiv 1706.02262), whose alpha and lambda are ``beta = 1 - alpha`` and
    ``weight = alpha + lambda - 1``.

    MMD^2 is estimated without bias: no sample is compared with itself. The estimate can therefore be negative, about
    half of the time if the codes follow the prior. The loss term of a sample is the contribution of its code and of one
    draw from the prior; its mean over the batch is the estimate. Distances are Euclidean.

    Args:
        weight: Weight of MMD^2; a number or a schedule.
        beta: Weight of KL(q(z|x) || p(z)); a number or a schedule. Null leaves it out, also out of the bound.
        kernel: ``imq``: C / (C + |a - b|^2), which has heavy tails, so that distant codes still have a gradient.
            ``rbf``: exp(-|a - b|^2 / C).
        scales: C in units of 2 * D, the mean squared distance of two draws of N(0, I) in D dimensions. The kernel is
            the mean over all scales; the code of Tolstikhin et al. takes the sum.
    """

    batch_terms = frozenset({"mmd"})
    scales: Tensor
    """``(S, 1, 1)``: the option `scales`."""

    def __init__(
        self,
        *,
        weight: Schedule = fixed(100.0),
        beta: Schedule | None = None,
        kernel: Literal["imq", "rbf"] = "imq",
        scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise AeframeError(f"objective mmd needs one or more scales above 0, found {list(scales)}")
        self.weight, self.beta, self.kernel = weight, beta, kernel
        self.bounds_likelihood = beta is not None
        self.register_buffer("scales", torch.tensor(scales)[:, None, None], persistent=False)

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        terms = reconstruction_terms(model, out, progress)
        if self.beta is not None:
            kl = per_sample(model.prior.kl(out.latent))
            terms.bound = out.reconstruction + kl
            terms.add("kl", kl, self.beta(progress))
        weight = self.weight(progress)
        if not is_computed(model, weight):
            return terms
        z, local = gather_rows(out.latent.z)
        prior_samples, _ = gather_rows(model.prior.sample(len(out.latent.z)))
        return terms.add("mmd", self._contributions(z, prior_samples, local), weight)

    def _contributions(self, z: Tensor, prior_samples: Tensor, local: slice) -> Tensor:
        """Return ``(B,)``: the contribution of each row of this device to MMD^2 between two sets ``(N, D)``.

        `local` is the slice of this device's rows among the N of all devices.
        """
        num_others = max(len(z) - 1, 1)
        # Minus 1: the kernel of a row with itself.
        within = self._kernel_matrix(z[local], z).sum(1) - 1
        within = (within + self._kernel_matrix(prior_samples[local], prior_samples).sum(1) - 1) / num_others
        return within - 2 * self._kernel_matrix(z[local], prior_samples).mean(1)

    def _kernel_matrix(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ``(A, B)``: the kernel of each pair of rows of ``(A, D)`` and ``(B, D)``."""
        scales = 2 * a.shape[1] * self.scales
        ratio = torch.cdist(a, b).square() / scales
        return ((1 + ratio).reciprocal() if self.kernel == "imq" else (-ratio).exp()).mean(0)
