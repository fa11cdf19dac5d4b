"""The contractive penalty: how much the code moves with x."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aeframe.batch import Pass
from aeframe.errors import AeframeError
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.parts.schedules import Schedule, fixed

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class Contractive(Penalty):
    """The squared Frobenius norm of the code's Jacobian by x (Rifai et al. 2011, ICML).

    Args:
        probes: 0 computes the norm exactly, one backward pass for each latent dimension; n > 0 estimates it without
            bias from n random directions (Hutchinson 1990), one backward pass each.
    """

    def __init__(self, *, weight: Schedule = fixed(1e-3), probes: int = 0) -> None:
        super().__init__()
        self.weight, self.probes = weight, probes

    def forward(self, model: Autoencoder, p: Pass) -> Tensor:
        if not p.seen.x.is_floating_point():
            raise AeframeError(
                f"penalty contractive needs data that can change a little, but these are {model.spec.domain}; leave it "
                "out with '~penalties.contractive', or choose the penalty decoder_gradient"
            )
        return squared_jacobian(
            lambda x: model.embed(p.seen.with_x(x)).mean, p.seen.x, probes=self.probes, training=model.training
        )
