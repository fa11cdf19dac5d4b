"""What every metric is: a torchmetrics `Metric` that is fed with a pass through the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor
from torchmetrics import Metric

from aeframe.types import ForwardOutput

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class ModelMetric(Metric):
    """A measurement on held-out data, with sums as states so that devices add up exactly.

    `applies` says whether the model can be measured so (a quantiser has codebook use, a VAE active units). `drawn` says
    that it measures an expectation over the posterior, and takes in the pass of which the bound is made: with z drawn
    where there is a posterior, and as many importance samples as the objective asks for.
    """

    full_state_update = False
    drawn: ClassVar[bool] = False

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        """Say whether this can be measured on `model`; metrics that do not apply are left out."""
        return True

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        """Take in one pass, with ``z = mean`` unless `drawn`: the reconstruction is ``model.loss.mean(out.output)``."""
        raise NotImplementedError

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return one number, or several by name."""
        raise NotImplementedError
