"""The sliced Wasserstein distance: codes and draws of the prior, compared in order along random lines."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, is_needed, reconstruction_terms, rows_compared
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class SlicedWasserstein(Objective):
    """Minimise reconstruction + weight * SW_2^2(q(z), p(z)) (Kolouri et al. 2019, arXiv 1804.01947).

    On a line the Wasserstein distance has a closed form: the i-th smallest of one set goes to the i-th smallest of the
    other. A sample's share is the square of how far its own code goes, the mean over the lines; the mean over the batch
    is the estimate, in squared units of z.

    Args:
        weight: Of the distance; a number or a schedule.
        lines: How many directions are drawn for each batch, evenly on the sphere.
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
        if not is_needed(model, weight):
            return terms
        z, own = rows_compared(model, out.latent.z)
        drawn, _ = rows_compared(model, model.prior.sample(len(out.latent.z)))
        return terms.add("sliced", self._squares(z, drawn)[own], weight)

    def _squares(self, z: Tensor, drawn: Tensor) -> Tensor:
        """Return how far each row of z goes to reach its place among those drawn: ``(N, D)`` twice -> ``(N,)``."""
        directions = F.normalize(torch.randn(self.lines, z.shape[1], device=z.device)).T
        along = z @ directions
        places = (drawn @ directions).sort(0).values
        return (along - torch.empty_like(places).scatter(0, along.argsort(0), places)).square().mean(1)
