"""The continuous Bernoulli likelihood, a density on [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.parts.activations import ActivationTraits
from aeframe.parts.losses.base import Loss, split_outputs
from aeframe.tensors import at_least_float32
from aeframe.types import Shape

# Taylor series are used where |h| is below this; see `ContinuousBernoulli`.
_SMALL = 0.5


class ContinuousBernoulli(Loss):
    """p(x) = C(l) l^x (1 - l)^(1 - x) on [0, 1]; the decoder's output is the logit of l (Loaiza-Ganem & Cunningham
    2019, arXiv 1907.06845).

    Without the normaliser C, the loss is the cross-entropy of ``bernoulli``, which is not a density on [0, 1]. With the
    logit eta and h = eta / 2 the loss is log(sinh(h) / h) - eta (x - 1/2). In this form it has no pole at l = 1/2 and
    is exact where l rounds to 1, unlike `torch.distributions.ContinuousBernoulli`, which is computed from l.
    """

    domains = frozenset({"unit"})

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ndim = len(shape)

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, 1.0, saturates=True)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        (logit,) = split_outputs(output, self.ndim)
        return _log_sinhc(0.5 * logit) - logit * (x.to(logit.dtype) - 0.5)

    def mean(self, output: Tensor) -> Tensor:
        half = 0.5 * split_outputs(at_least_float32(output), self.ndim)[0]
        magnitude = half.abs()
        # The derivative of log(sinh(h) / h): coth h - 1 / h, or its Taylor series near 0.
        square = magnitude.clamp(max=_SMALL).square()
        series = magnitude * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725)))
        large = magnitude.clamp(min=_SMALL)
        derivative = torch.where(magnitude < _SMALL, series, 1 / large.tanh() - 1 / large)
        return 0.5 + 0.5 * derivative.copysign(half)

    def sample(self, output: Tensor) -> Tensor:
        (logit,) = split_outputs(at_least_float32(output), self.ndim)
        # The inverse of the distribution function, measured from the end of [0, 1] with the higher density.
        magnitude = logit.abs().clamp(min=1e-4)
        minus_distance = torch.log1p(torch.rand_like(magnitude) * torch.expm1(-magnitude)) / magnitude
        return torch.where(logit >= 0, 1 + minus_distance, -minus_distance).clamp(0, 1)


def _log_sinhc(half: Tensor) -> Tensor:
    """Return log(sinh(h) / h): an even function, about h^2 / 6 near 0."""
    magnitude = half.abs()
    # The clamps keep the gradient of the branch that `where` discards finite.
    square = magnitude.clamp(max=_SMALL).square()
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))
    large = magnitude.clamp(min=_SMALL)
    return torch.where(magnitude < _SMALL, series, large + (-torch.expm1(-2 * large)).log() - (2 * large).log())
