"""Distances between x and the decoder's output."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits
from aeframe.parts.losses.base import BoundedMean, Loss, heads
from aeframe.tensors import at_least_float32, per_sample
from aeframe.types import Batch, Shape


class Distance(BoundedMean):
    """A loss with one output, the reconstruction itself, after an `activation` that bounds it.

    Null is the identity; sigmoid suits data in [0, 1], tanh data in [-1, 1].
    """

    unit = "distance"

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        return self.compare(self.mean(output), x.to(output.dtype))

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        """Return the distance of each element: ``(..., B, *shape)`` and ``(B, *shape)`` -> ``(..., B, *shape)``."""
        raise NotImplementedError


class SquaredError(Distance):
    """(x - x_hat)^2, summed over the sample; the metric ``mse`` is its mean per element."""

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: Shape, *, activation: str | None = None) -> None:
        super().__init__(len(shape), activation)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).square()


class AbsoluteError(Distance):
    """|x - x_hat|, summed over the sample; the metric ``mae`` is its mean per element."""

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: Shape, *, activation: str | None = None) -> None:
        super().__init__(len(shape), activation)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).abs()


class Huber(Distance):
    """0.5 e^2 where |e| = |x - x_hat| is below `delta`, delta (|e| - 0.5 delta) beyond (Huber 1964, Ann. Math. Stat.).

    Half the squared error near zero, then a straight line, so that an outlier pulls no harder than `delta`.
    """

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: Shape, *, delta: float = 1.0, activation: str | None = None) -> None:
        super().__init__(len(shape), activation)
        if delta <= 0:
            raise AeframeError(f"loss huber needs delta > 0, found {delta}")
        self.delta = delta

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return F.huber_loss(reconstruction, x.expand_as(reconstruction), reduction="none", delta=self.delta)


class LogCosh(Distance):
    """log cosh(x - x_hat): half the squared error near zero, the absolute error less log 2 far off, smooth between."""

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: Shape, *, activation: str | None = None) -> None:
        super().__init__(len(shape), activation)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        error = (reconstruction - x).abs()
        return error + F.softplus(-2 * error) - math.log(2)


class Hinge(Loss):
    """max(0, margin - y f) for x in {0, 1}, with y = 2x - 1 in {-1, 1} and f the decoder's output, a score.

    The reconstruction is (1 + f / margin) / 2, held within [0, 1]: it is x exactly where the loss is 0, and 1/2 where
    the score does not decide.
    """

    domains = frozenset({"binary"})
    unit = "distance"

    def __init__(self, shape: Shape, *, margin: float = 1.0) -> None:
        super().__init__()
        if margin <= 0:
            raise AeframeError(f"loss hinge needs margin > 0, found {margin}")
        self.ndim, self.margin = len(shape), margin

    @property
    def output_range(self) -> ActivationTraits:
        return ActivationTraits(0.0, 1.0, (True, True), saturates=True)

    def mean(self, output: Tensor) -> Tensor:
        (score,) = heads(at_least_float32(output), self.ndim)
        return (0.5 * (1.0 + score / self.margin)).clamp(0.0, 1.0)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        (score,) = heads(output, self.ndim)
        return (self.margin - (2.0 * x.to(output.dtype) - 1.0) * score).clamp(min=0.0)


class Jaccard(Distance):
    """One minus the soft intersection over union of a sample: sum |x - x_hat| / sum max(x, x_hat), in [0, 1].

    The intersection is sum min(x, x_hat) and the union sum max(x, x_hat), as Ruzicka wrote it. On binary x that is
    the soft Jaccard index of Rahman & Wang (2016, ISVC), x x_hat over x + x_hat - x x_hat; on x in [0, 1] it is zero
    where x_hat = x, which theirs is not. Two empty samples are alike, with distance 0. The share of an element is its
    |x - x_hat| over the union of its sample, so that the sum over the elements is the distance.
    """

    domains = frozenset({"binary", "unit"})

    def __init__(self, shape: Shape, *, activation: str = "sigmoid") -> None:
        super().__init__(len(shape), activation)
        if self._range.low < 0 or self._range.high > 1:
            raise AeframeError(
                f"loss jaccard needs an activation with values in [0, 1], '{activation}' has "
                f"[{self._range.low:g}, {self._range.high:g}]; use sigmoid or hardsigmoid"
            )

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        # Masked before the sums, as the union of a sample is one number: what is hidden belongs to neither set.
        x, reconstruction = self.masked_x_and_reconstruction(output, batch)
        return per_sample(self.compare(reconstruction, at_least_float32(x)), reconstruction.ndim - self.ndim)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        lead = reconstruction.ndim - self.ndim
        union = per_sample(reconstruction.maximum(x), lead).clamp(min=1e-12)
        return (reconstruction - x).abs() / union.reshape(*union.shape, *[1] * self.ndim)
