"""The deterministic objective: reconstruct, and pay what the latent asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeframe.batch import Clock, Pass, Terms
from aeframe.parts.objectives.base import Objective, reconstruction_terms

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class Deterministic(Objective):
    """Minimise the reconstruction and the latent's own terms; there is no prior in it."""

    def forward(self, model: Autoencoder, p: Pass, clock: Clock) -> Terms:
        return reconstruction_terms(model, p, clock)
