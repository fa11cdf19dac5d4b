"""The slope of the decoder: how much its output moves with z."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.penalties.base import Penalty
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import ForwardOutput, Model


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

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        return squared_jacobian(
            lambda z: model.decode(z, out.batch), out.latent.mean, probes=self.probes, training=model.training
        )
