"""The JumpReLU dictionary: a feature is active where its pre-activation exceeds a learned threshold."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.penalised import PenalisedDictionary
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape

_START = 0.1
"""The weight at which the controller of L0 starts, times `target_l0`, in the unit of the option `sparsity`."""
_RATE = 0.05
"""Change of the logarithm of all thresholds per batch, for an error of 1."""
_WEIGHT_EXPONENT = 5.0
"""Change of the logarithm of the weight, for a change of the logarithm of all thresholds by 1."""
_LEAST_THRESHOLD = 0.05
"""The lowest initial threshold, in standard deviations of the pre-activations."""


class JumpReLU(PenalisedDictionary):
    """z is the pre-activation where it exceeds a learned threshold, else 0 (Rajamanoharan et al. 2024b, arXiv
    2407.14435).

    The term ``sparsity`` is the number of active features times the variance of x. The number and z are step functions
    of the threshold, without a gradient. The gradient of their expectation is estimated by a rectangular kernel, from
    the pre-activations within half a bandwidth of the threshold: ``-threshold / bandwidth`` for z, and
    ``-1 / bandwidth`` for the number. The gradient with respect to the pre-activations is exact. The paper has no
    term that revives dead features.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        target_l0: L0, the mean number of active features of a training sample. A controller moves all thresholds
            together so that it is reached (see `L0Controller`), and the weight of the term ``sparsity`` with them:
            while it is too small, the thresholds fall, and the controller raises both. The logged term contains this
            weight. null for a weight of your own.
        sparsity: Weight of the term ``sparsity`` instead, a number or a schedule: the cost of an active feature as a
            fraction of the variance of x, summed over its dimensions; about 1e-4 to 1e-2. It does not depend on the
            scale of the data. The paper increases it from 0.
        bandwidth: Width of the kernel, in standard deviations of the pre-activations at initialisation. A narrower
            kernel has less bias, and fewer samples fall into it. The paper's is as wide as its thresholds are high.
        threshold: Initial value of all thresholds, in the same unit; null is the one at which `target_l0` features are
            expected to be active, or 1 without a target.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: Training samples without activity after which a feature is dead.
    """

    name = "jumprelu"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 1024,
        target_l0: float | None = 32.0,
        sparsity: Schedule | None = None,
        bandwidth: float = 1.0,
        threshold: float | None = None,
        auxk: Schedule = fixed(1 / 32),
        dead_after: int = 10_000,
    ) -> None:
        if bandwidth <= 0 or (threshold is not None and threshold <= 0):
            found = f"{bandwidth:g} and {threshold}"
            raise AeframeError(f"latent jumprelu needs bandwidth and threshold > 0, found {found}")
        super().__init__(
            feature_shape, dim=dim, target_l0=target_l0, sparsity=sparsity, rate=_RATE, auxk=auxk, dead_after=dead_after
        )
        self.bandwidth = self.scale * bandwidth
        if threshold is None:
            # Where half of the features or more are to be active, this is 0, which has no logarithm.
            threshold = 1.0 if target_l0 is None else max(self.initial_threshold / self.scale, _LEAST_THRESHOLD)
        start = self.scale * threshold
        self.log_threshold = nn.Parameter(torch.full((dim,), math.log(start)))

    def threshold(self) -> Tensor:
        """Return the thresholds, ``(D,)``."""
        if self.controller is None:
            return self.log_threshold.exp()
        return (self.log_threshold + self.controller.level).exp()

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        threshold = self.threshold()
        detached = threshold.detach()
        is_active = pre_activations > detached
        active = is_active.to(pre_activations.dtype)
        kernel = ((pre_activations - detached).abs() < 0.5 * self.bandwidth) / self.bandwidth
        # The value of this tensor is 0, and its gradient with respect to the threshold is the kernel.
        surrogate = kernel * (threshold - detached)
        z = pre_activations * active - detached * surrogate
        sparsity = x.shape[1] * (active - surrogate).sum(1)
        if self.controller is not None:
            sparsity = sparsity * _START / self.controller.target * (_WEIGHT_EXPONENT * self.controller.level).exp()
            if self.updates_buffers(z):
                self.controller.update(is_active)
        return z, {"sparsity": sparsity}
