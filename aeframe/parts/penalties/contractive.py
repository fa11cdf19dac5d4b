"""The contractive penalty: how much the code moves with x."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.batch import Pass, per_sample
from aeframe.parts.penalties.base import Penalty
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
        x = p.seen.x.detach().requires_grad_()
        # In evaluation gradients are off around us, but this term is one of them.
        with torch.enable_grad():
            code = model.embed(p.seen.with_x(x)).mean.flatten(1)
            if self.probes == 0:
                directions = [column.expand_as(code) for column in torch.eye(code.shape[1], device=x.device)]
            else:
                directions = [torch.randn_like(code) for _ in range(self.probes)]
            norm = x.new_zeros(len(x))
            for direction in directions:
                (gradient,) = torch.autograd.grad(code, x, direction, create_graph=True)
                norm = norm + per_sample(gradient.square())
        return norm / max(1, self.probes)
