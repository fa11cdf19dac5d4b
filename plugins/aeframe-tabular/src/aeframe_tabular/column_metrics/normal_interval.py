"""`log_probability_between`: the log-probability of an interval of a standard normal distribution."""

from __future__ import annotations

import torch
from torch import Tensor


def log_probability_between(low: Tensor, high: Tensor) -> Tensor:
    """Return log(Phi(high) - Phi(low)), also far in either tail; -inf for an empty interval.

    Args:
        low: The lower ends, which may be -inf.
        high: The upper ends, which may be inf, of the shape of `low`.
    """
    # Both ends are mirrored into the lower tail, where Phi is not rounded to 1.
    is_upper = low > 0
    low, high = torch.where(is_upper, -high, low), torch.where(is_upper, -low, high)
    log_high = torch.special.log_ndtr(high)
    return log_high + (-torch.expm1(torch.special.log_ndtr(low) - log_high)).log()
