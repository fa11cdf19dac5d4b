"""What compares the samples of a batch with each other, given out to them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aeframe.devices import mean_over_devices
from aeframe.tensors import at_least_float32


def batch_mean(statistic: Tensor, *, training: bool) -> Tensor:
    """Return the mean of ``(B, *any)`` over the batch, cut from the graph; in training over that of all devices."""
    mean = at_least_float32(statistic).detach().mean(0)
    return mean_over_devices(mean) if training else mean


def linearized_batch_statistic(function: Callable[[Tensor], Tensor], statistic: Tensor, *, training: bool) -> Tensor:
    """Return ``(B,)``: each sample's share of a function of the batch's mean, f(m) + f'(m) (s_b - m).

    The mean over the batch is f(m), and its gradient is that of f(m). As m is that of all devices together, this
    holds whatever the number of devices is. One sample's share may be negative.

    Args:
        function: A smooth ``(*any)`` -> ``()``.
        statistic: ``(B, *any)``, of each sample.
        training: Whether devices meet here.
    """
    statistic = at_least_float32(statistic)
    mean = batch_mean(statistic, training=training).requires_grad_()
    with torch.enable_grad():
        value = function(mean)
        (slope,) = torch.autograd.grad(value, mean)
    return value.detach() + (statistic - mean.detach()).flatten(1) @ slope.flatten()
