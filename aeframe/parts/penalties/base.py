"""What every penalty is: an extra term with a weight of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from aeframe.batch import Pass
from aeframe.parts.schedules import Schedule

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class Penalty(nn.Module):
    """One extra term. Every penalty has an option ``weight: Schedule``."""

    weight: Schedule
    batch_term: ClassVar[bool] = False
    """Whether it compares the samples of a batch with each other, so that it is no sample's own."""

    def forward(self, model: Autoencoder, p: Pass) -> Tensor:
        """Return ``(B,)``: the penalty of each sample, raw; the house applies the weight."""
        raise NotImplementedError
