"""Penalties that are functions of a batch mean, such as the covariance of the codes, as one value for each sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aeframe.devices import mean_over_batch
from aeframe.tensors import at_least_float32


def batch_mean(statistic: Tensor) -> Tensor:
    """Return the mean of ``(B, *any)`` over the batch of all devices, detached."""
    return mean_over_batch(at_least_float32(statistic).detach().mean(0))


def linearized_batch_statistic(function: Callable[[Tensor], Tensor], statistic: Tensor) -> Tensor:
    """Return ``(B,)``: f(m) + f'(m) (s_b - m) for each sample b, a function f of the batch mean m linearized at m.

    The mean of these values over the batch is f(m), and so is their gradient. m is the mean over all devices,
    so both hold for any number of devices. A single value may be negative.

    Args:
        function: f, smooth: ``(*any)`` -> ``()``.
        statistic: ``(B, *any)``: s_b of each sample.
    """
    statistic = at_least_float32(statistic)
    mean = batch_mean(statistic).requires_grad_()
    with torch.enable_grad():
        value = function(mean)
        (gradient,) = torch.autograd.grad(value, mean)
    return value.detach() + (statistic - mean.detach()).flatten(1) @ gradient.flatten()
