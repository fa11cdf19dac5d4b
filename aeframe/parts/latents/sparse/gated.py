"""A dictionary with gates: who speaks is decided apart from how loudly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.parts.latents.sparse.dictionary import Dictionary, squared_error
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class Gated(Dictionary):
    """Gates decide who speaks, magnitudes how loudly (Rajamanoharan et al. 2024a, arXiv 2404.16014).

    The two paths share their weights but for one factor and one bias for each feature. Only the gates are penalised,
    so that what speaks is not made quieter than it should be: ``sparsity`` is the sum of their positive
    pre-activations, and ``gate_reconstruction`` the squared error of what these would decode to, with the dictionary
    standing still, by which the gates learn.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: How many features the dictionary has.
        sparsity: Weight of the gates' sum; a number or a schedule. It is in the unit of the reconstruction, so it
            depends on the data: the larger it is, the fewer features speak.
        auxk: Weight of the term that revives dead features, see `Dictionary`; the paper has none.
        dead_after: A feature is dead when it was silent for so many training samples.
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
        super().__init__(feature_shape, dim=dim, speaking=0.5, auxk=auxk, dead_after=dead_after)
        self.weights["sparsity"] = sparsity
        self.log_factor = nn.Parameter(torch.zeros(dim))
        self.magnitude_bias = nn.Parameter(torch.zeros(dim))

    def code(self, before: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        gates = before.relu()
        magnitudes = ((before - self.encode_bias) * self.log_factor.exp() + self.magnitude_bias).relu()
        decoded = gates @ self.directions.detach() + self.decode_bias.detach()
        return magnitudes * (before > 0), {"sparsity": gates.sum(1), "gate_reconstruction": squared_error(x, decoded)}
