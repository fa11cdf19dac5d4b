"""The maximum mean discrepancy: a kernel's distance of the codes from the prior."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, is_needed, reconstruction_terms, rows_compared
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class MaximumMeanDiscrepancy(Objective):
    """Minimise reconstruction + weight * MMD^2(q(z), p(z)), and a KL where one is asked for.

    Without the KL it is the Wasserstein autoencoder (Tolstikhin et al. 2018, arXiv 1711.01558), with it the InfoVAE
    (Zhao, Song & Ermon 2019, arXiv 1706.02262), whose alpha and lambda are ``beta = 1 - alpha`` and
    ``weight = alpha + lambda - 1``. MMD^2 is the estimate without bias: no sample is compared with itself, so that
    it is below zero half of the time where the codes have reached the prior. A sample's share of it is what its own
    code and one draw of the prior add, and the mean of the shares is the estimate. Distances are Euclidean.

    Args:
        weight: Of MMD^2; a number or a schedule.
        beta: Weight of KL(q(z|x) || p(z)); a number or a schedule. Null leaves it out, and out of the bound.
        kernel: ``imq``: C / (C + |a - b|^2), whose tails still pull at codes far away. ``rbf``: exp(-|a - b|^2 / C).
        scales: C in units of 2 * D, the mean squared distance of two draws of N(0, I) in D dimensions; the kernel is
            the mean over all of them (the paper's code takes the sum).
    """

    batch_terms = frozenset({"mmd"})
    scales: Tensor
    """``(S, 1, 1)``."""

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
            raise AeframeError(f"objective mmd needs scales above 0, at least one, found {list(scales)}")
        self.weight, self.beta, self.kernel = weight, beta, kernel
        self.register_buffer("scales", torch.tensor(scales)[:, None, None], persistent=False)

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        terms = reconstruction_terms(model, out, progress)
        if self.beta is not None:
            kl = per_sample(model.prior.kl(out.latent))
            terms.bound = out.reconstruction + kl
            terms.add("kl", kl, self.beta(progress))
        weight = self.weight(progress)
        if not is_needed(model, weight):
            return terms
        z, own = rows_compared(model, out.latent.z)
        drawn, _ = rows_compared(model, model.prior.sample(len(out.latent.z)))
        return terms.add("mmd", self._shares(z, drawn, own), weight)

    def _shares(self, z: Tensor, drawn: Tensor, own: slice) -> Tensor:
        """Return the own rows' shares of MMD^2 between two sets ``(N, D)``."""
        others = max(len(z) - 1, 1)
        within = (self._compare(z[own], z).sum(1) - 1 + self._compare(drawn[own], drawn).sum(1) - 1) / others
        return within - 2 * self._compare(z[own], drawn).mean(1)

    def _compare(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the kernel of each pair, ``(A, D)`` and ``(B, D)`` -> ``(A, B)``: 1 for a point and itself."""
        scales = 2 * a.shape[1] * self.scales
        ratio = torch.cdist(a, b).square() / scales
        return ((1 + ratio).reciprocal() if self.kernel == "imq" else (-ratio).exp()).mean(0)
