"""Distances between x and its reconstruction."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.activations import ActivationTraits
from aeframe.parts.losses.base import BoundedMean, Loss, split_outputs
from aeframe.tensors import at_least_float32, per_sample
from aeframe.types import Batch, Domain, Shape


class Distance(BoundedMean):
    """A loss with one number from the decoder for each element, the reconstruction after an activation.

    The option `activation` bounds the reconstruction. Its default null takes steep_sigmoid for data in [0, 1] or
    {0, 1}, tanh for [-1, 1], and the identity for others.
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

    def __init__(self, shape: Shape, domain: Domain, *, activation: str | None = None) -> None:
        super().__init__(len(shape), domain, activation)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).square()


class AbsoluteError(Distance):
    """|x - x_hat|, summed over the sample; the metric ``mae`` is its mean per element."""

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: Shape, domain: Domain, *, activation: str | None = None) -> None:
        super().__init__(len(shape), domain, activation)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).abs()


class Huber(Distance):
    """0.5 e^2 for an error e = x - x_hat with |e| below `delta`, and delta (|e| - 0.5 delta) otherwise.

    This is the loss of Huber 1964 (Ann. Math. Stat.). The gradient of an outlier is at most `delta`.
    """

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: Shape, domain: Domain, *, delta: float = 1.0, activation: str | None = None) -> None:
        super().__init__(len(shape), domain, activation)
        if delta <= 0:
            raise AeframeError(f"loss huber needs delta > 0, found {delta}")
        self.delta = delta

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return F.huber_loss(reconstruction, x.expand_as(reconstruction), reduction="none", delta=self.delta)


class LogCosh(Distance):
    """log cosh(x - x_hat): about half the squared error near 0, and the absolute error minus log 2 far from 0."""

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: Shape, domain: Domain, *, activation: str | None = None) -> None:
        super().__init__(len(shape), domain, activation)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        error = (reconstruction - x).abs()
        return error + F.softplus(-2 * error) - math.log(2)


class Hinge(Loss):
    """max(0, margin - y f) for x in {0, 1}, with y = 2x - 1 and the decoder's output f, a score.

    The reconstruction is (1 + f / margin) / 2, clamped to [0, 1]: it equals x where the loss is 0, and is 1/2 at the
    score 0.
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
        (score,) = split_outputs(at_least_float32(output), self.ndim)
        return (0.5 * (1.0 + score / self.margin)).clamp(0.0, 1.0)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        (score,) = split_outputs(output, self.ndim)
        return (self.margin - (2.0 * x.to(output.dtype) - 1.0) * score).clamp(min=0.0)


class Jaccard(Distance):
    """One minus the soft intersection over union of a sample: sum |x - x_hat| / sum max(x, x_hat), in [0, 1].

    Intersection and union are sum min(x, x_hat) and sum max(x, x_hat), as in the Ruzicka distance. On binary x this
    equals the soft Jaccard index of Rahman & Wang (2016, ISVC), x x_hat over x + x_hat - x x_hat. On x in [0, 1] only
    the form with min and max is 0 at x_hat = x. Two empty samples have distance 0. The loss of an element is its
    |x - x_hat| divided by the union.
    """

    domains = frozenset({"binary", "unit"})

    def __init__(self, shape: Shape, domain: Domain, *, activation: str | None = None) -> None:
        super().__init__(len(shape), domain, activation)
        if self._range.low < 0 or self._range.high > 1:
            raise AeframeError(
                f"loss jaccard needs an activation with values in [0, 1], '{self.activation_name}' has "
                f"[{self._range.low:g}, {self._range.high:g}]; use sigmoid or hardsigmoid"
            )

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        # The mask is applied before the sums: masked elements belong neither to the intersection nor to the union.
        x, reconstruction = self.masked_x_and_reconstruction(output, batch)
        return per_sample(self.compare(reconstruction, at_least_float32(x)), reconstruction.ndim - self.ndim)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        # The number of dimensions before the shape of a sample: 1, or 2 with importance samples.
        lead = reconstruction.ndim - self.ndim
        union = per_sample(reconstruction.maximum(x), lead).clamp(min=1e-12)
        return (reconstruction - x).abs() / union.reshape(*union.shape, *[1] * self.ndim)
