"""The deterministic objective: reconstruct, and pay what the latent asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from aeframe.batch import Clock, Pass, Terms, spread
from aeframe.parts.objectives.base import Objective, reconstruction_terms

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class Deterministic(Objective):
    """Minimise the reconstruction and the latent's own terms; there is no prior in it.

    Args:
        counts: What the reconstruction counts: ``all`` of x, or what the corruption has ``hidden`` only, as a masked
            autoencoder does (He et al. 2022, arXiv 2111.06377). Where nothing was hidden, as in held-out samples that
            are not corrupted, it counts all.
    """

    def __init__(self, *, counts: Literal["all", "hidden"] = "all") -> None:
        super().__init__()
        self.counts = counts

    def forward(self, model: Autoencoder, p: Pass, clock: Clock) -> Terms:
        hidden = p.seen.extras.get("hidden")
        if self.counts == "hidden" and hidden is not None:
            mask = hidden if p.batch.mask is None else hidden & spread(p.batch.mask, hidden.ndim)
            p = replace(p, reconstruction=model.loss(p.output, replace(p.batch, mask=mask)))
        return reconstruction_terms(model, p, clock)
