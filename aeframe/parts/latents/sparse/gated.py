"""The gated dictionary: gates select the active features, magnitudes set their values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aeframe.parts.latents.sparse.dictionary import squared_error
from aeframe.parts.latents.sparse.penalised import PenalisedDictionary
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape

_START = 0.1
"""The weight at which the controller of L0 starts, in the unit of the option `sparsity`."""
_RATE = 0.02
"""Change of the logarithm of the weight per batch, for an error of 1."""
_PROPORTIONAL = 2.0
"""Change of the logarithm of the weight in a batch with an error of 1. It damps the controller, since L0 follows the
weight over tens to hundreds of batches."""


class Gated(PenalisedDictionary):
    """Gates select the active features, magnitudes set their values (Rajamanoharan et al. 2024a, arXiv 2404.16014).

    Gates and magnitudes share their weights except for one factor and one bias per feature. Only the gates are
    penalised, so that the penalty does not shrink the magnitudes. The term ``sparsity`` is the sum of the positive gate
    pre-activations, in the paper's unit times the variance of x: for standardised x of F dimensions it is
    unit^2 sqrt(F) times the sum. The term ``gate_reconstruction`` is the squared error of decoding these
    pre-activations with a detached dictionary; its gradient trains the gates. With `target_l0` the biases of the gates
    start where this number of features is expected to be active. Dead features are revived through their
    pre-activations without this bias (see `Dictionary`); its gradient lowers their gates. The paper has no such term.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        target_l0: L0, the mean number of active features of a training sample; a controller sets the weight of the term
            ``sparsity`` so that it is reached (see `L0Controller`), and the logged term contains this weight. null
            for a weight of your own.
        sparsity: Weight of the term ``sparsity`` instead, a number or a schedule; about 0.03 to 1. Its unit is the
            paper's, for x of variance 1, summed over the dimensions: it does not depend on the scale of the data.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: Training samples without activity after which a feature is dead.
    """

    name = "gated"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 1024,
        target_l0: float | None = 32.0,
        sparsity: Schedule | None = None,
        auxk: Schedule = fixed(1 / 32),
        dead_after: int = 10_000,
    ) -> None:
        super().__init__(
            feature_shape, dim=dim, target_l0=target_l0, sparsity=sparsity, rate=_RATE, auxk=auxk, dead_after=dead_after
        )
        nn.init.constant_(self.encode_bias, -self.initial_threshold)
        self.log_factor = nn.Parameter(torch.zeros(dim))
        self.magnitude_bias = nn.Parameter(torch.zeros(dim))

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        gates = pre_activations.relu()
        magnitudes = ((pre_activations - self.encode_bias) * self.log_factor.exp() + self.magnitude_bias).relu()
        gate_reconstruction = gates @ self.directions.detach() + self.decode_bias.detach()
        z = magnitudes * (pre_activations > 0)
        sparsity = math.sqrt(x.shape[1]) * gates.sum(1)
        if self.controller is not None:
            error = self.controller.update(z > 0) if self.updates_buffers(z) else 0.0
            sparsity = sparsity * _START * (self.controller.level + _PROPORTIONAL * error).exp()
        return z, {"sparsity": sparsity, "gate_reconstruction": squared_error(x, gate_reconstruction)}

    def revival_pre_activations(self, pre_activations: Tensor) -> Tensor:
        # Not the gates, which are closed. The value is without their bias, and the gradient reaches it.
        return pre_activations - self.encode_bias.detach()
