"""The JumpReLU dictionary: a feature is active where its pre-activation exceeds a learned threshold."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.dictionary import Dictionary
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class JumpReLU(Dictionary):
    """z is the pre-activation where it exceeds a learned threshold, else 0 (Rajamanoharan et al. 2024b, arXiv
    2407.14435).

    The term ``sparsity`` is the number of active features. It and z are step functions of the threshold, without a
    gradient. The gradient of their expectation is estimated by a rectangular kernel, from the pre-activations within
    half a `bandwidth` of the threshold: ``-threshold / bandwidth`` for z, and ``-1 / bandwidth`` for the number. The
    gradient with respect to the pre-activations is exact.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        sparsity: Weight of the term ``sparsity``, the cost of each active feature in the unit of the reconstruction
            loss; a number or a schedule. The paper increases it from 0.
        bandwidth: Width of the kernel, in the unit of the pre-activations. A narrower kernel has less bias, and fewer
            samples fall into it.
        threshold: Initial value of all thresholds. The paper uses 0.001 for it and for the bandwidth, with features of
            mean squared norm 1.
        auxk: Weight of the term that revives dead features, see `Dictionary`; the paper has none.
        dead_after: Training samples without activity after which a feature is dead.
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
        super().__init__(feature_shape, dim=dim, initial_density=0.5, auxk=auxk, dead_after=dead_after)
        if bandwidth <= 0 or threshold <= 0:
            raise AeframeError(f"latent jumprelu needs bandwidth and threshold > 0, found {bandwidth} and {threshold}")
        self.weights["sparsity"] = sparsity
        self.bandwidth = bandwidth
        self.log_threshold = nn.Parameter(torch.full((dim,), math.log(threshold)))

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        threshold = self.log_threshold.exp()
        detached = threshold.detach()
        active = (pre_activations > detached).to(pre_activations.dtype)
        kernel = ((pre_activations - detached).abs() < 0.5 * self.bandwidth) / self.bandwidth
        # The value of this tensor is 0, and its gradient with respect to the threshold is the kernel.
        surrogate = kernel * (threshold - detached)
        return pre_activations * active - detached * surrogate, {"sparsity": (active - surrogate).sum(1)}
