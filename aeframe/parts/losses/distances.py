"""Distances between x and the decoder's output."""

from __future__ import annotations

from torch import Tensor

from aeframe.parts.activations import ActivationTraits, MakeActivation
from aeframe.parts.losses.base import Loss, heads


class Distance(Loss):
    """A loss with one output, the reconstruction itself, after an `activation` that bounds it.

    Null is the identity; sigmoid suits data in [0, 1], tanh data in [-1, 1].
    """

    unit = "distance"

    def __init__(self, ndim: int, activation: str | None) -> None:
        super().__init__()
        self.ndim = ndim
        maker = MakeActivation.named(activation or "identity")
        self._range = maker.traits
        self.activation = maker()

    @property
    def output_range(self) -> ActivationTraits:
        return self._range

    def mean(self, output: Tensor) -> Tensor:
        mean: Tensor = self.activation(heads(output.float(), self.ndim)[0])
        return mean

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        return self.compare(self.mean(output), x.to(output.dtype))

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        """Return the distance of each element: ``(..., B, *shape)`` and ``(B, *shape)`` -> ``(..., B, *shape)``."""
        raise NotImplementedError


class SquaredError(Distance):
    """(x - x_hat)^2, summed over the sample; the metric ``mse`` is its mean per element."""

    domains = frozenset({"real", "unit", "signed", "binary", "simplex"})

    def __init__(self, shape: tuple[int, ...], *, activation: str | None = None) -> None:
        super().__init__(len(shape), activation)

    def compare(self, reconstruction: Tensor, x: Tensor) -> Tensor:
        return (reconstruction - x).square()
