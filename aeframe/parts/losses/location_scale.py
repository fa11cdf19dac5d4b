"""The base class of likelihoods with a location and a scale: normal, Laplace, Student's t."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.losses.base import BoundedMean, Likelihood, split_outputs
from aeframe.tensors import at_least_float32
from aeframe.types import Domain, Shape


class LocationScale(BoundedMean, Likelihood):
    """A likelihood whose location, the reconstruction, is the decoder's first output after an activation.

    Args:
        name: Registered name of the loss, for error messages.
        shape: Shape of one sample.
        variance: ``fixed``: the scale is `scale`. ``shared``: one learned scale for all elements, initially `scale`.
            ``learned``: one scale s for each element, from a second output of the decoder, log((s / `scale`)^2).
            ``optimal``: the subclass computes the scale from x.
        scale: The scale or its initial value, in the units of x.
        min_scale: Lower bound of a learned scale. The bound is soft, so that the gradient does not vanish.
        domain: The set of values that x can take.
        activation: Activation that bounds the location; None takes the default of the domain.
    """

    domains = frozenset({"real", "unit", "signed"})

    def __init__(
        self,
        name: str,
        shape: Shape,
        variance: Literal["fixed", "shared", "learned", "optimal"],
        scale: float,
        min_scale: float,
        domain: Domain,
        activation: str | None,
    ) -> None:
        super().__init__(len(shape), domain, activation)
        if scale <= 0 or min_scale <= 0:
            raise AeframeError(f"loss {name} needs scale > 0 and min_scale > 0, found {scale} and {min_scale}")
        if variance in ("shared", "learned") and scale <= min_scale:
            raise AeframeError(
                f"loss {name} with variance={variance} needs scale above min_scale={min_scale}, found {scale}"
            )
        self.variance = variance
        self.num_outputs = 2 if variance == "learned" else 1
        self.log_variance = 2 * math.log(scale)
        self.min_log_variance = 2 * math.log(min_scale)
        self.shared = nn.Parameter(torch.zeros(1)) if variance == "shared" else None

    def location_and_scale(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return the location ``(..., B, *shape)``, and the scale in the same shape or as a single number."""
        location = self.mean(output)
        if self.variance == "fixed":
            return location, location.new_full((), math.exp(0.5 * self.log_variance))
        raw = split_outputs(at_least_float32(output), self.ndim)[1] if self.shared is None else self.shared.float()
        # log(s^2) is log_variance + raw, with the soft lower bound min_log_variance.
        above_min = F.softplus(raw + (self.log_variance - self.min_log_variance))
        return location, (0.5 * (self.min_log_variance + above_min)).exp()
