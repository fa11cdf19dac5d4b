"""The contractive penalty: the size of the code's Jacobian with respect to x."""

from __future__ import annotations

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.penalties.jacobian import squared_jacobian
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import ForwardOutput, Model


class Contractive(Penalty):
    """The squared Frobenius norm of the code's Jacobian with respect to x (Rifai et al. 2011, ICML).

    Args:
        probes: 0 computes the norm exactly, with one backward pass for each latent dimension. n > 0 estimates it
            without bias from n random directions (Hutchinson 1990), with one backward pass each.
    """

    def __init__(self, *, weight: Schedule = fixed(1e-3), probes: int = 0) -> None:
        super().__init__()
        self.weight, self.probes = weight, probes

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        if model.spec.domain.has_classes:
            raise AeframeError(
                f"penalty contractive needs continuous data, but these are {model.spec.domain.kind}; leave it out with "
                "'~penalties.contractive', or choose the penalty decoder_gradient"
            )
        return squared_jacobian(
            lambda x: model.embed(out.encoder_input.with_x(x)).mean,
            out.encoder_input.x,
            probes=self.probes,
            training=model.training,
        )
