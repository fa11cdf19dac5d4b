"""The slope of the decoder: how much its output moves with z."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aeframe.batch import Pass
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.parts.schedules import Schedule, fixed

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class DecoderGradient(Penalty):
    """The squared Frobenius norm of the decoder's Jacobian by z, at the code of each sample (RAE-GP: Ghosh et al.
    2020, arXiv 1903.12436).

    The output is what the decoder gives to the loss, before the loss bounds it. The penalty is on the decoder alone:
    the encoder gets no gradient from it, and learns no flat places to go to.

    Args:
        probes: n > 0 estimates the norm without bias from n random directions of the output (Hutchinson 1990), one
            backward pass each; 0 computes it exactly, one backward pass for each latent dimension.
    """

    def __init__(self, *, weight: Schedule = fixed(1e-3), probes: int = 1) -> None:
        super().__init__()
        self.weight, self.probes = weight, probes

    def forward(self, model: Autoencoder, p: Pass) -> Tensor:
        return squared_jacobian(
            lambda z: model.decode(z, p.batch), p.latent.mean, probes=self.probes, training=model.training
        )
