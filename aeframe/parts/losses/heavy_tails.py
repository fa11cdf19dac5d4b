"""Likelihoods with heavier tails than the normal distribution, for data with outliers."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, distributions, nn

from aeframe.errors import AeframeError
from aeframe.parts.losses.location_scale import LocationScale
from aeframe.types import Domain, Shape

# The bound of the degrees of freedom; a t distribution with 100 is nearly normal.
_MAX_DF = 100.0


class Laplace(LocationScale):
    """exp(-|x - m| / b) / (2 b) with the decoder's first output m: the absolute error as a density.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        variance: ``fixed``: b is `scale`. ``shared``: one learned b for all elements, initially `scale`. ``learned``:
            one b for each element, from a second output of the decoder, log((b / `scale`)^2).
        scale: b or its initial value, in the units of x; the variance is 2 b^2.
        min_scale: Lower bound of a learned b. The bound is soft, so that the gradient does not vanish.
        activation: Activation that bounds m; null takes steep_sigmoid for data in [0, 1], tanh for [-1, 1], and the
            identity for others.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        variance: Literal["fixed", "shared", "learned"] = "fixed",
        scale: float = 1.0,
        min_scale: float = 1e-3,
        activation: str | None = None,
    ) -> None:
        super().__init__("laplace", shape, variance, scale, min_scale, domain, activation)

    def distribution(self, output: Tensor) -> distributions.Laplace:
        return distributions.Laplace(*self.location_and_scale(output), validate_args=False)


class StudentT(LocationScale):
    """Student's t with the decoder's first output as location (Lange, Little & Taylor 1989, JASA).

    The reconstruction is the location, which is the mean for df > 1.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        df: Degrees of freedom, in (0, 100): 1 is the Cauchy distribution, 100 is nearly normal.
        learn_df: Learn one number of degrees of freedom for all elements, in (0, 100), initially `df`.
        variance: ``fixed``: the scale is `scale`. ``shared``: one learned scale for all elements, initially `scale`.
            ``learned``: one scale s for each element, from a second output of the decoder, log((s / `scale`)^2).
        scale: The scale or its initial value, in the units of x; the variance is scale^2 df / (df - 2) for df > 2.
        min_scale: Lower bound of a learned scale. The bound is soft, so that the gradient does not vanish.
        activation: Activation that bounds the location; null takes steep_sigmoid for data in [0, 1], tanh for
            [-1, 1], and the identity for others.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        df: float = 5.0,
        learn_df: bool = False,
        variance: Literal["fixed", "shared", "learned"] = "fixed",
        scale: float = 1.0,
        min_scale: float = 1e-3,
        activation: str | None = None,
    ) -> None:
        super().__init__("student_t", shape, variance, scale, min_scale, domain, activation)
        if not 0 < df < _MAX_DF:
            raise AeframeError(
                f"loss student_t needs df in (0, {_MAX_DF:g}), found {df}; for lighter tails choose loss=gaussian"
            )
        self.df = df
        self.raw_df = nn.Parameter(torch.tensor([math.log(df / (_MAX_DF - df))])) if learn_df else None

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        # StudentT.log_prob would check df on the CPU, waiting for a GPU, and compute lgamma for each element.
        location, scale = self.location_and_scale(output)
        df = self._degrees(location)
        normalizer = torch.lgamma(0.5 * df) - torch.lgamma(0.5 * (df + 1)) + 0.5 * (math.pi * df).log() + scale.log()
        return 0.5 * (df + 1) * torch.log1p(((x.to(output.dtype) - location) / scale).square() / df) + normalizer

    def distribution(self, output: Tensor) -> distributions.StudentT:
        location, scale = self.location_and_scale(output)
        return distributions.StudentT(self._degrees(location), location, scale, validate_args=False)

    def _degrees(self, location: Tensor) -> Tensor:
        """Return ``()``: the degrees of freedom."""
        return location.new_full((), self.df) if self.raw_df is None else _MAX_DF * self.raw_df.float().sigmoid()
