"""A dictionary with thresholds: a feature speaks in full once it is above its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.dictionary import Dictionary
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class JumpReLU(Dictionary):
    """z = before where it is above a learned threshold, else 0 (Rajamanoharan et al. 2024b, arXiv 2407.14435).

    The term ``sparsity`` is the number of features that speak. Neither it nor z has a slope by a threshold, so that of
    their expectations is estimated, from the pre-activations within half a `bandwidth` of the threshold (a rectangular
    kernel): ``-threshold / bandwidth`` of z, and ``-1 / bandwidth`` of the number. The gradient by the pre-activations
    is the true one.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: How many features the dictionary has.
        sparsity: Weight of the number of features that speak: what a sample pays for each, in the unit of the
            reconstruction; a number or a schedule. The paper lets it grow from 0 at the start.
        bandwidth: Of the estimate, in the unit of the pre-activations. Narrow is unbiased, and few samples fall in it.
        threshold: Where all thresholds begin. The paper has 0.001 for it and for the bandwidth, with features whose
            mean squared norm is 1.
        auxk: Weight of the term that revives dead features, see `Dictionary`; the paper has none.
        dead_after: A feature is dead when it was silent for so many training samples.
    """

    name = "jumprelu"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 1024,
        sparsity: Schedule = fixed(0.05),
        bandwidth: float = 0.05,
        threshold: float = 0.05,
        auxk: Schedule = fixed(0.0),
        dead_after: int = 10_000,
    ) -> None:
        super().__init__(feature_shape, dim=dim, speaking=0.5, auxk=auxk, dead_after=dead_after)
        if bandwidth <= 0 or threshold <= 0:
            raise AeframeError(f"latent jumprelu needs bandwidth and threshold > 0, found {bandwidth} and {threshold}")
        self.weights["sparsity"] = sparsity
        self.bandwidth = bandwidth
        self.log_threshold = nn.Parameter(torch.full((dim,), math.log(threshold)))

    def code(self, before: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        threshold = self.log_threshold.exp()
        still = threshold.detach()
        speaks = (before > still).to(before.dtype)
        near = ((before - still).abs() < 0.5 * self.bandwidth) / self.bandwidth
        # Zero, with the kernel as its slope by the threshold.
        slope = near * (threshold - still)
        return before * speaks - still * slope, {"sparsity": (speaks - slope).sum(1)}
