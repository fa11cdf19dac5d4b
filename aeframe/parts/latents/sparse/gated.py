"""The gated dictionary: gates select the active features, magnitudes set their values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.parts.latents.sparse.dictionary import Dictionary, squared_error
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class Gated(Dictionary):
    """Gates select the active features, magnitudes set their values (Rajamanoharan et al. 2024a, arXiv 2404.16014).

    Gates and magnitudes share their weights except for one factor and one bias per feature. Only the gates are
    penalised, so that the penalty does not shrink the magnitudes. The term ``sparsity`` is the sum of the positive gate
    pre-activations. The term ``gate_reconstruction`` is the squared error of decoding these pre-activations with a
    detached dictionary; its gradient trains the gates.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        sparsity: Weight of the term ``sparsity``; a number or a schedule. It is in the unit of the reconstruction loss,
            so it depends on the data: a larger weight leaves fewer features active.
        auxk: Weight of the term that revives dead features, see `Dictionary`; the paper has none.
        dead_after: Training samples without activity after which a feature is dead.
    """

    name = "gated"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 1024,
        sparsity: Schedule = fixed(0.1),
        auxk: Schedule = fixed(0.0),
        dead_after: int = 10_000,
    ) -> None:
        super().__init__(feature_shape, dim=dim, initial_density=0.5, auxk=auxk, dead_after=dead_after)
        self.weights["sparsity"] = sparsity
        self.log_factor = nn.Parameter(torch.zeros(dim))
        self.magnitude_bias = nn.Parameter(torch.zeros(dim))

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        gates = pre_activations.relu()
        magnitudes = ((pre_activations - self.encode_bias) * self.log_factor.exp() + self.magnitude_bias).relu()
        gate_reconstruction = gates @ self.directions.detach() + self.decode_bias.detach()
        z = magnitudes * (pre_activations > 0)
        return z, {"sparsity": gates.sum(1), "gate_reconstruction": squared_error(x, gate_reconstruction)}
