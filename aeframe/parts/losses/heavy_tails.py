"""Likelihoods with heavier tails than the normal one, which an outlier pulls less."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, distributions, nn

from aeframe.errors import AeframeError
from aeframe.parts.losses.location_scale import LocationScale
from aeframe.types import Shape

_MAX_DF = 100.0


class Laplace(LocationScale):
    """exp(-|x - m| / b) / (2 b) around the decoder's first output m: the absolute error, as a density.

    Args:
        shape: That of one sample.
        variance: ``fixed``: b is `scale`. ``shared``: one b for all elements of all samples, learned, beginning at
            `scale`. ``learned``: one for each element, from a second output (the logarithm of b^2 in units of `scale`).
        scale: b, in the data's own unit; the variance is 2 b^2.
        min_scale: What a learned b stays above; the bound is soft, so that its gradient does not die.
        activation: Bounds m: sigmoid for data in [0, 1], tanh in [-1, 1]; null is the identity.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        variance: Literal["fixed", "shared", "learned"] = "fixed",
        scale: float = 1.0,
        min_scale: float = 1e-3,
        activation: str | None = None,
    ) -> None:
        super().__init__("laplace", shape, variance, scale, min_scale, activation)

    def distribution(self, output: Tensor) -> distributions.Laplace:
        return distributions.Laplace(*self.location_and_scale(output), validate_args=False)


class StudentT(LocationScale):
    """Student's t around the decoder's first output, with `df` degrees of freedom (Lange, Little & Taylor 1989, JASA).

    The reconstruction is the location, which is the mean where that exists (df > 1).

    Args:
        shape: That of one sample.
        df: Degrees of freedom, in (0, 100): 1 is Cauchy's, and at 100 nobody can tell it from a normal.
        learn_df: Learn one number for all elements of all samples, within (0, 100), beginning at `df`.
        variance: ``fixed``: the scale is `scale`. ``shared``: one scale for all elements of all samples, learned,
            beginning at `scale`. ``learned``: one for each element, from a second output (the logarithm of its square
            in units of `scale`).
        scale: In the data's own unit; the variance is scale^2 df / (df - 2), where df > 2.
        min_scale: What a learned scale stays above; the bound is soft, so that its gradient does not die.
        activation: Bounds the location: sigmoid for data in [0, 1], tanh in [-1, 1]; null is the identity.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        df: float = 5.0,
        learn_df: bool = False,
        variance: Literal["fixed", "shared", "learned"] = "fixed",
        scale: float = 1.0,
        min_scale: float = 1e-3,
        activation: str | None = None,
    ) -> None:
        super().__init__("student_t", shape, variance, scale, min_scale, activation)
        if not 0 < df < _MAX_DF:
            raise AeframeError(
                f"loss student_t needs df in (0, {_MAX_DF:g}), found {df}; for lighter tails take loss=gaussian"
            )
        self.df = df
        self.raw_df = nn.Parameter(torch.tensor(math.log(df / (_MAX_DF - df)))) if learn_df else None

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        # By hand: torch's StudentT checks its degrees of freedom on the host, and takes lgamma of each element.
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
