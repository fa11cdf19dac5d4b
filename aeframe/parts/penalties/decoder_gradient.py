"""The decoder-gradient penalty: the size of the decoder's Jacobian with respect to z."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.penalties.base import Penalty
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import ForwardOutput, Model


class DecoderGradient(Penalty):
    """The squared Frobenius norm of the decoder's Jacobian with respect to z, at the code of each sample (RAE-GP: Ghosh
    et al. 2020, arXiv 1903.12436).

    The Jacobian is that of the decoder's raw output, before the loss applies an activation. The encoder receives no
    gradient, so that it cannot move codes to where the decoder is flat.

    Args:
        probes: n > 0 estimates the norm without bias from n random directions of the output (Hutchinson 1990), with one
            backward pass each. 0 computes it exactly, with one backward pass for each latent dimension.
    """

    def __init__(self, *, weight: Schedule = fixed(1e-3), probes: int = 1) -> None:
        super().__init__()
        self.weight, self.probes = weight, probes

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        return squared_jacobian(
            lambda z: model.decode(z, out.batch), out.latent.mean, probes=self.probes, training=model.training
        )
