"""`InputScale`: the mean and the scale of the input of a dictionary, measured on the first training samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aeframe.devices import num_rows, sum_over_batch

NUM_MEASURED = 1000
"""Number of training samples after which mean and scale are constant."""


class InputScale(nn.Module):
    """The mean of x, and its standard deviation over all dimensions together, of the first training samples.

    They are measured until `NUM_MEASURED` samples, of all devices, were seen; before the first batch they are 0 and 1.
    All state is in buffers. The number of samples is also kept on the host, where it is read once after construction
    or loading, so that a training step does not wait for the device.

    Args:
        size: Number F of dimensions of x.
    """

    mean: Tensor
    """``(F,)``."""
    squares: Tensor
    """``()``: squared deviations from the mean, summed over samples and dimensions."""
    count: Tensor
    """``()``: number of samples."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("squares", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self._count_on_host: int | None = 0
        self.register_load_state_dict_post_hook(_forget_host_copy)  # type: ignore[no-untyped-call]

    @property
    def unit(self) -> Tensor:
        """The standard deviation ``()``; 1 for constant x."""
        variance = self.squares / (self.count.clamp(min=1) * len(self.mean))
        return torch.where(variance > 0, variance, 1.0).sqrt()

    @property
    def variance(self) -> Tensor:
        """The variance of x summed over its dimensions, ``()``: the mean squared norm of centred x."""
        return len(self.mean) * self.unit.square()

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Add the training samples ``(B, F)`` of a batch, unless there are enough."""
        if self._count_on_host is None:
            self._count_on_host = int(self.count)
        if self._count_on_host >= NUM_MEASURED:
            return
        # Two groups of samples have the squared deviations of each, and those of the means (Chan et al. 1979).
        num = num_rows(len(x))
        mean = sum_over_batch(x.sum(0)) / num
        squares = sum_over_batch((x - mean).square().sum())
        change, total = mean - self.mean, self.count + num
        self.squares += squares + change.square().sum() * self.count * num / total
        self.mean += change * num / total
        self.count += num
        self._count_on_host += num


def _forget_host_copy(scale: InputScale, _: object) -> None:
    scale._count_on_host = None
