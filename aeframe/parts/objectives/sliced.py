"""The sliced Wasserstein distance: codes and draws from the prior, compared along random lines."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.batch_noise import common_draws
from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, gather_rows, is_computed, reconstruction_terms
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class SlicedWasserstein(Objective):
    """Minimise reconstruction + weight * SW_2^2(q(z), p(z)) (Kolouri et al. 2019, arXiv 1804.01947).

    In one dimension, optimal transport maps the i-th smallest value of one set to the i-th smallest of the other. The
    loss term of a sample is the squared transport distance of its code, averaged over random lines. Its mean over the
    batch is the estimate of SW_2^2, in squared units of z.

    Args:
        weight: Weight of the distance; a number or a schedule.
        lines: Number of random lines, drawn for each batch with directions uniform on the sphere.
    """

    batch_terms = frozenset({"sliced"})

    def __init__(self, *, weight: Schedule = fixed(10.0), lines: int = 50) -> None:
        super().__init__()
        if lines < 1:
            raise AeframeError(f"objective sliced needs lines of at least 1, found {lines}")
        self.weight, self.lines = weight, lines

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        terms = reconstruction_terms(model, out, progress)
        weight = self.weight(progress)
        if not is_computed(model, weight):
            return terms
        z, local = gather_rows(out.latent.z)
        prior_samples, _ = gather_rows(model.prior.sample(len(out.latent.z)))
        return terms.add("sliced", self._squared_distances(z, prior_samples)[local], weight)

    def _squared_distances(self, z: Tensor, prior_samples: Tensor) -> Tensor:
        """Return ``(N,)``: the mean squared transport distance of each row of z ``(N, D)`` to ``(N, D)`` samples."""
        with common_draws():
            directions = F.normalize(torch.randn(self.lines, z.shape[1], device=z.device)).T
        projected = z @ directions
        sorted_samples = (prior_samples @ directions).sort(0).values
        # For each row of z and each line, the prior sample of the same rank.
        targets = torch.empty_like(sorted_samples).scatter(0, projected.argsort(0), sorted_samples)
        return (projected - targets).square().mean(1)
