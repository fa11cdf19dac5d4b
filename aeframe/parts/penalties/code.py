"""Penalties on the code's own values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aeframe.batch import Pass, per_sample
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.schedules import Schedule, fixed

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class L1(Penalty):
    """The sum of |z| over a sample's code (Ng 2011, CS294A lecture notes)."""

    def __init__(self, *, weight: Schedule = fixed(1e-3)) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, model: Autoencoder, p: Pass) -> Tensor:
        return per_sample(p.latent.mean.abs())
