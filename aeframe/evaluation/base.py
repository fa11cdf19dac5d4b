"""What every metric is: a torchmetrics `Metric` that is fed with a pass through the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torchmetrics import Metric

from aeframe.batch import Pass

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class PassMetric(Metric):
    """A measurement on held-out data, with sums as states so that devices add up exactly.

    `applies` says whether the model can be measured so (a quantiser has codebook use, a VAE active units).
    """

    full_state_update = False

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        """Say whether this can be measured on `model`; metrics that do not apply are left out."""
        return True

    def update(self, model: Autoencoder, p: Pass) -> None:
        """Take in one pass made with ``z = mean``: the reconstruction is ``model.loss.mean(p.output)``."""
        raise NotImplementedError

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return one number, or several by name."""
        raise NotImplementedError
